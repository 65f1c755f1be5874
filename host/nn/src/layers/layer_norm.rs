//! Normalisation of a token over its width.

use tch::Tensor;

use crate::params::{Init, Path};

/// Layer normalisation, eps 1e-5.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Starts as plain normalisation.
    pub fn new(path: &Path, width: i64) -> Self {
        Self {
            weight: path.param("weight", &[width], Init::Const(1.0)),
            bias: path.param("bias", &[width], Init::Const(0.0)),
        }
    }

    /// # Shapes
    /// - `x`, result: `[..., width]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), 1e-5, true)
    }

    /// Scale and shift.
    pub fn params(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::Device;

    #[test]
    fn a_token_has_mean_zero_and_variance_one() {
        let norm = LayerNorm::new(&Params::new(Device::Cpu, 1).root(), 4);
        let y = norm.forward(&Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([1, 4]));
        let y = Vec::<f32>::try_from(y.view([4])).unwrap();
        // (x - 2.5) / sqrt(1.25 + 1e-5)
        for (got, want) in y.iter().zip([-1.341_635_4f32, -0.447_211_8, 0.447_211_8, 1.341_635_4]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}
