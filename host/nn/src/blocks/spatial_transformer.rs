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
        Self::with_contexts(path, config, &vec![config.block.context_width; config.depth as usize])
    }

    /// As [`SpatialTransformer::new`], with a context of another width for each block.
    pub fn with_contexts(path: &Path, config: SpatialTransformerConfig, context_widths: &[Option<i64>]) -> Self {
        let (channels, width) = (config.channels, config.block.width);
        let blocks = path.sub("transformer_blocks");
        Self {
            norm: GroupNorm::of_attention(&path.sub("norm"), channels),
            proj_in: Projection::new(&path.sub("proj_in"), channels, width, config.use_linear, false),
            blocks: context_widths
                .iter()
                .enumerate()
                .map(|(i, &context_width)| {
                    let block = TransformerBlockConfig { context_width, ..config.block };
                    TransformerBlock::new(&blocks.sub(i), block, config.disable_self_attn)
                })
                .collect(),
            proj_out: Projection::new(&path.sub("proj_out"), width, channels, config.use_linear, true),
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    /// - `context`: `[n, s, d]`
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, train: bool) -> Tensor {
        self.forward_each(x, &vec![context; self.blocks.len()], train)
    }

    /// As [`SpatialTransformer::forward`], with a context for each block.
    ///
    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    /// - `contexts`: `[n, s, d]` each
    ///
    /// # Panics
    /// When there are not as many contexts as blocks.
    pub fn forward_each(&self, x: &Tensor, contexts: &[Option<&Tensor>], train: bool) -> Tensor {
        assert_eq!(contexts.len(), self.blocks.len(), "contexts and blocks of a spatial transformer");
        let mut tokens = self.tokens(x, train);
        for (block, context) in self.blocks.iter().zip(contexts) {
            tokens = block.forward(&tokens, *context, train);
        }
        self.add_tokens(x, &tokens, train)
    }

    /// The blocks, for a caller that puts something between them.
    pub(super) fn blocks(&self) -> &[TransformerBlock] {
        &self.blocks
    }

    /// `[n, c, h, w] -> [n, h*w, d]`
    pub(super) fn tokens(&self, x: &Tensor, train: bool) -> Tensor {
        let normed = self.norm.forward(x);
        match &self.proj_in {
            Projection::Linear(linear) => linear.forward(&to_tokens(&normed), train),
            Projection::Conv(conv) => to_tokens(&conv.forward(&normed)),
        }
    }

    /// `[n, c, h, w], [n, h*w, d] -> [n, c, h, w]`
    pub(super) fn add_tokens(&self, x: &Tensor, tokens: &Tensor, train: bool) -> Tensor {
        let (_, _, h, w) = x.size4().unwrap_or_else(|_| panic!("attention wants [n, c, h, w], got {:?}", x.size()));
        let out = match &self.proj_out {
            Projection::Linear(linear) => to_pixels(&linear.forward(tokens, train), h, w),
            Projection::Conv(conv) => conv.forward(&to_pixels(tokens, h, w)),
        };
        x + out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::Device;

    fn build(use_linear: bool, depth: u32) -> (Params, SpatialTransformer) {
        let block = TransformerBlockConfig {
            width: 16,
            num_heads: 2,
            head_width: 8,
            context_width: Some(10),
            gated_ff: true,
            dropout: 0.0,
        };
        let config = SpatialTransformerConfig { channels: 32, depth, use_linear, disable_self_attn: false, block };
        let params = Params::new(Device::Cpu, 1);
        let transformer = SpatialTransformer::new(&params.root(), config);
        (params, transformer)
    }

    #[test]
    fn starts_as_the_identity() {
        let (x, context) = (Tensor::randn([2, 32, 3, 4], F32), Tensor::randn([2, 3, 10], F32));
        assert!(build(true, 2).1.forward(&x, Some(&context), true).equal(&x));
    }

    #[test]
    fn each_block_can_have_a_context_of_its_own() {
        let (_, one) = build(true, 1);
        let config = SpatialTransformerConfig {
            channels: 32,
            depth: 2,
            use_linear: true,
            disable_self_attn: false,
            block: TransformerBlockConfig {
                width: 16,
                num_heads: 2,
                head_width: 8,
                context_width: None,
                gated_ff: true,
                dropout: 0.0,
            },
        };
        let params = Params::new(Device::Cpu, 1);
        let two = SpatialTransformer::with_contexts(&params.root(), config, &[Some(10), Some(6)]);
        assert!(crate::testing::keys(&params).contains(&"transformer_blocks.1.attn2.to_k.weight [16, 6]".to_owned()));
        let x = Tensor::randn([2, 32, 3, 4], F32);
        let (first, second) = (Tensor::randn([2, 3, 10], F32), Tensor::randn([2, 2, 6], F32));
        let tokens = two.blocks[0].forward(&two.tokens(&x, false), Some(&first), false);
        let want = two.add_tokens(&x, &two.blocks[1].forward(&tokens, Some(&second), false), false);
        close(&two.forward_each(&x, &[Some(&first), Some(&second)], false), &want, 0.0);
        close(&one.forward_each(&x, &[Some(&first)], false), &one.forward(&x, Some(&first), false), 0.0);
    }

    #[test]
    fn linear_and_convolutional_projections_are_the_same_mathematics() {
        let (linear_params, linear) = build(true, 1);
        let (conv_params, conv) = build(false, 1);
        randomise(&linear_params);
        let _no_grad = anneal_torch::grad_mode::no_grad();
        for (from, to) in linear_params.entries().iter().zip(conv_params.entries()) {
            assert_eq!(from.path, to.path);
            to.tensor.shallow_clone().copy_(&from.tensor.view_as(&to.tensor));
        }
        let (x, context) = (Tensor::randn([2, 32, 3, 4], F32), Tensor::randn([2, 3, 10], F32));
        close(&conv.forward(&x, Some(&context), true), &linear.forward(&x, Some(&context), true), 1e-5);
    }
}
