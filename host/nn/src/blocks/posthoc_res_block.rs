//! The residual block of SV4D's UNet: an image block, and one over all frames of all views as one line of time.

use anneal_torch::place::zeros_at;
use tch::Tensor;

use super::{Blend, BlendConfig, ResBlock, ResBlockConfig, Resample};
use crate::params::Path;
use crate::shape::{merge_time, rows_of_frames, split_time};

/// Sizes and options of a residual block to which time was added later.
#[derive(Debug, Clone, PartialEq)]
pub struct PostHocResBlockConfig {
    /// The image block.
    pub image: ResBlockConfig,
    /// Kernel of the block over time: time, rows, columns.
    pub time_kernel: [i64; 3],
    /// How the two are blended.
    pub blend: BlendConfig,
}

/// `alpha * image + (1 - alpha) * time`; in the legacy blend `alpha` weighs the time branch. No frame counts as an image
/// of its own, because the reference multiplies the indicator by zero.
#[derive(Debug)]
pub struct PostHocResBlock {
    image: ResBlock,
    time_mix_blocks: ResBlock,
    blend: Blend,
}

impl PostHocResBlock {
    /// Keys of the image block, `time_mix_blocks`, and `time_mixer` or `mix_factor`.
    pub fn new(path: &Path, config: PostHocResBlockConfig) -> Self {
        let time = ResBlockConfig {
            channels: config.image.out_channels,
            use_conv: false,
            use_scale_shift_norm: false,
            kernel: config.time_kernel.to_vec(),
            resample: Resample::Keep,
            emb_per_frame: true,
            ..config.image.clone()
        };
        Self {
            image: ResBlock::new(path, config.image),
            time_mix_blocks: ResBlock::new(&path.sub("time_mix_blocks"), time),
            blend: Blend::new(path, config.blend),
        }
    }

    /// # Shapes
    /// - `x`: `[b*t, c, h, w]`, `t` all rows of a scene
    /// - `emb`: `[b*t, emb_channels]`
    /// - result: `[b*t, c_out, h, w]`
    pub fn forward(&self, x: &Tensor, emb: &Tensor, t: i64, train: bool) -> Tensor {
        let image = self.image.forward(x, Some(emb), train);
        let emb = rows_of_frames(emb, t);
        let branch = self.time_mix_blocks.branch(&split_time(&image, t), Some(&emb), train);
        let no_images = zeros_at(&[1, 1], x);
        let alpha = self.blend.alpha(Some(&no_images));
        // The time block's skip connection is the identity, so either blend of image and image + branch is the image and
        // a part of the branch.
        let part = match self.blend {
            Blend::Mixer(_) => 1.0f64 - alpha,
            Blend::Legacy(_) => alpha,
        };
        image.addcmul(&merge_time(&branch), &part.reshape([1, 1, 1, 1]).to_kind(image.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::LegacyMergeStrategy;
    use crate::config::MergeStrategy;
    use crate::params::Params;
    use crate::testing::{F32, close, keys, randomise};
    use tch::Device;

    fn build(blend: BlendConfig) -> (Params, PostHocResBlock) {
        let image = ResBlockConfig {
            channels: 32,
            out_channels: 32,
            emb_channels: Some(24),
            dropout: 0.0,
            use_conv: false,
            use_scale_shift_norm: false,
            kernel: vec![3, 3],
            resample: Resample::Keep,
            emb_per_frame: false,
        };
        let params = Params::new(Device::Cpu, 1);
        let block =
            PostHocResBlock::new(&params.root(), PostHocResBlockConfig { image, time_kernel: [3, 1, 1], blend });
        randomise(&params);
        (params, block)
    }

    /// The weight of the time branch.
    fn check(blend: BlendConfig, key: &str, time: impl Fn(f64) -> f64) {
        let (params, block) = build(blend);
        assert!(keys(&params).contains(&format!("{key} [1]")));
        let mix = params.entries().into_iter().find(|p| p.path == key).unwrap().tensor.double_value(&[0]);
        let (x, emb) = (Tensor::randn([6, 32, 4, 4], F32), Tensor::randn([6, 24], F32));
        let image = block.image.forward(&x, Some(&emb), false);
        let clip = split_time(&image, 3);
        let over_time = merge_time(&block.time_mix_blocks.forward(&clip, Some(&emb.view([2, 3, 24])), false));
        let weight = time(mix);
        close(&block.forward(&x, &emb, 3, false), &(over_time * weight + image * (1.0 - weight)), 1e-5);
    }

    #[test]
    fn alpha_weighs_the_image_and_in_the_legacy_blend_the_time() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mixer = |strategy| BlendConfig::Mixer { strategy, factor: 0.3 };
        check(mixer(MergeStrategy::Fixed), "time_mixer.mix_factor", |mix| 1.0 - mix);
        check(mixer(MergeStrategy::LearnedWithImages), "time_mixer.mix_factor", |mix| 1.0 - sigmoid(mix));
        let legacy = BlendConfig::Legacy { strategy: LegacyMergeStrategy::Learned, factor: 0.3, apply_sigmoid: true };
        check(legacy, "mix_factor", sigmoid);
    }
}
