//! The linear layer.

use tch::Tensor;

use crate::lora::Lora;
use crate::params::{Init, Path};

/// Sizes of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearConfig {
    /// Width of the input.
    pub inputs: i64,
    /// Width of the output.
    pub outputs: i64,
    /// Whether a bias is added.
    pub bias: bool,
    /// Start at zero, so that a residual branch starts as nothing.
    pub zeroed: bool,
}

impl LinearConfig {
    /// With a bias, and PyTorch's start.
    pub fn new(inputs: i64, outputs: i64) -> Self {
        Self { inputs, outputs, bias: true, zeroed: false }
    }
}

/// `x W^T + b`, and what an adapter adds.
#[derive(Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Tensor,
    /// `[outputs]`.
    pub bias: Option<Tensor>,
    /// The adapter, if the layer has one.
    pub lora: Option<Lora>,
}

impl Linear {
    /// Adds `weight` and `bias` at `path`, and `lora_A.weight` and `lora_B.weight` where adapters are wanted.
    pub fn new(path: &Path, config: LinearConfig) -> Self {
        let init = if config.zeroed { Init::Const(0.0) } else { Init::fan_in(config.inputs) };
        let weight = path.param("weight", &[config.outputs, config.inputs], init);
        let bias = config.bias.then(|| path.param("bias", &[config.outputs], init));
        let lora = path.lora(config.inputs, config.outputs);
        Self { weight, bias, lora }
    }

    /// `train` is whether an adapter's dropout is on.
    ///
    /// # Shapes
    /// - `x`: `[..., inputs]`
    /// - result: `[..., outputs]`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.adapted(x.linear(&self.weight, self.bias.as_ref()), x, train)
    }

    /// Without the bias.
    ///
    /// # Shapes
    /// As [`Linear::forward`].
    pub fn multiply(&self, x: &Tensor, train: bool) -> Tensor {
        self.adapted(x.linear::<&Tensor>(&self.weight, None), x, train)
    }

    /// What the layer gives for `x`, if its weights alone give `y`.
    pub(super) fn adapted(&self, y: Tensor, x: &Tensor, train: bool) -> Tensor {
        match &self.lora {
            Some(lora) => y + lora.forward(x, train),
            None => y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::{Device, Kind};

    #[test]
    fn starts_in_pytorchs_bounds_or_at_zero() {
        let params = Params::new(Device::Cpu, 1);
        let linear = Linear::new(&params.root().sub("a"), LinearConfig::new(64, 50));
        let largest = |t: &Tensor| t.abs().max().double_value(&[]);
        assert!((0.12..0.125).contains(&largest(&linear.weight)), "{}", largest(&linear.weight));
        assert!((0.1..0.125).contains(&largest(linear.bias.as_ref().unwrap())));
        let config = LinearConfig { bias: false, zeroed: true, ..LinearConfig::new(64, 50) };
        let zeroed = Linear::new(&params.root().sub("b"), config);
        assert!(zeroed.bias.is_none() && largest(&zeroed.weight) == 0.0);
    }

    #[test]
    fn multiplies_and_adds() {
        let linear = Linear {
            weight: Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]),
            bias: Some(Tensor::from_slice(&[10f32, 20.0])),
            lora: None,
        };
        let y = linear.forward(&Tensor::ones([1, 3], (Kind::Float, Device::Cpu)), false);
        assert_eq!(Vec::<f32>::try_from(y.view([2])).unwrap(), [16.0, 35.0]);
    }
}
