//! The residual block of video decoders: an image block, then one over time.

use tch::Tensor;

use super::config::{TimeMerge, VideoTimeConfig};
use super::resnet_block::{ResnetBlock, ResnetBlockConfig};
use crate::blocks::{ResBlock, ResBlockConfig, Resample};
use crate::params::{Init, Path};
use crate::shape::{merge_time, split_time};

/// The weight of a blend: fixed, or learned behind a sigmoid.
#[derive(Debug)]
pub struct MixFactor {
    mix_factor: Tensor,
    strategy: TimeMerge,
}

impl MixFactor {
    /// Key `mix_factor` at `path` itself: a buffer when fixed, else a parameter.
    pub fn new(path: &Path, strategy: TimeMerge, start: f64) -> Self {
        let mix_factor = match strategy {
            TimeMerge::Fixed => path.buffer("mix_factor", &[1], Init::Const(start)),
            TimeMerge::Learned => path.param("mix_factor", &[1], Init::Const(start)),
        };
        Self { mix_factor, strategy }
    }

    /// # Shapes
    /// - result: `[1]`
    pub fn alpha(&self) -> Tensor {
        match self.strategy {
            TimeMerge::Fixed => self.mix_factor.shallow_clone(),
            TimeMerge::Learned => self.mix_factor.sigmoid(),
        }
    }
}

/// `alpha * time_stack(image) + (1 - alpha) * image`: alpha weighs the block over time, unlike in the UNets.
#[derive(Debug)]
pub struct VideoResnetBlock {
    image: ResnetBlock,
    time_stack: ResBlock,
    mix: MixFactor,
}

impl VideoResnetBlock {
    /// Keys of the image block, `time_stack`, `mix_factor`.
    pub fn new(path: &Path, image: ResnetBlockConfig, time: VideoTimeConfig) -> Self {
        let time_stack = ResBlockConfig {
            channels: image.out_channels,
            out_channels: image.out_channels,
            emb_channels: None,
            dropout: image.dropout,
            use_conv: false,
            use_scale_shift_norm: false,
            kernel: time.video_kernel.to_vec(),
            resample: Resample::Keep,
            emb_per_frame: false,
        };
        Self {
            image: ResnetBlock::new(path, image),
            time_stack: ResBlock::new(&path.sub("time_stack"), time_stack),
            mix: MixFactor::new(path, time.merge_strategy, time.alpha),
        }
    }

    /// # Shapes
    /// - `x`: `[b*t, c, h, w]`; without `t` rows are images of their own
    /// - `temb`: `[b*t, temb_channels]`
    /// - result: `[b*t, c_out, h, w]`
    pub fn forward(&self, x: &Tensor, temb: Option<&Tensor>, t: Option<i64>, train: bool) -> Tensor {
        let image = self.image.forward(x, temb, train);
        let Some(t) = t else { return image };
        // The time stack's skip connection is the identity, so the blend
        // alpha * (image + branch) + (1 - alpha) * image is image + alpha * branch.
        let branch = merge_time(&self.time_stack.branch(&split_time(&image, t), None, train));
        image.addcmul(&branch, &self.mix.alpha().to_kind(image.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::Device;

    #[test]
    fn alpha_weighs_the_block_over_time() {
        for (merge_strategy, alpha) in [(TimeMerge::Fixed, 0.3), (TimeMerge::Learned, 0.574_442_5)] {
            let params = Params::new(Device::Cpu, 1);
            let time = VideoTimeConfig { video_kernel: [3, 1, 1], merge_strategy, alpha: 0.3 };
            let block = VideoResnetBlock::new(&params.root(), ResnetBlockConfig::new(32, 64, 0.0), time);
            randomise(&params);
            let _no_grad = anneal_torch::grad_mode::no_grad();
            let _ = block.mix.mix_factor.shallow_clone().fill_(0.3);
            let x = Tensor::randn([6, 32, 4, 4], F32);
            let image = block.forward(&x, None, None, false);
            let time = merge_time(&block.time_stack.forward(&split_time(&image, 3), None, false));
            let want = time * alpha + image * (1.0 - alpha);
            close(&block.forward(&x, None, Some(3), false), &want, 1e-5);
        }
    }
}
