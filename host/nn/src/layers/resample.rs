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

/// Doubling, then a convolution if it was asked for.
#[derive(Debug)]
pub struct Upsample {
    conv: Option<Conv>,
}

impl Upsample {
    /// Key `conv` with `use_conv`; without it the channels stay as they are.
    pub fn new(path: &Path, channels: i64, out_channels: i64, use_conv: bool, dims: usize) -> Self {
        let conv =
            use_conv.then(|| Conv::new(&path.sub("conv"), ConvConfig::same(channels, out_channels, &vec![3; dims])));
        Self { conv }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]` (or one or three axes of positions)
    /// - result: `[n, c_out, 2*h, 2*w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let doubled = upsample_nearest(x);
        self.conv.as_ref().map_or_else(|| doubled.shallow_clone(), |conv| conv.forward(&doubled))
    }
}

/// A strided convolution with padding 1 on both sides, or means of 2x2 neighbours.
#[derive(Debug)]
pub struct Downsample {
    op: Option<Conv>,
}

impl Downsample {
    /// Key `op` with `use_conv`.
    ///
    /// # Panics
    /// When the number of channels should change without a convolution.
    pub fn new(path: &Path, channels: i64, out_channels: i64, use_conv: bool, dims: usize) -> Self {
        assert!(use_conv || channels == out_channels, "`{}`: means keep the number of channels", path.prefix());
        let stride = if dims == 3 { vec![1, 2, 2] } else { vec![2; dims] };
        let config = ConvConfig { stride, ..ConvConfig::same(channels, out_channels, &vec![3; dims]) };
        Self { op: use_conv.then(|| Conv::new(&path.sub("op"), config)) }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]` (or one or three axes of positions)
    /// - result: `[n, c_out, ceil(h/2), ceil(w/2)]`; floor without the convolution
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.op.as_ref().map_or_else(|| downsample_mean(x), |op| op.forward(x))
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
    fn means_and_neighbours_are_exact() {
        let x = Tensor::arange(4, (Kind::Float, Device::Cpu)).view([1, 1, 2, 2]);
        assert_eq!(downsample_mean(&x).double_value(&[0, 0, 0, 0]), 1.5);
        let up = Vec::<f32>::try_from(upsample_nearest(&x).view([16])).unwrap();
        assert_eq!(up[..8], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    }
}
