//! Attention of the pixels of an image to one another, as the first diffusion UNets had it.

use tch::Tensor;

use crate::layers::{AttendOptions, Conv, ConvConfig, GroupNorm, attend};
use crate::params::Path;

/// In which order queries, keys and values lie among the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvOrder {
    /// Head by head, each with its queries, keys and values.
    HeadsFirst,
    /// All queries, all keys, all values, each head by head.
    QkvFirst,
}

/// Norm, queries, keys and values, attention, projection (zero at the start), residual.
#[derive(Debug)]
pub struct AttentionBlock {
    norm: GroupNorm,
    qkv: Conv,
    proj_out: Conv,
    num_heads: i64,
    order: QkvOrder,
}

impl AttentionBlock {
    /// Keys `norm`, `qkv`, `proj_out`.
    pub fn new(path: &Path, channels: i64, num_heads: i64, order: QkvOrder) -> Self {
        let proj_out = ConvConfig { zeroed: true, ..ConvConfig::same(channels, channels, &[1]) };
        Self {
            norm: GroupNorm::in_f32(&path.sub("norm"), channels),
            qkv: Conv::new(&path.sub("qkv"), ConvConfig::same(channels, 3 * channels, &[1])),
            proj_out: Conv::new(&path.sub("proj_out"), proj_out),
            num_heads,
            order,
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, ...]`, one to three axes of positions
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let line = x.flatten(2, -1); // [n, c, h, w] -> [n, c, h*w]
        let out = qkv_attention(&self.qkv.forward(&self.norm.forward(&line)), self.num_heads, self.order);
        x + self.proj_out.forward(&out).view_as(x)
    }
}

/// Attention of positions to one another.
///
/// # Shapes
/// - `qkv`: `[n, 3*c, s]`
/// - result: `[n, c, s]`
pub(super) fn qkv_attention(qkv: &Tensor, num_heads: i64, order: QkvOrder) -> Tensor {
    let (parts, axis) = match order {
        QkvOrder::HeadsFirst => (qkv.unflatten(1, [num_heads, 3, -1]), 2),
        QkvOrder::QkvFirst => (qkv.unflatten(1, [3, num_heads, -1]), 1),
    };
    let part = |i| parts.select(axis, i).transpose(2, 3); // [n, k, c/k, s] -> [n, k, s, c/k]
    let [q, k, v] = [0, 1, 2].map(part);
    let out = attend(&q, &k, &v, AttendOptions::default());
    out.transpose(2, 3).flatten(1, 2) // [n, k, s, c/k] -> [n, c, s]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::{Device, Kind};

    #[test]
    fn starts_as_the_identity() {
        let block = AttentionBlock::new(&Params::new(Device::Cpu, 1).root(), 32, 2, QkvOrder::HeadsFirst);
        let x = Tensor::randn([2, 32, 3, 4], F32);
        assert!(block.forward(&x).equal(&x));
    }

    #[test]
    fn one_head_is_the_same_in_both_orders() {
        let build = |order| {
            let params = Params::new(Device::Cpu, 1);
            let block = AttentionBlock::new(&params.root(), 32, 1, order);
            randomise(&params);
            block
        };
        let x = Tensor::randn([2, 32, 3, 4], F32);
        close(&build(QkvOrder::HeadsFirst).forward(&x), &build(QkvOrder::QkvFirst).forward(&x), 0.0);
    }

    #[test]
    fn channels_go_to_heads_in_their_order() {
        // Two heads of one channel: (heads, qkv) is q0 k0 v0 q1 k1 v1, (qkv, heads) is q0 q1 k0 k1 v0 v1.
        let qkv = Tensor::randn([1, 6, 5], F32);
        let written_out = |q: i64, k: i64, v: i64| {
            let [q, k, v] = [q, k, v].map(|i| qkv.get(0).get(i));
            q.outer(&k).softmax(-1, Kind::Float).mv(&v)
        };
        let want = |heads: [[i64; 3]; 2]| Tensor::stack(&heads.map(|[q, k, v]| written_out(q, k, v)), 0).unsqueeze(0);
        close(&qkv_attention(&qkv, 2, QkvOrder::HeadsFirst), &want([[0, 1, 2], [3, 4, 5]]), 1e-6);
        close(&qkv_attention(&qkv, 2, QkvOrder::QkvFirst), &want([[0, 2, 4], [1, 3, 5]]), 1e-6);
    }
}
