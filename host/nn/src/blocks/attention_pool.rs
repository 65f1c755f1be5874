//! An image to one vector, by attention of its mean to its pixels.

use tch::{Kind, Tensor};

use super::attention_block::{QkvOrder, qkv_attention};
use crate::layers::{Conv, ConvConfig};
use crate::params::{Init, Path};

/// The mean in front of the pixels, positions added, attention, projection; the mean's token is the result.
#[derive(Debug)]
pub struct AttentionPool {
    positional_embedding: Tensor,
    qkv_proj: Conv,
    c_proj: Conv,
    num_heads: i64,
}

impl AttentionPool {
    /// Keys `positional_embedding`, `qkv_proj`, `c_proj`, for images of `side` rows and columns.
    pub fn new(path: &Path, side: i64, channels: i64, head_width: i64, outputs: i64) -> Self {
        let init = Init::Normal { std: 1.0 / (channels as f64).sqrt() };
        Self {
            positional_embedding: path.param("positional_embedding", &[channels, side * side + 1], init),
            qkv_proj: Conv::new(&path.sub("qkv_proj"), ConvConfig::same(channels, 3 * channels, &[1])),
            c_proj: Conv::new(&path.sub("c_proj"), ConvConfig::same(channels, outputs, &[1])),
            num_heads: channels / head_width,
        }
    }

    /// # Shapes
    /// - `x`: `[n, c, h*w]`
    /// - result: `[n, outputs]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mean = x.mean_dim(2, true, None::<Kind>);
        let tokens = Tensor::cat(&[&mean, x], 2) + self.positional_embedding.to_kind(x.kind());
        let out = qkv_attention(&self.qkv_proj.forward(&tokens), self.num_heads, QkvOrder::QkvFirst);
        // The projection works position by position, and the first alone is wanted.
        self.c_proj.forward(&out.narrow(2, 0, 1)).squeeze_dim(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::F32;
    use tch::Device;

    #[test]
    fn positions_matter_only_by_their_embedding() {
        let pool = AttentionPool::new(&Params::new(Device::Cpu, 1).root(), 2, 16, 8, 5);
        let x = Tensor::randn([3, 16, 4], F32);
        let y = pool.forward(&x);
        assert_eq!(y.size(), [3, 5]);
        let turned = x.flip([2]);
        assert!(!pool.forward(&turned).allclose(&y, 1e-5, 1e-6, false));
        let _no_grad = anneal_torch::grad_mode::no_grad();
        let _ = pool.positional_embedding.shallow_clone().zero_();
        assert!(pool.forward(&turned).allclose(&pool.forward(&x), 1e-5, 1e-6, false));
    }
}
