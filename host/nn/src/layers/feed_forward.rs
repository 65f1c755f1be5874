//! The feed-forward layer of a transformer block.

use anneal_torch::activation::geglu;
use tch::Tensor;

use super::{Linear, LinearConfig, dropout};
use crate::params::{Init, Path};

/// Linear, GEGLU (Shazeer 2020), dropout, linear; four times as wide inside.
#[derive(Debug)]
pub struct FeedForward {
    weight_in: Tensor,
    bias_in: Tensor,
    project_out: Linear,
    dropout: f64,
}

impl FeedForward {
    /// Keys `net.0.proj` and `net.2`; `dropout` is the probability of dropping a hidden value in training.
    pub fn new(path: &Path, inputs: i64, outputs: i64, dropout: f64) -> Self {
        let net = path.sub("net");
        let hidden = 4 * inputs;
        let proj = net.sub(0).sub("proj");
        let init = Init::fan_in(inputs);
        Self {
            weight_in: proj.param("weight", &[2 * hidden, inputs], init),
            bias_in: proj.param("bias", &[2 * hidden], init),
            project_out: Linear::new(&net.sub(2), LinearConfig::new(hidden, outputs)),
            dropout,
        }
    }

    /// # Shapes
    /// - `x`: `[..., inputs]`
    /// - result: `[..., outputs]`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        // The bias is left to GEGLU, which reads every hidden value anyway.
        let hidden = x.linear::<&Tensor>(&self.weight_in, None);
        let hidden = geglu(&hidden, &self.bias_in).unwrap_or_else(|error| panic!("{error}"));
        self.project_out.forward(&dropout(hidden, self.dropout, train))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::Device;

    #[test]
    fn the_gate_is_the_second_half() {
        let params = Params::new(Device::Cpu, 1);
        let ff = FeedForward::new(&params.root().sub("ff"), 1, 1, 0.0);
        let entries = params.entries();
        let paths: Vec<&str> = entries.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["ff.net.0.proj.weight", "ff.net.0.proj.bias", "ff.net.2.weight", "ff.net.2.bias"]);
        let _no_grad = anneal_torch::grad_mode::no_grad();
        // Values 3, gates 2, one of four hidden values kept.
        let values: [&[f32]; 4] = [&[3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0], &[0.0; 8], &[1.0, 0.0, 0.0, 0.0], &[0.5]];
        for (param, value) in entries.iter().zip(values) {
            param.tensor.shallow_clone().copy_(&Tensor::from_slice(value).view_as(&param.tensor));
        }
        let y = ff.forward(&Tensor::from_slice(&[1f32]).view([1, 1]), false).double_value(&[0, 0]);
        // 3 * gelu(2) + 0.5 with gelu(2) = 2 * 0.977_249_87
        assert!((y - (3.0 * 1.954_499_7 + 0.5)).abs() < 1e-5, "{y}");
    }
}
