//! A transformer block with one attention.

use tch::Tensor;

use super::TransformerBlockConfig;
use super::transformer_block::attend_to_context;
use crate::layers::{CrossAttention, FeedForward, LayerNorm};
use crate::params::Path;

/// Attention to a context (to one another without one) and feed-forward, each with a norm in front and a residual around.
#[derive(Debug)]
pub struct SingleLayerTransformerBlock {
    attn1: CrossAttention,
    ff: FeedForward,
    norm1: LayerNorm,
    norm2: LayerNorm,
}

impl SingleLayerTransformerBlock {
    /// Keys `attn1`, `ff`, `norm1`, `norm2`.
    pub fn new(path: &Path, config: TransformerBlockConfig) -> Self {
        Self {
            attn1: CrossAttention::new(&path.sub("attn1"), config.attention(true)),
            ff: FeedForward::new(&path.sub("ff"), config.feed_forward()),
            norm1: LayerNorm::new(&path.sub("norm1"), config.width),
            norm2: LayerNorm::new(&path.sub("norm2"), config.width),
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, s, d]`
    /// - `context`: `[n, s', d']`
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, train: bool) -> Tensor {
        let x = match context {
            Some(context) => attend_to_context(x, &self.norm1, &self.attn1, context, train),
            None => x + self.attn1.forward(&self.norm1.forward(x), None, train),
        };
        &x + self.ff.forward(&self.norm2.forward(&x), train)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, keys};
    use tch::Device;

    #[test]
    fn tokens_see_the_context_alone() {
        let params = Params::new(Device::Cpu, 1);
        let (width, num_heads, head_width) = (16, 2, 8);
        let config = TransformerBlockConfig {
            width,
            num_heads,
            head_width,
            context_width: Some(10),
            gated_ff: false,
            dropout: 0.0,
        };
        let block = SingleLayerTransformerBlock::new(&params.root(), config);
        assert!(keys(&params).contains(&"ff.net.0.0.weight [64, 16]".to_owned()));
        let (x, context) = (Tensor::randn([1, 4, 16], F32), Tensor::randn([1, 3, 10], F32));
        let alone = block.forward(&x.narrow(1, 2, 1), Some(&context), false);
        close(&block.forward(&x, Some(&context), false).narrow(1, 2, 1), &alone, 1e-6);
    }
}
