//! The transformer block over the frames of a clip.

use tch::Tensor;

use super::TransformerBlockConfig;
use crate::layers::{CrossAttention, FeedForward, LayerNorm};
use crate::params::Path;

/// Feed-forward, self attention over time, cross attention, feed-forward, each with a norm in front and a residual
/// around.
#[derive(Debug)]
pub struct VideoTransformerBlock {
    norm_in: LayerNorm,
    ff_in: FeedForward,
    attn1: CrossAttention,
    ff: FeedForward,
    cross: Option<(LayerNorm, CrossAttention)>,
    norm1: LayerNorm,
    norm3: LayerNorm,
}

impl VideoTransformerBlock {
    /// Keys `norm_in`, `ff_in`, `attn1`, `ff`, `norm2` and `attn2` with `cross_attention`, `norm1`, `norm3`.
    pub fn new(path: &Path, config: TransformerBlockConfig, cross_attention: bool) -> Self {
        let width = config.width;
        let feed_forward = |name: &str| FeedForward::new(&path.sub(name), width, width, config.dropout);
        let norm = |name: &str| LayerNorm::new(&path.sub(name), width);
        Self {
            norm_in: norm("norm_in"),
            ff_in: feed_forward("ff_in"),
            attn1: CrossAttention::new(&path.sub("attn1"), config.attention(false)),
            ff: feed_forward("ff"),
            cross: cross_attention
                .then(|| (norm("norm2"), CrossAttention::new(&path.sub("attn2"), config.attention(true)))),
            norm1: norm("norm1"),
            norm3: norm("norm3"),
        }
    }

    /// A position attends to itself in the other frames, and to its clip's context (once more over time without one).
    ///
    /// # Shapes
    /// - `x`, result: `[b*t, s, d]`
    /// - `context`: `[b, s', d']`
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, t: i64, train: bool) -> Tensor {
        let x = x + self.ff_in.forward(&self.norm_in.forward(x), train);
        let x = &x + self.attn1.over_time(&self.norm1.forward(&x), t, train);
        let x = match (&self.cross, context) {
            (Some((norm, attention)), Some(context)) => {
                // All frames and positions of a clip share its context, so they are one row of queries.
                let clips = norm.forward(&x).reshape([context.size()[0], -1, x.size()[2]]); // [b*t, s, d] -> [b, t*s, d]
                &x + attention.forward(&clips, Some(context), train).view_as(&x)
            }
            (Some((norm, attention)), None) => &x + attention.over_time(&norm.forward(&x), t, train),
            (None, _) => x,
        };
        &x + self.ff.forward(&self.norm3.forward(&x), train)
    }
}
