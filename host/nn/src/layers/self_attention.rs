//! Self attention with queries, keys and values in one matrix.

use tch::Tensor;

use super::{AttendOptions, Linear, LinearConfig, attend, dropout};
use crate::params::Path;

/// Sizes and options of fused self attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfAttentionConfig {
    /// Width of a token.
    pub width: i64,
    /// Number of heads.
    pub num_heads: i64,
    /// A bias on queries, keys and values.
    pub qkv_bias: bool,
    /// Factor of the scores; one over the root of a head's width if not given.
    pub scale: Option<f64>,
    /// Probability of dropping a weight of attention in training.
    pub attention_dropout: f64,
    /// Probability of dropping an output value in training.
    pub dropout: f64,
}

/// Multi-head self attention.
#[derive(Debug)]
pub struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    config: SelfAttentionConfig,
}

impl SelfAttention {
    /// Keys `qkv` and `proj`.
    pub fn new(path: &Path, config: SelfAttentionConfig) -> Self {
        let width = config.width;
        let qkv = LinearConfig { bias: config.qkv_bias, ..LinearConfig::new(width, 3 * width) };
        Self {
            qkv: Linear::new(&path.sub("qkv"), qkv),
            proj: Linear::new(&path.sub("proj"), LinearConfig::new(width, width)),
            config,
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, s, d]`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let SelfAttentionConfig { num_heads, scale, attention_dropout, .. } = self.config;
        // [n, s, 3*d] -> [n, s, 3, k, d/k] -> [3, n, k, s, d/k]
        let qkv = self.qkv.forward(x, train).unflatten(2, [3, num_heads, -1]).permute([2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| qkv.get(i));
        let dropped = if train { attention_dropout } else { 0.0 };
        let out = attend(&q, &k, &v, AttendOptions { mask: None, dropout: dropped, scale });
        dropout(self.proj.forward(&out.transpose(1, 2).flatten(2, 3), train), self.config.dropout, train)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close};
    use tch::{Device, Kind};

    #[test]
    fn the_scale_can_be_chosen() {
        for (scale, factor) in [(None, 0.5), (Some(0.3), 0.3)] {
            let config = SelfAttentionConfig {
                width: 8,
                num_heads: 2,
                qkv_bias: true,
                scale,
                attention_dropout: 0.0,
                dropout: 0.0,
            };
            let attention = SelfAttention::new(&Params::new(Device::Cpu, 1).root(), config);
            let x = Tensor::randn([1, 5, 8], F32);
            let qkv = attention.qkv.forward(&x, false).view([5, 3, 2, 4]);
            let heads = (0..2).map(|head| {
                let [q, k, v] = [0, 1, 2].map(|i| qkv.select(1, i).select(1, head));
                (q.matmul(&k.transpose(0, 1)) * factor).softmax(-1, Kind::Float).matmul(&v)
            });
            let want = attention.proj.forward(&Tensor::cat(&heads.collect::<Vec<_>>(), 1).unsqueeze(0), false);
            close(&attention.forward(&x, true), &want, 1e-5);
        }
    }
}
