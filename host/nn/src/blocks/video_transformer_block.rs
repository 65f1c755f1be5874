//! The transformer block over the frames of a clip.

use tch::Tensor;

use super::TransformerBlockConfig;
use super::transformer_block::attend_to_context;
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
                let clips = x.reshape([context.size()[0], -1, x.size()[2]]); // [b*t, s, d] -> [b, t*s, d]
                attend_to_context(&clips, norm, attention, context, train).view_as(&x)
            }
            (Some((norm, attention)), None) => &x + attention.over_time(&norm.forward(&x), t, train),
            (None, _) => x,
        };
        &x + self.ff.forward(&self.norm3.forward(&x), train)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, keys, randomise};
    use tch::Device;

    fn config(context_width: Option<i64>) -> TransformerBlockConfig {
        TransformerBlockConfig { width: 16, num_heads: 2, head_width: 8, context_width, dropout: 0.0 }
    }

    #[test]
    fn positions_do_not_meet_and_frames_do() {
        for context in [None, Some(Tensor::randn([2, 3, 10], F32)), Some(Tensor::randn([2, 1, 10], F32))] {
            let params = Params::new(Device::Cpu, 1);
            let block = VideoTransformerBlock::new(&params.root(), config(context.as_ref().map(|_| 10)), true);
            randomise(&params);
            let x = Tensor::randn([2 * 3, 4, 16], F32);
            let y = block.forward(&x, context.as_ref(), 3, false);
            let one_position = block.forward(&x.narrow(1, 2, 1), context.as_ref(), 3, false);
            close(&y.narrow(1, 2, 1), &one_position, 1e-5);
            let second_clip = context.as_ref().map(|c| c.narrow(0, 1, 1));
            close(&y.narrow(0, 3, 3), &block.forward(&x.narrow(0, 3, 3), second_clip.as_ref(), 3, false), 1e-5);
            let other = x.copy();
            let _ = other.select(0, 0).g_add_scalar_(1.0);
            assert!(!block.forward(&other, context.as_ref(), 3, false).select(0, 1).equal(&y.select(0, 1)));
        }
    }

    #[test]
    fn cross_attention_and_its_norm_can_be_left_out() {
        let params = Params::meta();
        VideoTransformerBlock::new(&params.root(), config(None), false);
        let keys = keys(&params);
        assert!(keys.contains(&"norm_in.weight [16]".to_owned()) && keys.contains(&"norm3.weight [16]".to_owned()));
        assert!(!keys.iter().any(|key| key.starts_with("attn2") || key.starts_with("norm2")), "{keys:?}");
    }
}
