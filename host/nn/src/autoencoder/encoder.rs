//! Pixels to the moments of a latent.

use tch::Tensor;

use super::attention::Attention;
use super::config::CoderConfig;
use super::resample::HalvingLayer;
use super::resnet_block::{ResnetBlock, ResnetBlockConfig};
use crate::layers::{Conv, ConvConfig, GroupNorm};
use crate::params::Path;

/// Blocks of one level, each with its attention, then halving.
#[derive(Debug)]
struct Down {
    blocks: Vec<(ResnetBlock, Attention)>,
    downsample: Option<HalvingLayer>,
}

/// The encoder.
#[derive(Debug)]
pub struct Encoder {
    conv_in: Conv,
    down: Vec<Down>,
    block_1: ResnetBlock,
    attn_1: Attention,
    block_2: ResnetBlock,
    norm_out: GroupNorm,
    conv_out: Conv,
}

impl Encoder {
    /// Keys `conv_in`, `down.{i}.{block,attn}.{j}`, `down.{i}.downsample`, `mid.{block_1,attn_1,block_2}`, `norm_out`,
    /// `conv_out`.
    ///
    /// # Panics
    /// When [`CoderConfig::check_encoder`] has something to say.
    pub fn new(config: &CoderConfig, path: &Path) -> Self {
        let problems = config.check_encoder();
        assert!(problems.is_empty(), "{}", problems[0]);
        let ch = i64::from(config.ch);
        let block = |path: &Path, inputs, outputs| {
            ResnetBlock::new(path, ResnetBlockConfig::new(inputs, outputs, config.dropout))
        };
        let attention = |path: &Path, channels| Attention::of_images(path, channels, config.attention());
        let conv_in = Conv::new(&path.sub("conv_in"), ConvConfig::same(config.in_channels.into(), ch, &[3, 3]));
        let mut channels = ch;
        let mut down = Vec::new();
        for level in 0..config.ch_mult.len() {
            let path = path.sub("down").sub(level);
            let mut blocks = Vec::new();
            for i in 0..config.num_res_blocks {
                let outputs = config.channels_at(level);
                let res_block = block(&path.sub("block").sub(i), channels, outputs);
                channels = outputs;
                let attn = if config.attends_at(level) {
                    attention(&path.sub("attn").sub(i), channels)
                } else {
                    Attention::None
                };
                blocks.push((res_block, attn));
            }
            let downsample = (level + 1 < config.ch_mult.len())
                .then(|| HalvingLayer::new(&path.sub("downsample"), channels, config.resamp_with_conv));
            down.push(Down { blocks, downsample });
        }
        let mid = path.sub("mid");
        Self {
            conv_in,
            down,
            block_1: block(&mid.sub("block_1"), channels, channels),
            attn_1: attention(&mid.sub("attn_1"), channels),
            block_2: block(&mid.sub("block_2"), channels, channels),
            norm_out: GroupNorm::of_attention(&path.sub("norm_out"), channels),
            conv_out: Conv::new(&path.sub("conv_out"), ConvConfig::same(channels, config.encoded_channels(), &[3, 3])),
        }
    }

    /// # Shapes
    /// - `x`: `[n, in_channels, h, w]`
    /// - result: `[n, 2*z_channels, h/f, w/f]`, `f` two for each level but one; `z_channels` without `double_z`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let mut h = self.conv_in.forward(x);
        for down in &self.down {
            for (block, attn) in &down.blocks {
                h = attn.forward(&block.forward(&h, None, train), None, train);
            }
            if let Some(downsample) = &down.downsample {
                h = downsample.forward(&h);
            }
        }
        let h = self.attn_1.forward(&self.block_1.forward(&h, None, train), None, train);
        let h = self.block_2.forward(&h, None, train);
        self.conv_out.forward(&self.norm_out.forward(&h).silu())
    }
}
