//! Latents to pixels.

use tch::Tensor;

use super::attention::Attention;
use super::config::{CoderConfig, TimeMode};
use super::resample::DoublingLayer;
use super::resnet_block::{ResnetBlock, ResnetBlockConfig};
use super::time_conv::TimeConv;
use super::video_resnet_block::VideoResnetBlock;
use crate::layers::{Conv, ConvConfig, GroupNorm};
use crate::params::Path;

/// A residual block, over time as well or not.
#[derive(Debug)]
enum Block {
    Image(Box<ResnetBlock>),
    Video(Box<VideoResnetBlock>),
}

impl Block {
    fn forward(&self, x: &Tensor, t: Option<i64>, train: bool) -> Tensor {
        match self {
            Self::Image(block) => block.forward(x, None, train),
            Self::Video(block) => block.forward(x, None, t, train),
        }
    }
}

/// The last convolution, over time as well or not.
#[derive(Debug)]
enum LastConv {
    Image(Conv),
    Video(TimeConv),
}

/// Blocks of one level, each with its attention, then doubling.
#[derive(Debug)]
struct Up {
    blocks: Vec<(Block, Attention)>,
    upsample: Option<DoublingLayer>,
}

/// The decoder, of images or of video.
#[derive(Debug)]
pub struct Decoder {
    conv_in: Conv,
    block_1: Block,
    attn_1: Attention,
    block_2: Block,
    /// Coarsest first.
    up: Vec<Up>,
    norm_out: GroupNorm,
    conv_out: LastConv,
    over_time: bool,
    give_pre_end: bool,
    tanh_out: bool,
}

/// Which parts a decoder has.
struct Parts<'a> {
    config: &'a CoderConfig,
    time_mode: Option<TimeMode>,
}

impl Parts<'_> {
    fn block(&self, path: &Path, inputs: i64, outputs: i64) -> Block {
        let image = ResnetBlockConfig::new(inputs, outputs, self.config.dropout);
        match self.time_mode {
            Some(TimeMode::All | TimeMode::ConvOnly) => {
                Block::Video(Box::new(VideoResnetBlock::new(path, image, self.config.time())))
            }
            Some(TimeMode::AttnOnly) | None => Block::Image(Box::new(ResnetBlock::new(path, image))),
        }
    }

    fn attention(&self, path: &Path, channels: i64) -> Attention {
        match self.time_mode {
            Some(TimeMode::All | TimeMode::AttnOnly) => Attention::of_video(path, channels, self.config.time()),
            Some(TimeMode::ConvOnly) | None => Attention::of_images(path, channels, self.config.attention()),
        }
    }

    fn last_conv(&self, path: &Path, inputs: i64) -> LastConv {
        let conv = ConvConfig::same(inputs, self.config.out_ch.into(), &[3, 3]);
        match self.time_mode {
            Some(TimeMode::All | TimeMode::ConvOnly) => {
                LastConv::Video(TimeConv::new(path, conv, self.config.time().video_kernel))
            }
            Some(TimeMode::AttnOnly) | None => LastConv::Image(Conv::new(path, conv)),
        }
    }
}

impl Decoder {
    /// A decoder of images. Keys `conv_in`, `mid.{block_1,attn_1,block_2}`, `up.{i}.{block,attn}.{j}`,
    /// `up.{i}.upsample`, `norm_out`, `conv_out`.
    ///
    /// # Panics
    /// When [`CoderConfig::check_decoder`] has something to say.
    pub fn new(config: &CoderConfig, path: &Path) -> Self {
        let problems = config.check_decoder();
        assert!(problems.is_empty(), "{}", problems[0]);
        Self::build(&Parts { config, time_mode: None }, path)
    }

    /// A decoder of video. Keys of the image decoder, and those of layers over time: `time_stack`, `mix_factor`,
    /// `time_mix_block`, `video_time_embed`, `conv_out.time_mix_conv`.
    ///
    /// # Panics
    /// When [`CoderConfig::check_video_decoder`] has something to say.
    pub fn video(config: &CoderConfig, path: &Path) -> Self {
        let problems = config.check_video_decoder();
        assert!(problems.is_empty(), "{}", problems[0]);
        Self::build(&Parts { config, time_mode: Some(config.time_mode.unwrap_or_default()) }, path)
    }

    fn build(parts: &Parts<'_>, path: &Path) -> Self {
        let config = parts.config;
        let last = config.ch_mult.len() - 1;
        let mut channels = config.channels_at(last);
        let conv_in = Conv::new(&path.sub("conv_in"), ConvConfig::same(config.z_channels.into(), channels, &[3, 3]));
        let mid = path.sub("mid");
        let block_1 = parts.block(&mid.sub("block_1"), channels, channels);
        let attn_1 = parts.attention(&mid.sub("attn_1"), channels);
        let block_2 = parts.block(&mid.sub("block_2"), channels, channels);
        let mut up = Vec::new();
        for level in (0..=last).rev() {
            let path = path.sub("up").sub(level);
            let mut blocks = Vec::new();
            for i in 0..=config.num_res_blocks {
                let outputs = config.channels_at(level);
                let block = parts.block(&path.sub("block").sub(i), channels, outputs);
                channels = outputs;
                let attn = if config.attends_at(level) {
                    parts.attention(&path.sub("attn").sub(i), channels)
                } else {
                    Attention::None
                };
                blocks.push((block, attn));
            }
            let upsample =
                (level > 0).then(|| DoublingLayer::new(&path.sub("upsample"), channels, config.resamp_with_conv));
            up.push(Up { blocks, upsample });
        }
        Self {
            conv_in,
            block_1,
            attn_1,
            block_2,
            up,
            norm_out: GroupNorm::of_attention(&path.sub("norm_out"), channels),
            conv_out: parts.last_conv(&path.sub("conv_out"), channels),
            over_time: parts.time_mode.is_some(),
            give_pre_end: config.give_pre_end,
            tanh_out: config.tanh_out,
        }
    }

    /// Whether rows of one clip are mixed.
    pub fn is_over_time(&self) -> bool {
        self.over_time
    }

    /// The weight of the last convolution.
    ///
    /// # Shapes
    /// - result: `[out_ch, c, 3, 3]`; `[out_ch, out_ch, t, h, w]` if it is over frames
    pub fn last_layer(&self) -> &Tensor {
        match &self.conv_out {
            LastConv::Image(conv) => conv.weight(),
            LastConv::Video(conv) => conv.time_mix_conv().weight(),
        }
    }

    /// # Shapes
    /// - `z`: `[b*t, z_channels, h, w]`; without `t`, and in a decoder of images, rows are images of their own
    /// - result: `[b*t, out_ch, f*h, f*w]`, `f` two for each level but one; with `give_pre_end` the channels of the
    ///   finest level
    ///
    /// # Panics
    /// When `t` does not divide the rows.
    pub fn forward(&self, z: &Tensor, t: Option<i64>, train: bool) -> Tensor {
        let h = self.conv_in.forward(z);
        let h = self.attn_1.forward(&self.block_1.forward(&h, t, train), t, train);
        let mut h = self.block_2.forward(&h, t, train);
        for up in &self.up {
            for (block, attn) in &up.blocks {
                h = attn.forward(&block.forward(&h, t, train), t, train);
            }
            if let Some(upsample) = &up.upsample {
                h = upsample.forward(&h);
            }
        }
        if self.give_pre_end {
            return h;
        }
        let h = self.norm_out.forward(&h).silu();
        let pixels = match &self.conv_out {
            LastConv::Image(conv) => conv.forward(&h),
            LastConv::Video(conv) => conv.forward(&h, t),
        };
        if self.tanh_out { pixels.tanh() } else { pixels }
    }
}
