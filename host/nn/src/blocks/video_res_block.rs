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
    pub fn forward(&self, x: &Tensor, emb: &Tensor, t: i64, image_only_indicator: Option<&Tensor>, train: bool) -> Tensor {
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
