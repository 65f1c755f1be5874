//! Halving and doubling of rows and columns.

use tch::Tensor;

use super::{Conv, ConvConfig};
use crate::params::Path;

/// Nearest-neighbour doubling of rows and columns (of the one axis in one dimension); frames keep their number.
///
/// # Shapes
/// - `x`: `[n, c, w]`, `[n, c, h, w]` or `[n, c, t, h, w]`
/// - result: the same, `h` and `w` twice as large
pub fn upsample_nearest(x: &Tensor) -> Tensor {
    match x.size()[..] {
        [_, _, w] => x.upsample_nearest1d([2 * w], Some(2.0)),
        [_, _, h, w] => x.upsample_nearest2d([2 * h, 2 * w], Some(2.0), Some(2.0)),
        [_, _, t, h, w] => x.upsample_nearest3d([t, 2 * h, 2 * w], None, None, None),
        ref other => panic!("upsample_nearest: shape {other:?} has no one, two or three axes of positions"),
    }
}

/// Nearest neighbours, each axis of positions as many times as long as `factors` says.
///
/// # Shapes
/// - `x`: `[n, c, ...]`, one to three axes of positions
/// - result: the same with longer positions
fn upsample_by(x: &Tensor, factors: &[i64]) -> Tensor {
    let size: Vec<i64> = x.size()[2..].iter().zip(factors).map(|(size, factor)| size * factor).collect();
    match size[..] {
        [_] => x.upsample_nearest1d(&size[..], None),
        [_, _] => x.upsample_nearest2d(&size[..], None, None),
        _ => x.upsample_nearest3d(&size[..], None, None, None),
    }
}

/// Means of 2x2 neighbours; an odd last row or column is dropped, frames keep their number.
///
/// # Shapes
/// - `x`: `[n, c, w]`, `[n, c, h, w]` or `[n, c, t, h, w]`
/// - result: the same, `h` and `w` half as large
pub fn downsample_mean(x: &Tensor) -> Tensor {
    match x.dim() {
        3 => x.avg_pool1d([2], [2], [0], false, true),
        4 => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
        5 => x.avg_pool3d([1, 2, 2], [1, 2, 2], [0, 0, 0], false, true, None),
        other => panic!("downsample_mean: {other} axes are not one, two or three axes of positions"),
    }
}

/// Sizes and options of an upsampling layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpsampleConfig {
    /// Channels of the input.
    pub channels: i64,
    /// Channels of the convolution's output.
    pub out_channels: i64,
    /// A convolution behind the repetition.
    pub use_conv: bool,
    /// Axes of positions.
    pub dims: usize,
    /// Kernel of the convolution, the same along all axes.
    pub kernel: i64,
    /// Zeros that it adds on both sides.
    pub padding: i64,
    /// How often a position is repeated along an axis.
    pub factor: i64,
    /// With three axes, the first too is made longer.
    pub over_time: bool,
}

/// Repetition of positions, then a convolution if it was asked for.
#[derive(Debug)]
pub struct Upsample {
    conv: Option<Conv>,
    factors: Vec<i64>,
}

impl Upsample {
    /// Doubles rows and columns, with a convolution of kernel 3 if it was asked for; see [`Upsample::with`].
    pub fn new(path: &Path, channels: i64, out_channels: i64, use_conv: bool, dims: usize) -> Self {
        let (kernel, padding, factor, over_time) = (3, 1, 2, false);
        let config = UpsampleConfig { channels, out_channels, use_conv, dims, kernel, padding, factor, over_time };
        Self::with(path, &config)
    }

    /// Key `conv` with `use_conv`; without it the channels stay as they are.
    pub fn with(path: &Path, config: &UpsampleConfig) -> Self {
        let dims = config.dims;
        let conv = ConvConfig {
            padding: vec![config.padding; dims],
            ..ConvConfig::same(config.channels, config.out_channels, &vec![config.kernel; dims])
        };
        let mut factors = vec![config.factor; dims];
        if dims == 3 && !config.over_time {
            factors[0] = 1;
        }
        Self { conv: config.use_conv.then(|| Conv::new(&path.sub("conv"), conv)), factors }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]` (or one or three axes of positions)
    /// - result: `[n, c_out, 2*h, 2*w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let longer = upsample_by(x, &self.factors);
        self.conv.as_ref().map_or_else(|| longer.shallow_clone(), |conv| conv.forward(&longer))
    }
}

/// Sizes and options of a downsampling layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownsampleConfig {
    /// Channels of the input.
    pub channels: i64,
    /// Channels of the output.
    pub out_channels: i64,
    /// A strided convolution of kernel 3 instead of means.
    pub use_conv: bool,
    /// Axes of positions.
    pub dims: usize,
    /// Zeros that the convolution adds on both sides.
    pub padding: i64,
    /// With three axes, the first too is halved.
    pub over_time: bool,
}

/// A strided convolution, or means of 2x2 neighbours.
#[derive(Debug)]
pub struct Downsample {
    op: Option<Conv>,
    over_time: bool,
}

impl Downsample {
    /// Halves rows and columns, a convolution with padding 1; see [`Downsample::with`].
    ///
    /// # Panics
    /// When the number of channels should change without a convolution.
    pub fn new(path: &Path, channels: i64, out_channels: i64, use_conv: bool, dims: usize) -> Self {
        let config = DownsampleConfig { channels, out_channels, use_conv, dims, padding: 1, over_time: false };
        Self::with(path, &config)
    }

    /// Key `op` with `use_conv`.
    ///
    /// # Panics
    /// When the number of channels should change without a convolution.
    pub fn with(path: &Path, config: &DownsampleConfig) -> Self {
        let DownsampleConfig { channels, out_channels, use_conv, dims, padding, over_time } = *config;
        assert!(use_conv || channels == out_channels, "`{}`: means keep the number of channels", path.prefix());
        let stride = if dims == 3 && !over_time { vec![1, 2, 2] } else { vec![2; dims] };
        let conv = ConvConfig {
            stride,
            padding: vec![padding; dims],
            ..ConvConfig::same(channels, out_channels, &vec![3; dims])
        };
        Self { op: use_conv.then(|| Conv::new(&path.sub("op"), conv)), over_time }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]` (or one or three axes of positions)
    /// - result: `[n, c_out, ceil(h/2), ceil(w/2)]`; floor without the convolution
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match &self.op {
            Some(op) => op.forward(x),
            None if self.over_time && x.dim() == 5 => x.avg_pool3d([2, 2, 2], [2, 2, 2], [0, 0, 0], false, true, None),
            None => downsample_mean(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::{Device, Kind};

    #[test]
    fn sizes_double_and_halve() {
        let path = Params::new(Device::Cpu, 1).root();
        let x = Tensor::randn([2, 3, 5, 6], (Kind::Float, Device::Cpu));
        assert_eq!(Upsample::new(&path.sub("up"), 3, 7, true, 2).forward(&x).size(), [2, 7, 10, 12]);
        assert_eq!(Downsample::new(&path.sub("down"), 3, 7, true, 2).forward(&x).size(), [2, 7, 3, 3]);
        assert_eq!(Downsample::new(&path.sub("mean"), 3, 3, false, 2).forward(&x).size(), [2, 3, 2, 3]);
        let video = Tensor::randn([1, 3, 4, 6, 6], (Kind::Float, Device::Cpu));
        assert_eq!(Upsample::new(&path.sub("up3"), 3, 3, false, 3).forward(&video).size(), [1, 3, 4, 12, 12]);
        assert_eq!(Downsample::new(&path.sub("down3"), 3, 5, true, 3).forward(&video).size(), [1, 5, 4, 3, 3]);
        let line = Tensor::randn([1, 3, 8], (Kind::Float, Device::Cpu));
        assert_eq!(upsample_nearest(&line).size(), [1, 3, 16]);
        assert_eq!(downsample_mean(&line).size(), [1, 3, 4]);
    }

    #[test]
    fn time_is_resampled_where_asked_for() {
        let path = Params::new(Device::Cpu, 1).root();
        let x = Tensor::arange(32, (Kind::Float, Device::Cpu)).view([1, 1, 2, 4, 4]);
        let down = |use_conv| DownsampleConfig {
            channels: 1,
            out_channels: 1,
            use_conv,
            dims: 3,
            padding: 1,
            over_time: true,
        };
        assert_eq!(Downsample::with(&path.sub("conv"), &down(true)).forward(&x).size(), [1, 1, 1, 2, 2]);
        let means = Downsample::with(&path.sub("means"), &down(false)).forward(&x);
        // Of 0, 1, 4, 5 and of the same 16 later.
        assert_eq!(means.double_value(&[0, 0, 0, 0, 0]), 10.5);
        let up = UpsampleConfig {
            channels: 1,
            out_channels: 1,
            use_conv: false,
            dims: 3,
            kernel: 3,
            padding: 1,
            factor: 3,
            over_time: true,
        };
        let longer = Upsample::with(&path.sub("up"), &up).forward(&x);
        assert_eq!(longer.size(), [1, 1, 6, 12, 12]);
        assert_eq!(longer.double_value(&[0, 0, 5, 11, 11]), 31.0);
    }

    #[test]
    fn means_and_neighbours_are_exact() {
        let x = Tensor::arange(4, (Kind::Float, Device::Cpu)).view([1, 1, 2, 2]);
        assert_eq!(downsample_mean(&x).double_value(&[0, 0, 0, 0]), 1.5);
        let up = Vec::<f32>::try_from(upsample_nearest(&x).view([16])).unwrap();
        assert_eq!(up[..8], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    }
}
