//! Attention of the pixels of an image to one another, with one head.

use tch::Tensor;

use crate::layers::{AttendOptions, Conv, ConvConfig, GroupNorm, attend};
use crate::params::Path;
use crate::shape::{to_pixels, to_tokens};

/// Norm, attention over all pixels, projection; plus the skip connection.
#[derive(Debug)]
pub struct AttnBlock {
    norm: GroupNorm,
    q: Conv,
    k: Conv,
    v: Conv,
    proj_out: Conv,
}

impl AttnBlock {
    /// Keys `norm`, `q`, `k`, `v`, `proj_out`.
    pub fn new(path: &Path, channels: i64) -> Self {
        let projection = |name: &str| Conv::new(&path.sub(name), ConvConfig::same(channels, channels, &[1, 1]));
        Self {
            norm: GroupNorm::of_attention(&path.sub("norm"), channels),
            q: projection("q"),
            k: projection("k"),
            v: projection("v"),
            proj_out: projection("proj_out"),
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x + self.project(&self.attended(x), x)
    }

    /// What each pixel gathers from the others, before projection.
    ///
    /// # Shapes
    /// - `x`: `[n, c, h, w]`
    /// - result: `[n, h*w, c]`
    pub(super) fn attended(&self, x: &Tensor) -> Tensor {
        let normed = self.norm.forward(x);
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|conv| to_tokens(&conv.forward(&normed)).unsqueeze(1));
        attend(&q, &k, &v, AttendOptions::default()).squeeze_dim(1)
    }

    /// # Shapes
    /// - `tokens`: `[n, h*w, c]`
    /// - `like`, result: `[n, c, h, w]`
    pub(super) fn project(&self, tokens: &Tensor, like: &Tensor) -> Tensor {
        let size = like.size();
        self.proj_out.forward(&to_pixels(tokens, size[2], size[3]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::{Device, Kind};

    #[test]
    fn softmax_attention_written_out() {
        let params = Params::new(Device::Cpu, 1);
        let block = AttnBlock::new(&params.root(), 32);
        randomise(&params);
        let x = Tensor::randn([2, 32, 3, 4], F32);
        let normed = block.norm.forward(&x);
        let [q, k, v] = [&block.q, &block.k, &block.v].map(|conv| conv.forward(&normed).flatten(2, 3));
        let weights = (q.transpose(1, 2).matmul(&k) / 32f64.sqrt()).softmax(-1, Kind::Float); // [n, h*w, h*w]
        let attended = v.matmul(&weights.transpose(1, 2)).unflatten(2, [3, 4]);
        close(&block.forward(&x), &(&x + block.proj_out.forward(&attended)), 1e-5);
    }
}
