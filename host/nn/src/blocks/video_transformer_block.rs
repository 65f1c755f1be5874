//! The transformer block over the frames of a clip.

use tch::Tensor;

use super::TransformerBlockConfig;
use super::transformer_block::{attend_to_context, zero_of};
use crate::layers::{CrossAttention, FeedForward, FeedForwardConfig, LayerNorm};
use crate::params::Path;

/// What the second attention of a block over time attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondAttention {
    /// There is none.
    Off,
    /// The context, or the other frames if there is no context.
    Context,
    /// The other frames.
    Frames,
}

/// Sizes and options of a block over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoTransformerBlockConfig {
    /// Attention and feed-forward; its width is the one inside.
    pub block: TransformerBlockConfig,
    /// Width of a token outside the block; where it differs from that inside there are no residuals around the
    /// feed-forward layers.
    pub width: i64,
    /// A feed-forward layer in front.
    pub ff_in: bool,
    /// The first attention, too, attends to the context.
    pub disable_self_attn: bool,
    /// The second attention.
    pub second: SecondAttention,
}

impl VideoTransformerBlockConfig {
    /// A feed-forward layer in front, attention over frames, attention to a context; the same width inside and outside.
    pub fn new(block: TransformerBlockConfig) -> Self {
        let second = SecondAttention::Context;
        Self { block, width: block.width, ff_in: true, disable_self_attn: false, second }
    }
}

/// Feed-forward, self attention over time, cross attention, feed-forward, each with a norm in front and a residual
/// around.
#[derive(Debug)]
pub struct VideoTransformerBlock {
    ff_in: Option<(LayerNorm, FeedForward)>,
    attn1: CrossAttention,
    ff: FeedForward,
    second: Option<(LayerNorm, CrossAttention)>,
    norm1: LayerNorm,
    norm3: LayerNorm,
    config: VideoTransformerBlockConfig,
}

impl VideoTransformerBlock {
    /// Keys `norm_in` and `ff_in` if there is one, `attn1`, `ff`, `norm2` and `attn2` with a second attention, `norm1`,
    /// `norm3`.
    ///
    /// # Panics
    /// When the width changes and there is no feed-forward layer in front to change it.
    pub fn new(path: &Path, config: VideoTransformerBlockConfig) -> Self {
        let (block, outside) = (config.block, config.width);
        let inside = block.width;
        assert!(config.ff_in || inside == outside, "`{}`: nothing makes {outside} to {inside}", path.prefix());
        let feed_forward = |name: &str, inputs, outputs| {
            let config = FeedForwardConfig::new(inputs, outputs, block.dropout);
            FeedForward::new(&path.sub(name), FeedForwardConfig { gated: block.gated_ff, ..config })
        };
        let norm = |name: &str, width| LayerNorm::new(&path.sub(name), width);
        let attention = |name: &str, to_context| CrossAttention::new(&path.sub(name), block.attention(to_context));
        Self {
            ff_in: config.ff_in.then(|| (norm("norm_in", outside), feed_forward("ff_in", outside, inside))),
            attn1: attention("attn1", config.disable_self_attn),
            ff: feed_forward("ff", inside, outside),
            second: (config.second != SecondAttention::Off)
                .then(|| (norm("norm2", inside), attention("attn2", config.second == SecondAttention::Context))),
            norm1: norm("norm1", inside),
            norm3: norm("norm3", inside),
            config,
        }
    }

    /// A position attends to itself in the other frames, and to its context.
    ///
    /// The `r` rows of the context are shared out evenly among the `b*s` positions in their order: with `r = b` all
    /// positions of a clip have one context, with `r = b*s` each has its own.
    ///
    /// # Shapes
    /// - `x`, result: `[b*t, s, d]`
    /// - `context`: `[r, s', d']`
    ///
    /// # Panics
    /// When the context's rows do not divide the positions.
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, t: i64, train: bool) -> Tensor {
        let same_width = self.config.width == self.config.block.width;
        let residual = |x: &Tensor, branch: Tensor| if same_width { x + branch } else { branch };
        let x = match &self.ff_in {
            Some((norm, ff)) => residual(x, ff.forward(&norm.forward(x), train)),
            None => x.shallow_clone(),
        };
        let x = match context {
            Some(context) if self.config.disable_self_attn => {
                attend_by_position(&x, &self.norm1, &self.attn1, context, t, train)
            }
            _ => &x + self.attn1.over_time(&self.norm1.forward(&x), t, train),
        };
        let x = match (&self.second, context) {
            (Some((norm, attention)), Some(context)) if self.config.second == SecondAttention::Context => {
                attend_by_position(&x, norm, attention, context, t, train)
            }
            (Some((norm, attention)), _) => &x + attention.over_time(&norm.forward(&x), t, train),
            (None, _) => x,
        };
        residual(&x, self.ff.forward(&self.norm3.forward(&x), train))
    }
}

/// `x + attention(norm(x), context)`, the context's rows shared out among the positions.
///
/// # Shapes
/// - `x`, result: `[b*t, s, d]`
/// - `context`: `[r, s', d']`
fn attend_by_position(
    x: &Tensor,
    norm: &LayerNorm,
    attention: &CrossAttention,
    context: &Tensor,
    t: i64,
    train: bool,
) -> Tensor {
    let (rows, s, d) = x.size3().unwrap_or_else(|_| panic!("attention wants [b*t, s, d], got {:?}", x.size()));
    let (b, r, tokens) = (rows / t, context.size()[0], context.size()[1]);
    assert!(b * s % r == 0, "{r} rows of context do not divide {b} clips of {s} positions");
    if r == b {
        // All frames and positions of a clip are one row of queries.
        let clips = x.reshape([b, t * s, d]); // [b*t, s, d] -> [b, t*s, d]
        return attend_to_context(&clips, norm, attention, context, train).view_as(x);
    }
    let positions = b * s / r;
    // [r, p*t, d] = [b*s, t, d] -> [b, t, s, d]
    let by_frame = |out: &Tensor| out.reshape([b, s, t, d]).transpose(1, 2);
    let out = if tokens == 1 {
        let out = attention.single_token(context, positions * t, train);
        let idle = [&attention.query_and_key_params()[..], &norm.params()].concat();
        let out = out + zero_of(&idle);
        if out.size()[1] == 1 { out.expand([r, positions, d], false).reshape([b, 1, s, d]) } else { by_frame(&out) }
    } else {
        let queries = norm.forward(x).reshape([b, t, s, d]).transpose(1, 2).reshape([r, positions * t, d]);
        by_frame(&attention.forward(&queries, Some(context), train))
    };
    (x.reshape([b, t, s, d]) + out).flatten(0, 1)
}

#[cfg(test)]
#[path = "video_transformer_block_tests.rs"]
mod tests;
