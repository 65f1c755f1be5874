//! The last convolution of a video decoder.

use tch::Tensor;

use crate::layers::{Conv, ConvConfig};
use crate::params::Path;
use crate::shape::{merge_time, split_time};

/// A convolution over pixels, then one over frames.
#[derive(Debug)]
pub struct TimeConv {
    conv: Conv,
    time_mix_conv: Conv,
}

impl TimeConv {
    /// Keys of the convolution over pixels at `path` itself, and `time_mix_conv`, whose `video_kernel` is time, rows,
    /// columns.
    pub fn new(path: &Path, conv: ConvConfig, video_kernel: [i64; 3]) -> Self {
        let over_time = ConvConfig::same(conv.outputs, conv.outputs, &video_kernel);
        Self { conv: Conv::new(path, conv), time_mix_conv: Conv::new(&path.sub("time_mix_conv"), over_time) }
    }

    /// The convolution over frames.
    pub fn time_mix_conv(&self) -> &Conv {
        &self.time_mix_conv
    }

    /// # Shapes
    /// - `x`: `[b*t, c, h, w]`; without `t` rows are images of their own
    /// - result: `[b*t, c_out, h, w]`
    pub fn forward(&self, x: &Tensor, t: Option<i64>) -> Tensor {
        let images = self.conv.forward(x);
        match t {
            Some(t) => merge_time(&self.time_mix_conv.forward(&split_time(&images, t))),
            None => images,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, keys};
    use tch::Device;

    #[test]
    fn frames_meet_their_neighbours_only() {
        let params = Params::new(Device::Cpu, 1);
        let conv = TimeConv::new(&params.root(), ConvConfig::same(6, 4, &[3, 3]), [3, 1, 1]);
        assert_eq!(keys(&params)[2], "time_mix_conv.weight [4, 4, 3, 1, 1]");
        let x = Tensor::randn([6, 6, 4, 4], F32);
        let y = conv.forward(&x, Some(3));
        // The second clip does not see the first.
        close(&y.narrow(0, 3, 3), &conv.forward(&x.narrow(0, 3, 3), Some(3)), 1e-5);
        let other = x.copy();
        let _ = other.select(0, 0).g_add_scalar_(1.0);
        let changed = conv.forward(&other, Some(3));
        assert!(changed.select(0, 2).equal(&y.select(0, 2)) && !changed.select(0, 1).equal(&y.select(0, 1)));
    }
}
