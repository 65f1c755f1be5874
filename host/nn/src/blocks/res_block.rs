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
        let skip =
            (channels != out_channels).then(|| Conv::new(&path.sub("skip_connection"), same(channels, &skip_kernel)));
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
            (Some(linear), Some(emb)) => self.conditioned(&h, &linear.forward(&emb.silu(), train)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, keys, randomise};
    use tch::Device;

    fn config(channels: i64, out_channels: i64) -> ResBlockConfig {
        ResBlockConfig {
            channels,
            out_channels,
            emb_channels: Some(24),
            dropout: 0.0,
            use_conv: false,
            use_scale_shift_norm: false,
            kernel: vec![3, 3],
            resample: Resample::Keep,
            emb_per_frame: false,
        }
    }

    #[test]
    fn starts_as_its_skip_connection() {
        let block = ResBlock::new(&Params::new(Device::Cpu, 1).root(), config(64, 64));
        let (x, emb) = (Tensor::randn([2, 64, 4, 6], F32), Tensor::randn([2, 24], F32));
        assert!(block.forward(&x, Some(&emb), true).equal(&x));
    }

    #[test]
    fn keys_and_shapes_follow_the_options() {
        let params = Params::meta();
        let full = ResBlockConfig { use_conv: true, use_scale_shift_norm: true, ..config(32, 64) };
        ResBlock::new(&params.root(), full);
        let keys = keys(&params);
        assert!(keys.contains(&"emb_layers.1.weight [128, 24]".to_owned()), "{keys:?}");
        assert!(keys.contains(&"skip_connection.weight [64, 32, 3, 3]".to_owned()), "{keys:?}");
        assert_eq!(keys[0], "in_layers.0.weight [32]");
        assert_eq!(keys[keys.len() - 3], "out_layers.3.bias [64]");
    }

    #[test]
    fn resampling_changes_branch_and_skip_connection() {
        for (resample, size) in [(Resample::Up, [8, 12]), (Resample::Down, [2, 3])] {
            let block =
                ResBlock::new(&Params::new(Device::Cpu, 1).root(), ResBlockConfig { resample, ..config(32, 64) });
            let y = block.forward(&Tensor::randn([2, 32, 4, 6], F32), Some(&Tensor::randn([2, 24], F32)), true);
            assert_eq!(y.size(), [2, 64, size[0], size[1]]);
        }
    }

    #[test]
    fn an_embedding_for_each_frame_reaches_its_frame() {
        let block = |emb_per_frame| {
            let params = Params::new(Device::Cpu, 1);
            let block = ResBlock::new(
                &params.root(),
                ResBlockConfig { kernel: vec![3, 1, 1], emb_per_frame, ..config(64, 64) },
            );
            randomise(&params);
            block
        };
        let (x, emb) = (Tensor::randn([2, 64, 3, 4, 4], F32), Tensor::randn([2, 24], F32));
        let same = emb.unsqueeze(1).repeat([1, 3, 1]);
        let want = block(false).forward(&x, Some(&emb), true);
        close(&block(true).forward(&x, Some(&same), true), &want, 1e-5);
        let other = same.copy();
        let _ = other.select(1, 2).g_add_scalar_(1.0);
        let changed = block(true).forward(&x, Some(&other), true) - want;
        let by_frame = changed.abs().amax([0, 1, 3, 4], false);
        assert!(by_frame.double_value(&[2]) > by_frame.double_value(&[0]));
    }

    #[test]
    fn scale_and_shift_follow_the_norm() {
        let params = Params::new(Device::Cpu, 1);
        let block = ResBlock::new(&params.root(), ResBlockConfig { use_scale_shift_norm: true, ..config(64, 64) });
        randomise(&params);
        let (h, emb) = (Tensor::randn([2, 64, 3, 3], F32), Tensor::randn([2, 128], F32));
        let (scale, shift) = (emb.narrow(1, 0, 64), emb.narrow(1, 64, 64));
        let want = block.out_norm.forward(&h) * (append_axes(&scale, 4) + 1.0) + append_axes(&shift, 4);
        close(&block.conditioned(&h, &emb), &want, 1e-6);
    }
}
