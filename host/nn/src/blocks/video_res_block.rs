//! The residual block of the video UNet: an image block, then one over time.

use tch::Tensor;

use super::{AlphaBlender, ResBlock, ResBlockConfig, Resample};
use crate::config::MergeStrategy;
use crate::params::Path;
use crate::shape::{merge_time, rows_of_frames, split_time};

/// Sizes and options of a video residual block.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoResBlockConfig {
    /// The image block.
    pub image: ResBlockConfig,
    /// Kernel of the block over time: time, rows, columns.
    pub video_kernel: [i64; 3],
    /// How the two are blended.
    pub merge_strategy: MergeStrategy,
    /// Start of the blend.
    pub merge_factor: f64,
}

/// `alpha * image + (1 - alpha) * time_stack(image)`.
#[derive(Debug)]
pub struct VideoResBlock {
    image: ResBlock,
    time_stack: ResBlock,
    time_mixer: AlphaBlender,
}

impl VideoResBlock {
    /// Keys of the image block, `time_stack` and `time_mixer`.
    pub fn new(path: &Path, config: VideoResBlockConfig) -> Self {
        let time = ResBlockConfig {
            channels: config.image.out_channels,
            use_conv: false,
            use_scale_shift_norm: false,
            kernel: config.video_kernel.to_vec(),
            resample: Resample::Keep,
            emb_per_frame: true,
            ..config.image.clone()
        };
        Self {
            image: ResBlock::new(path, config.image),
            time_stack: ResBlock::new(&path.sub("time_stack"), time),
            time_mixer: AlphaBlender::new(&path.sub("time_mixer"), config.merge_strategy, config.merge_factor),
        }
    }

    /// # Shapes
    /// - `x`: `[b*t, c, h, w]`
    /// - `emb`: `[b*t, emb_channels]`
    /// - `image_only_indicator`: `[b, t]`
    /// - result: `[b*t, c_out, h, w]`
    pub fn forward(
        &self,
        x: &Tensor,
        emb: &Tensor,
        t: i64,
        image_only_indicator: Option<&Tensor>,
        train: bool,
    ) -> Tensor {
        let image = self.image.forward(x, Some(emb), train);
        let clip = split_time(&image, t);
        let branch = self.time_stack.branch(&clip, Some(&rows_of_frames(emb, t)), train);
        // The time stack's skip connection is the identity, so the blend
        // alpha * image + (1 - alpha) * (image + branch) is image + (1 - alpha) * branch.
        let alpha = self.time_mixer.alpha(image_only_indicator).reshape([-1, 1, 1, 1]); // [b, t] -> [b*t, 1, 1, 1]
        let weight = (1.0f64 - alpha).to_kind(image.kind());
        image.addcmul(&merge_time(&branch), &weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::Device;

    fn build(merge_strategy: MergeStrategy) -> VideoResBlock {
        let image = ResBlockConfig {
            channels: 32,
            out_channels: 64,
            emb_channels: Some(24),
            dropout: 0.0,
            use_conv: false,
            use_scale_shift_norm: false,
            kernel: vec![3, 3],
            resample: Resample::Keep,
            emb_per_frame: false,
        };
        let params = Params::new(Device::Cpu, 1);
        let config = VideoResBlockConfig { image, video_kernel: [3, 1, 1], merge_strategy, merge_factor: 0.3 };
        let block = VideoResBlock::new(&params.root(), config);
        randomise(&params);
        block
    }

    #[test]
    fn equals_the_blend_written_out() {
        for strategy in [MergeStrategy::Fixed, MergeStrategy::Learned, MergeStrategy::LearnedWithImages] {
            let block = build(strategy);
            let (x, emb) = (Tensor::randn([6, 32, 4, 4], F32), Tensor::randn([6, 24], F32));
            let images = Tensor::from_slice(&[0f32, 1.0, 0.0, 0.0, 0.0, 0.0]).view([2, 3]);
            let image = block.image.forward(&x, Some(&emb), false);
            let time =
                merge_time(&block.time_stack.forward(&split_time(&image, 3), Some(&emb.view([2, 3, 24])), false));
            let alpha = block.time_mixer.alpha(Some(&images)).reshape([-1, 1, 1, 1]);
            let want = &image * &alpha + time * (1.0f64 - alpha);
            let got = block.forward(&x, &emb, 3, Some(&images), false);
            close(&got, &want, 1e-5);
            let image_alone = got.select(0, 1).equal(&image.select(0, 1));
            assert_eq!(image_alone, strategy == MergeStrategy::LearnedWithImages);
        }
    }
}
