//! `scalar`: numbers (fps, motion bucket, noise level, angles) as sinusoids.

use plugin_api::tch::prelude::*;

/// Each number becomes `dim` cosines and sines of it, over frequencies from 1 down to `1/max_period`.
#[derive(Config)]
pub struct Settings {
    /// Width of one number's embedding.
    #[config(min = 1)]
    pub dim: i64,
    /// Longest period, in units of the number.
    #[config(default = 10000.0, exclusive_min = 0.0)]
    pub max_period: f64,
}

/// Upstream's `ConcatTimestepEmbedderND`.
pub struct Scalar {
    settings: Settings,
}

impl Embedder<Tensor> for Scalar {
    type Config = Settings;

    fn new(settings: Settings, _: &mut Params) -> Result<Self> {
        Ok(Self { settings })
    }

    /// # Shapes
    /// - input: `[n]` or `[n, k]`, `k` numbers a row
    /// - output: vector `[n, k * dim]`
    fn forward(&self, _: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let numbers = inputs.tensor()?;
        let rows = match numbers.size()[..] {
            [n] if n > 0 => n,
            [n, k] if n > 0 && k > 0 => n,
            _ => return Err(Error::argument(format!("wants [n] or [n, k] numbers, got {:?}", numbers.size()))),
        };
        let embedded = sinusoids(&numbers.flatten(0, -1), self.settings.dim, self.settings.max_period);
        Ok(Outputs::to(Slot::Vector, embedded.reshape([rows, -1])))
    }
}

/// `cos(x * w_i)`, then `sin(x * w_i)`, with `w_i = max_period^(-i/half)`; an odd `dim` ends with a zero.
///
/// # Shapes
/// - `numbers`: `[m]`
/// - result: `[m, dim]`, f32
pub fn sinusoids(numbers: &Tensor, dim: i64, max_period: f64) -> Tensor {
    let half = dim / 2;
    let options = (Kind::Float, numbers.device());
    let frequencies = (Tensor::arange(half, options) * (-max_period.ln() / half.max(1) as f64)).exp();
    let angles = numbers.to_kind(Kind::Float).unsqueeze(1) * frequencies.unsqueeze(0); // [m] -> [m, half]
    let mut parts = vec![angles.cos(), angles.sin()];
    if dim % 2 == 1 {
        parts.push(Tensor::zeros([numbers.size()[0], 1], options));
    }
    Tensor::cat(&parts, 1)
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_number_of_a_row_has_its_own_cosines_and_sines() {
        let fixture = Fixture::<Scalar>::new(json!({ "dim": 4 })).unwrap();
        let numbers = Tensor::from_slice2(&[[0.5_f32, 2.0], [0.0, -1.0], [6.0, 24.0]]);
        let outputs = fixture.train(&[&numbers]).unwrap();
        assert_eq!((outputs[0].0, outputs[0].1.size()), (Some(Slot::Vector), vec![3, 8]));
        let row = |x: f32| [x.cos(), (x * 0.01).cos(), x.sin(), (x * 0.01).sin()];
        let expected = [row(0.5), row(2.0), row(0.0), row(-1.0), row(6.0), row(24.0)].concat();
        assert!(outputs[0].1.flatten(0, -1).allclose(&Tensor::from_slice(&expected), 1e-5, 1e-6, false));
    }

    #[test]
    fn one_number_a_row_and_an_odd_width() {
        let fixture = Fixture::<Scalar>::new(json!({ "dim": 3 })).unwrap();
        let outputs = fixture.sample(&[&Tensor::from_slice(&[1_i64, 2])]).unwrap();
        let expected = Tensor::from_slice2(&[[1_f32.cos(), 1_f32.sin(), 0.0], [2_f32.cos(), 2_f32.sin(), 0.0]]);
        assert!(outputs[0].1.allclose(&expected, 1e-5, 1e-6, false));
        let error =
            fixture.sample(&[&Tensor::zeros([1, 2, 3], (Kind::Float, plugin_api::tch::Device::Cpu))]).unwrap_err();
        assert!(error.message.contains("[1, 2, 3]"), "{error}");
    }
}
