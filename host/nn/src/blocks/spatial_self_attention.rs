//! Attention of the pixels of an image to one another, with one head and convolutions of kernel 1.

use tch::Tensor;

use crate::layers::{AttendOptions, Conv, ConvConfig, GroupNorm, attend};
use crate::params::Path;
use crate::shape::{to_pixels, to_tokens};

/// Norm, queries, keys and values, attention, projection, residual.
#[derive(Debug)]
pub struct SpatialSelfAttention {
    norm: GroupNorm,
    q: Conv,
    k: Conv,
    v: Conv,
    proj_out: Conv,
}

impl SpatialSelfAttention {
    /// Keys `norm`, `q`, `k`, `v`, `proj_out`.
    pub fn new(path: &Path, channels: i64) -> Self {
        let conv = |name: &str| Conv::new(&path.sub(name), ConvConfig::same(channels, channels, &[1, 1]));
        Self {
            norm: GroupNorm::of_attention(&path.sub("norm"), channels),
            q: conv("q"),
            k: conv("k"),
            v: conv("v"),
            proj_out: conv("proj_out"),
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (_, _, h, w) = x.size4().unwrap_or_else(|_| panic!("attention wants [n, c, h, w], got {:?}", x.size()));
        let normed = self.norm.forward(x);
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|conv| to_tokens(&conv.forward(&normed)).unsqueeze(1));
        let out = attend(&q, &k, &v, AttendOptions::default());
        x + self.proj_out.forward(&to_pixels(&out.squeeze_dim(1), h, w))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close};
    use tch::{Device, Kind};

    #[test]
    fn is_softmax_over_pixels() {
        let block = SpatialSelfAttention::new(&Params::new(Device::Cpu, 1).root(), 32);
        let x = Tensor::randn([2, 32, 3, 2], F32);
        let normed = block.norm.forward(&x);
        let [q, k, v] = [&block.q, &block.k, &block.v].map(|conv| conv.forward(&normed).flatten(2, 3)); // [n, c, s]
        let weights = (q.transpose(1, 2).matmul(&k) / 32f64.sqrt()).softmax(-1, Kind::Float);
        let out = v.matmul(&weights.transpose(1, 2)).view_as(&x);
        close(&block.forward(&x), &(&x + block.proj_out.forward(&out)), 1e-5);
    }
}
