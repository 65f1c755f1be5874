//! The residual block of the UNets, in any number of dimensions.

use tch::Tensor;

use crate::layers::{Conv, ConvConfig, GroupNorm, Linear, LinearConfig, downsample_mean, dropout, upsample_nearest};
use crate::params::Path;
use crate::shape::append_axes;

/// Whether a block changes the size of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    /// The size stays.
    Keep,
    /// Twice the size, by nearest neighbours.
    Up,
    /// Half the size, by means.
    Down,
}

/// Sizes and options of a residual block.
#[derive(Debug, Clone, PartialEq)]
pub struct ResBlockConfig {
    /// Channels of the input.
    pub channels: i64,
    /// Channels of the output.
    pub out_channels: i64,
    /// Width of the embedding that is added between the convolutions; none if the block has no embedding.
    pub emb_channels: Option<i64>,
    /// Probability of dropping a value in front of the last convolution, in training.
    pub dropout: f64,
    /// A full convolution in the skip connection where the channels change, instead of one of kernel 1.
    pub use_conv: bool,
    /// The embedding scales and shifts the second norm instead of being added.
    pub use_scale_shift_norm: bool,
    /// Kernel of both convolutions; its length is the number of dimensions.
    pub kernel: Vec<i64>,
    /// Whether the size changes between the first activation and the first convolution.
    pub resample: Resample,
    /// The embedding has a row for each frame, `[b, t, emb_channels]`.
    pub emb_per_frame: bool,
}

/// Norm, SiLU, convolution, embedding, norm, SiLU, dropout, convolution; plus the skip connection.
#[derive(Debug)]
pub struct ResBlock {
    in_norm: GroupNorm,
    in_conv: Conv,
    emb: Option<Linear>,
    out_norm: GroupNorm,
    out_conv: Conv,
    skip: Option<Conv>,
    config: ResBlockConfig,
}

impl ResBlock {
    /// Keys `in_layers.{0,2}`, `emb_layers.1`, `out_layers.{0,3}`, `skip_connection`. The last convolution starts at
    /// zero.
    pub fn new(path: &Path, config: ResBlockConfig) -> Self {
        let (channels, out_channels) = (config.channels, config.out_channels);
        assert!(
            config.emb_channels.is_some() || !config.use_scale_shift_norm,
            "`{}`: without an embedding nothing scales and shifts",
            path.prefix()
        );
        let same = |inputs, kernel: &[i64]| ConvConfig::same(inputs, out_channels, kernel);
        let in_layers = path.sub("in_layers");
        let in_norm = GroupNorm::in_f32(&in_layers.sub(0), channels);
        let in_conv = Conv::new(&in_layers.sub(2), same(channels, &config.kernel));
        let emb_width = if config.use_scale_shift_norm { 2 * out_channels } else { out_channels };
        let emb = config
            .emb_channels
            .map(|width| Linear::new(&path.sub("emb_layers").sub(1), LinearConfig::new(width, emb_width)));
        let out_layers = path.sub("out_layers");
        let out_norm = GroupNorm::in_f32(&out_layers.sub(0), out_channels);
        let zeroed = ConvConfig { zeroed: true, ..same(out_channels, &config.kernel) };
        let out_conv = Conv::new(&out_layers.sub(3), zeroed);
        let skip_kernel = if config.use_conv { config.kernel.clone() } else { vec![1; config.kernel.len()] };
        let skip = (channels != out_channels)
            .then(|| Conv::new(&path.sub("skip_connection"), same(channels, &skip_kernel)));
        Self { in_norm, in_conv, emb, out_norm, out_conv, skip, config }
    }

    /// # Shapes
    /// - `x`: `[n, c, ...]`, as many axes of positions as the kernel has
    /// - `emb`: `[n, emb_channels]`, or `[b, t, emb_channels]` with `emb_per_frame`
    /// - result: `[n, c_out, ...]`
    pub fn forward(&self, x: &Tensor, emb: Option<&Tensor>, train: bool) -> Tensor {
        let branch = self.branch(x, emb, train);
        let x = match self.config.resample {
            Resample::Keep => x.shallow_clone(),
            Resample::Up => upsample_nearest(x),
            Resample::Down => downsample_mean(x),
        };
        match &self.skip {
            Some(skip) => skip.forward(&x) + branch,
            None => x + branch,
        }
    }

    /// The block without its skip connection; shapes as in [`ResBlock::forward`].
    pub fn branch(&self, x: &Tensor, emb: Option<&Tensor>, train: bool) -> Tensor {
        let h = self.in_norm.forward(x).silu();
        let h = match self.config.resample {
            Resample::Keep => h,
            Resample::Up => upsample_nearest(&h),
            Resample::Down => downsample_mean(&h),
        };
        let h = self.in_conv.forward(&h);
        let h = match (&self.emb, emb) {
            (Some(linear), Some(emb)) => self.conditioned(&h, &linear.forward(&emb.silu())),
            (None, None) => self.out_norm.forward(&h),
            (Some(_), None) => panic!("a residual block was given no embedding"),
            (None, Some(_)) => panic!("a residual block without embedding was given one"),
        };
        self.out_conv.forward(&dropout(h.silu(), self.config.dropout, train))
    }

    fn conditioned(&self, h: &Tensor, emb: &Tensor) -> Tensor {
        let emb = if self.config.emb_per_frame { emb.transpose(1, 2) } else { emb.shallow_clone() };
        let emb = append_axes(&emb.to_kind(h.kind()), h.dim());
        if self.config.use_scale_shift_norm {
            let parts = emb.chunk(2, 1);
            self.out_norm.forward(h) * (&parts[0] + 1.0) + &parts[1]
        } else {
            self.out_norm.forward(&(h + emb))
        }
    }
}
