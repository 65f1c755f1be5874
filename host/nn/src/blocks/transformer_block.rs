//! The transformer block over the pixels of an image.

use tch::Tensor;

use crate::layers::{CrossAttention, CrossAttentionConfig, FeedForward, LayerNorm};
use crate::params::Path;

/// Sizes and options of a transformer block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerBlockConfig {
    /// Width of a token.
    pub width: i64,
    /// Number of heads.
    pub num_heads: i64,
    /// Width of a head.
    pub head_width: i64,
    /// Width of a token of the context; the second attention is a self attention without it.
    pub context_width: Option<i64>,
    /// Probability of dropping a value after attention and inside the feed-forward layer, in training.
    pub dropout: f64,
}

impl TransformerBlockConfig {
    pub(super) fn attention(&self, to_context: bool) -> CrossAttentionConfig {
        CrossAttentionConfig {
            width: self.width,
            context_width: if to_context { self.context_width } else { None },
            num_heads: self.num_heads,
            head_width: self.head_width,
            dropout: self.dropout,
        }
    }
}

/// Self attention, cross attention, feed-forward, each with a norm in front and a residual around.
#[derive(Debug)]
pub struct TransformerBlock {
    attn1: CrossAttention,
    ff: FeedForward,
    attn2: CrossAttention,
    norm1: LayerNorm,
    norm2: LayerNorm,
    norm3: LayerNorm,
    disable_self_attn: bool,
}

impl TransformerBlock {
    /// Keys `attn1`, `ff`, `attn2`, `norm1`, `norm2`, `norm3`. With `disable_self_attn` the first attention, too, attends
    /// to the context.
    pub fn new(path: &Path, config: TransformerBlockConfig, disable_self_attn: bool) -> Self {
        let width = config.width;
        Self {
            attn1: CrossAttention::new(&path.sub("attn1"), config.attention(disable_self_attn)),
            ff: FeedForward::new(&path.sub("ff"), width, width, config.dropout),
            attn2: CrossAttention::new(&path.sub("attn2"), config.attention(true)),
            norm1: LayerNorm::new(&path.sub("norm1"), width),
            norm2: LayerNorm::new(&path.sub("norm2"), width),
            norm3: LayerNorm::new(&path.sub("norm3"), width),
            disable_self_attn,
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, s, d]`
    /// - `context`: `[n, s', d']`
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, train: bool) -> Tensor {
        let own_context = if self.disable_self_attn { context } else { None };
        let x = x + self.attn1.forward(&self.norm1.forward(x), own_context, train);
        let x = &x + self.attn2.forward(&self.norm2.forward(&x), context, train);
        &x + self.ff.forward(&self.norm3.forward(&x), train)
    }
}
