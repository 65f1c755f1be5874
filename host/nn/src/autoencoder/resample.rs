//! Halving and doubling of rows and columns, as autoencoders do it.

use tch::Tensor;

use crate::layers::{Conv, ConvConfig, downsample_mean, upsample_nearest};
use crate::params::Path;

/// Half the rows and columns: a strided convolution over pixels padded on the right and below only, or means.
#[derive(Debug)]
pub struct HalvingLayer {
    conv: Option<Conv>,
}

impl HalvingLayer {
    /// Key `conv` with `with_conv`.
    pub fn new(path: &Path, channels: i64, with_conv: bool) -> Self {
        let config =
            ConvConfig { stride: vec![2, 2], padding: vec![0, 0], ..ConvConfig::same(channels, channels, &[3, 3]) };
        Self { conv: with_conv.then(|| Conv::new(&path.sub("conv"), config)) }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]`
    /// - result: `[n, c, h/2, w/2]`; an odd last row or column has no part in means
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match &self.conv {
            Some(conv) => conv.forward(&x.constant_pad_nd([0, 1, 0, 1])),
            None => downsample_mean(x),
        }
    }
}

/// Twice the rows and columns by nearest neighbours, then a convolution if it was asked for.
#[derive(Debug)]
pub struct DoublingLayer {
    conv: Option<Conv>,
}

impl DoublingLayer {
    /// Key `conv` with `with_conv`.
    pub fn new(path: &Path, channels: i64, with_conv: bool) -> Self {
        let config = ConvConfig::same(channels, channels, &[3, 3]);
        Self { conv: with_conv.then(|| Conv::new(&path.sub("conv"), config)) }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]`
    /// - result: `[n, c, 2*h, 2*w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let doubled = upsample_nearest(x);
        self.conv.as_ref().map_or_else(|| doubled.shallow_clone(), |conv| conv.forward(&doubled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close};
    use tch::Device;

    #[test]
    fn halving_pads_on_the_right_and_below() {
        let params = Params::new(Device::Cpu, 1);
        let halving = HalvingLayer::new(&params.root(), 2, true);
        let x = Tensor::randn([1, 2, 8, 6], F32);
        let y = halving.forward(&x);
        assert_eq!(y.size(), [1, 2, 4, 3]);
        // The first window starts at the first pixel, so it is a plain convolution of the first 3x3 pixels.
        let entries = params.entries();
        let (weight, bias) = (&entries[0].tensor, &entries[1].tensor);
        let first = x.narrow(2, 0, 3).narrow(3, 0, 3).conv2d(weight, Some(bias), 1, 0, 1, 1);
        close(&y.narrow(2, 0, 1).narrow(3, 0, 1), &first, 1e-5);
    }

    #[test]
    fn sizes_halve_and_double_with_and_without_a_convolution() {
        for with_conv in [false, true] {
            let path = Params::new(Device::Cpu, 1).root();
            let x = Tensor::randn([2, 4, 7, 6], F32);
            assert_eq!(HalvingLayer::new(&path.sub("down"), 4, with_conv).forward(&x).size(), [2, 4, 3, 3]);
            assert_eq!(DoublingLayer::new(&path.sub("up"), 4, with_conv).forward(&x).size(), [2, 4, 14, 12]);
        }
    }
}
