//! Sinusoidal embedding of scalars.

use anneal_torch::place::{count_to, zeros_at};
use tch::{Kind, Tensor};

/// `[cos(x f_i) | sin(x f_i)]` with `f_i = max_period^(-i/half)`, `half = dim/2`, and a zero appended when `dim` is odd.
///
/// # Shapes
/// - `x`: `[n]`, any kind
/// - result: `[n, dim]` f32
pub fn timestep_embedding(x: &Tensor, dim: i64, max_period: f64) -> Tensor {
    let half = dim / 2;
    let steps = count_to(half, x);
    let frequencies = (steps * (-max_period.ln() / half as f64)).exp();
    let angles = x.to_kind(Kind::Float).unsqueeze(1) * frequencies.unsqueeze(0); // [n] -> [n, half]
    let mut parts = vec![angles.cos(), angles.sin()];
    if dim % 2 == 1 {
        parts.push(zeros_at(&[x.size()[0], 1], x));
    }
    Tensor::cat(&parts, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dim: i64, want: &[f32]) {
        let got =
            Vec::<f32>::try_from(timestep_embedding(&Tensor::from_slice(&[1i64]), dim, 10_000.0).view([dim])).unwrap();
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn equals_the_references_numbers() {
        check(6, &[0.540302, 0.998923, 0.999998, 0.841471, 0.046399, 0.002154]);
        check(5, &[0.540302, 0.999950, 0.841471, 0.010000, 0.0]);
    }
}
