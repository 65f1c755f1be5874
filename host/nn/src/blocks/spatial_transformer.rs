//! Transformer blocks over the pixels of an image, between two projections.

use tch::Tensor;

use super::{TransformerBlock, TransformerBlockConfig};
use crate::layers::{Conv, ConvConfig, GroupNorm, Linear, LinearConfig};
use crate::params::Path;
use crate::shape::{to_pixels, to_tokens};

/// Sizes and options of a spatial transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpatialTransformerConfig {
    /// Channels of the image.
    pub channels: i64,
    /// Number of blocks.
    pub depth: u32,
    /// The projections are linear layers over tokens, not convolutions of kernel 1.
    pub use_linear: bool,
    /// The first attention of a block, too, attends to the context.
    pub disable_self_attn: bool,
    /// Each block; its width is that between the projections.
    pub block: TransformerBlockConfig,
}

/// A projection of channels: the same mathematics, stored in one of two shapes.
#[derive(Debug)]
enum Projection {
    Linear(Linear),
    Conv(Conv),
}

impl Projection {
    fn new(path: &Path, inputs: i64, outputs: i64, use_linear: bool, zeroed: bool) -> Self {
        if use_linear {
            Self::Linear(Linear::new(path, LinearConfig { zeroed, ..LinearConfig::new(inputs, outputs) }))
        } else {
            Self::Conv(Conv::new(path, ConvConfig { zeroed, ..ConvConfig::same(inputs, outputs, &[1, 1]) }))
        }
    }
}

/// Norm, projection to tokens, blocks, projection back (zero at the start), residual.
#[derive(Debug)]
pub struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<TransformerBlock>,
    proj_out: Projection,
}

impl SpatialTransformer {
    /// Keys `norm`, `proj_in`, `transformer_blocks.{i}`, `proj_out`.
    pub fn new(path: &Path, config: SpatialTransformerConfig) -> Self {
        let (channels, width) = (config.channels, config.block.width);
        let blocks = path.sub("transformer_blocks");
        Self {
            norm: GroupNorm::of_attention(&path.sub("norm"), channels),
            proj_in: Projection::new(&path.sub("proj_in"), channels, width, config.use_linear, false),
            blocks: (0..config.depth).map(|i| TransformerBlock::new(&blocks.sub(i), config.block, config.disable_self_attn)).collect(),
            proj_out: Projection::new(&path.sub("proj_out"), width, channels, config.use_linear, true),
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    /// - `context`: `[n, s, d]`
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, train: bool) -> Tensor {
        let mut tokens = self.tokens(x);
        for block in &self.blocks {
            tokens = block.forward(&tokens, context, train);
        }
        self.add_tokens(x, &tokens)
    }

    /// The blocks, for a caller that puts something between them.
    pub(super) fn blocks(&self) -> &[TransformerBlock] {
        &self.blocks
    }

    /// `[n, c, h, w] -> [n, h*w, d]`
    pub(super) fn tokens(&self, x: &Tensor) -> Tensor {
        let normed = self.norm.forward(x);
        match &self.proj_in {
            Projection::Linear(linear) => linear.forward(&to_tokens(&normed)),
            Projection::Conv(conv) => to_tokens(&conv.forward(&normed)),
        }
    }

    /// `[n, c, h, w], [n, h*w, d] -> [n, c, h, w]`
    pub(super) fn add_tokens(&self, x: &Tensor, tokens: &Tensor) -> Tensor {
        let (_, _, h, w) = x.size4().unwrap_or_else(|_| panic!("attention wants [n, c, h, w], got {:?}", x.size()));
        let out = match &self.proj_out {
            Projection::Linear(linear) => to_pixels(&linear.forward(tokens), h, w),
            Projection::Conv(conv) => conv.forward(&to_pixels(tokens, h, w)),
        };
        x + out
    }
}
