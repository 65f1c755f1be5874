//! open_clip's vision transformer.

use plugin_api::tch::prelude::*;

use crate::layers::{Activation, Attend, LayerNorm};
use crate::open_clip_blocks::{Block, EPS, Sizes};
use crate::resize::IMAGE_SIZE;
use crate::tree::Tree;

/// Sizes of a vision tower, as in open_clip's model configs.
#[derive(Config, Clone, Copy)]
#[config(check = check)]
pub struct Vision {
    /// Width of an image's embedding.
    #[config(min = 1)]
    pub embed_dim: i64,
    /// Width of a token.
    #[config(default = 768, min = 1)]
    pub width: i64,
    /// Number of blocks.
    #[config(default = 12, min = 1)]
    pub layers: i64,
    /// Width of a head.
    #[config(default = 64, min = 1)]
    pub head_width: i64,
    /// Width inside a block's feed-forward network, in widths of a token.
    #[config(default = 4.0, exclusive_min = 0.0)]
    pub mlp_ratio: f64,
    /// Rows and columns of a patch, in pixels.
    #[config(default = 16, min = 1, max = 224)]
    pub patch_size: i64,
    /// Non-linearity of the feed-forward networks.
    #[config(default = Activation::Gelu)]
    pub act: Activation,
    /// Scale each branch of a block by a learned factor a channel.
    #[config(default)]
    pub layer_scale: bool,
}

fn check(vision: &Vision) -> std::result::Result<(), ConfigError> {
    match vision.width % vision.head_width {
        0 => Ok(()),
        _ => Err(ConfigError::new(
            "/head_width",
            format!("{} does not divide the width of {}", vision.head_width, vision.width),
        )),
    }
}

/// The tower.
pub struct VisionTower {
    conv1: Param,
    class_embedding: Param,
    positional_embedding: Param,
    ln_pre: LayerNorm,
    blocks: Vec<Block>,
    ln_post: LayerNorm,
    proj: Param,
    patch_size: i64,
}

impl VisionTower {
    /// Keys as in open_clip's `VisionTransformer`.
    pub fn new(mut at: Tree<'_>, vision: Vision) -> Self {
        let Vision { width, patch_size, embed_dim, .. } = vision;
        let sizes = Sizes {
            width,
            num_heads: width / vision.head_width,
            mlp_ratio: vision.mlp_ratio,
            act: vision.act,
            layer_scale: vision.layer_scale,
        };
        let grid = IMAGE_SIZE / patch_size;
        let normal = Init::Normal { std: (width as f64).powf(-0.5) };
        let patch = crate::layers::fan_in(3 * patch_size * patch_size);
        Self {
            conv1: at.param("conv1.weight", &[width, 3, patch_size, patch_size], patch),
            class_embedding: at.param("class_embedding", &[width], normal),
            positional_embedding: at.param("positional_embedding", &[grid * grid + 1, width], normal),
            ln_pre: LayerNorm::new(at.sub("ln_pre"), width, EPS),
            blocks: (0..vision.layers)
                .map(|i| Block::new(at.sub("transformer").sub("resblocks").sub(i), sizes))
                .collect(),
            ln_post: LayerNorm::new(at.sub("ln_post"), width, EPS),
            proj: at.param("proj", &[width, embed_dim], normal),
            patch_size,
        }
    }

    /// The embedding of each image, and the tokens of its patches.
    ///
    /// # Shapes
    /// - `images`: `[n, 3, 224, 224]`, normalised
    /// - results: `[n, embed_dim]` and `[n, grid * grid, width]`
    pub fn forward(&self, call: &Call<'_>, images: &Tensor) -> Result<(Tensor, Tensor)> {
        let patches =
            images.f_conv2d(call.param(self.conv1), None::<&Tensor>, [self.patch_size; 2], [0, 0], [1, 1], 1)?;
        let patches = patches.flatten(2, 3).transpose(1, 2); // [n, d, grid, grid] -> [n, grid*grid, d]
        let class = call.param(self.class_embedding).expand([patches.size()[0], 1, -1], false);
        let x = Tensor::f_cat(&[class.to_kind(patches.kind()), patches], 1)? + call.param(self.positional_embedding);
        let mut x = self.ln_pre.forward(call, &x)?;
        for block in &self.blocks {
            x = block.forward(call, &x, &Attend::All)?;
        }
        let x = self.ln_post.forward(call, &x)?;
        let pooled = x.select(1, 0).f_matmul(call.param(self.proj))?;
        Ok((pooled, x.narrow(1, 1, x.size()[1] - 1)))
    }
}
