//! Attention of video decoders: over the pixels of a frame, then over the frames at a pixel.

use anneal_torch::place::count_to;
use tch::Tensor;

use super::attn_block::AttnBlock;
use super::config::TimeMerge;
use super::video_resnet_block::MixFactor;
use crate::blocks::{TransformerBlockConfig, VideoTransformerBlock, VideoTransformerBlockConfig};
use crate::layers::{Mlp, timestep_embedding};
use crate::params::Path;

/// `alpha * spatial + (1 - alpha) * temporal` between attention and its projection; plus the skip connection.
#[derive(Debug)]
pub struct VideoAttnBlock {
    image: AttnBlock,
    time_mix_block: VideoTransformerBlock,
    video_time_embed: Mlp,
    mix: MixFactor,
    channels: i64,
}

impl VideoAttnBlock {
    /// Keys of the image block, `time_mix_block`, `video_time_embed`, `mix_factor`.
    pub fn new(path: &Path, channels: i64, merge_strategy: TimeMerge, alpha: f64) -> Self {
        let block = TransformerBlockConfig {
            width: channels,
            num_heads: 1,
            head_width: channels,
            context_width: None,
            gated_ff: true,
            dropout: 0.0,
        };
        let block = VideoTransformerBlockConfig::new(block);
        Self {
            image: AttnBlock::new(path, channels),
            time_mix_block: VideoTransformerBlock::new(&path.sub("time_mix_block"), block),
            video_time_embed: Mlp::new(&path.sub("video_time_embed"), channels, 4 * channels, channels),
            mix: MixFactor::new(path, merge_strategy, alpha),
            channels,
        }
    }

    /// # Shapes
    /// - `x`, result: `[b*t, c, h, w]`; without `t` rows are images of their own
    pub fn forward(&self, x: &Tensor, t: Option<i64>, train: bool) -> Tensor {
        let Some(t) = t else { return self.image.forward(x) };
        let spatial = self.image.attended(x); // [b*t, h*w, c]
        let frames = count_to(t, x).repeat([x.size()[0] / t]);
        let embedding = self.video_time_embed.forward(&timestep_embedding(&frames, self.channels, 10_000.0), train);
        let temporal = self.time_mix_block.forward(&(&spatial + embedding.unsqueeze(1)), None, t, train);
        let alpha = self.mix.alpha().to_kind(temporal.kind());
        x + self.image.project(&temporal.lerp_tensor(&spatial.to_kind(temporal.kind()), &alpha), x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::Device;

    #[test]
    fn alpha_weighs_the_spatial_branch() {
        let x = Tensor::randn([3, 32, 2, 3], F32);
        let build = |alpha| {
            let params = Params::new(Device::Cpu, 1);
            let block = VideoAttnBlock::new(&params.root(), 32, TimeMerge::Fixed, alpha);
            for param in params.entries().iter().filter(|p| p.path != "mix_factor") {
                assert!(param.tensor.requires_grad(), "{}", param.path);
            }
            block
        };
        let image = build(1.0).forward(&x, None, false);
        close(&build(1.0).forward(&x, Some(3), false), &image, 1e-5);
        assert!((build(0.0).forward(&x, Some(3), false) - image).abs().max().double_value(&[]) > 1e-3);
    }

    #[test]
    fn clips_do_not_meet() {
        let params = Params::new(Device::Cpu, 1);
        let block = VideoAttnBlock::new(&params.root(), 32, TimeMerge::Learned, 0.0);
        randomise(&params);
        let x = Tensor::randn([6, 32, 2, 2], F32);
        let both = block.forward(&x, Some(3), false);
        close(&both.narrow(0, 3, 3), &block.forward(&x.narrow(0, 3, 3), Some(3), false), 1e-5);
    }
}
