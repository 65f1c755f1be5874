//! Attention in time linear in the number of pixels.

use tch::{Kind, Tensor};

use super::{Conv, ConvConfig};
use crate::params::{Init, Path};
use crate::shape::{to_pixels, to_tokens};

/// Keys are normalised over the pixels, and queries meet the sum of keys and values instead of every key (Shen et al.
/// 2018, without the normalisation of queries).
#[derive(Debug)]
pub struct LinearAttention {
    to_qkv: Tensor,
    to_out: Conv,
    num_heads: i64,
}

impl LinearAttention {
    /// Keys `to_qkv` (no bias) and `to_out`.
    pub fn new(path: &Path, channels: i64, num_heads: i64, head_width: i64) -> Self {
        let hidden = num_heads * head_width;
        Self {
            to_qkv: path.sub("to_qkv").param("weight", &[3 * hidden, channels, 1, 1], Init::fan_in(channels)),
            to_out: Conv::new(&path.sub("to_out"), ConvConfig::same(hidden, channels, &[1, 1])),
            num_heads,
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (_, _, h, w) = x.size4().unwrap_or_else(|_| panic!("attention wants [n, c, h, w], got {:?}", x.size()));
        let qkv = to_tokens(x).linear::<&Tensor>(&self.to_qkv.flatten(1, 3), None);
        // [n, s, 3*d] -> [n, s, 3, k, d/k] -> [3, n, k, s, d/k]
        let qkv = qkv.unflatten(2, [3, self.num_heads, -1]).permute([2, 0, 3, 1, 4]);
        let k = qkv.get(1).softmax(2, None::<Kind>);
        let sums = k.transpose(2, 3).matmul(&qkv.get(2)); // [n, k, d/k, d/k]
        let out = qkv.get(0).matmul(&sums).transpose(1, 2).flatten(2, 3); // [n, k, s, d/k] -> [n, s, d]
        self.to_out.forward(&to_pixels(&out, h, w))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close};
    use tch::Device;

    #[test]
    fn queries_meet_the_weighted_sum_of_keys_and_values() {
        let attention = LinearAttention::new(&Params::new(Device::Cpu, 1).root(), 12, 2, 8);
        let x = Tensor::randn([1, 12, 2, 3], F32);
        let qkv = x.conv2d::<&Tensor>(&attention.to_qkv, None, [1, 1], [0, 0], [1, 1], 1).view([3, 2, 8, 6]);
        let heads = (0..2).map(|head| {
            let [q, k, v] = [0, 1, 2].map(|i| qkv.get(i).get(head)); // [d, s]
            let weights = k.softmax(1, Kind::Float);
            weights.matmul(&v.transpose(0, 1)).transpose(0, 1).matmul(&q)
        });
        let out = Tensor::cat(&heads.collect::<Vec<_>>(), 0).view([1, 16, 2, 3]);
        close(&attention.forward(&x), &attention.to_out.forward(&out), 1e-5);
    }
}
