//! Latents from a table of codes: the nearest one at each position, with gradients as if nothing had been rounded.

mod ema;
mod gumbel;
mod projected;
mod vector;

pub use ema::{EmaVectorQuantizer, EmaVectorQuantizerConfig};
pub use gumbel::{GumbelQuantizer, GumbelQuantizerConfig, gumbel_of_normal};
pub use projected::{ProjectedQuantizer, ProjectedQuantizerConfig};
pub use vector::{VectorQuantizer, VectorQuantizerConfig};

use tch::{Kind, Tensor};

/// The name of a quantizer's loss where a config gives no other.
fn vq() -> String {
    "loss/vq".to_owned()
}

/// The row of `codes` nearest to each row of `x`.
///
/// # Shapes
/// - `x`: `[m, d]`
/// - `codes`: `[codes, d]`
/// - result: `[m]` int64
fn nearest(x: &Tensor, codes: &Tensor) -> Tensor {
    let (x, codes) = (x.detach(), codes.detach());
    // |x - e|^2 = |x|^2 + |e|^2 - 2 x.e; the first is the same for all codes but is added, so that ties among rounded
    // distances fall as in the reference.
    let square = |x: &Tensor, keep| x.square().sum_dim_intlist([1].as_slice(), keep, None::<Kind>);
    let distance = square(&x, true) + square(&codes, false) - x.matmul(&codes.transpose(0, 1)) * 2.0;
    distance.argmin(1, false)
}

/// `rounded` with the gradient of `x`.
fn straight_through(x: &Tensor, rounded: &Tensor) -> Tensor {
    x + (rounded - x).detach()
}

/// How many codes are in use, in the sense of the entropy of their frequencies, and how many occur at all: scalars.
///
/// # Shapes
/// - `indices`: int64 of any shape
fn usage(indices: &Tensor, num_codes: i64) -> (Tensor, Tensor) {
    let one_hot = indices.flatten(0, -1).one_hot(num_codes).to_kind(Kind::Float);
    let frequency = one_hot.mean_dim([0].as_slice(), false, Kind::Float);
    let entropy = -(&frequency * (&frequency + 1e-10).log()).sum(Kind::Float);
    (entropy.exp(), frequency.gt(0.0).sum(Kind::Float))
}

/// `[n, c, h, w] -> [n, h, w, c]`.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous()
}

/// `[n, h, w, c] -> [n, c, h, w]`.
fn channels_first(x: &Tensor) -> Tensor {
    x.permute([0, 3, 1, 2]).contiguous()
}

#[cfg(test)]
mod testing;
