//! The feed-forward layer of a transformer block.

use anneal_torch::activation::geglu;
use tch::Tensor;

use super::{Linear, LinearConfig, dropout};
use crate::params::Path;

/// Sizes of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeedForwardConfig {
    /// Width of the input.
    pub inputs: i64,
    /// Width between the two linear layers.
    pub hidden: i64,
    /// Width of the output.
    pub outputs: i64,
    /// GEGLU instead of a plain GELU.
    pub gated: bool,
    /// Probability of dropping a hidden value in training.
    pub dropout: f64,
}

impl FeedForwardConfig {
    /// Gated, and four times as wide inside.
    pub fn new(inputs: i64, outputs: i64, dropout: f64) -> Self {
        Self { inputs, hidden: 4 * inputs, outputs, gated: true, dropout }
    }
}

/// Linear, GEGLU (Shazeer 2020) or GELU, dropout, linear.
#[derive(Debug)]
pub struct FeedForward {
    project_in: Linear,
    project_out: Linear,
    gated: bool,
    dropout: f64,
}

impl FeedForward {
    /// Keys `net.0.proj` (`net.0.0` without gate) and `net.2`.
    pub fn new(path: &Path, config: FeedForwardConfig) -> Self {
        let FeedForwardConfig { inputs, hidden, outputs, gated, dropout } = config;
        let net = path.sub("net");
        let first = net.sub(0);
        let (at, width) = if gated { (first.sub("proj"), 2 * hidden) } else { (first.sub(0), hidden) };
        Self {
            project_in: Linear::new(&at, LinearConfig::new(inputs, width)),
            project_out: Linear::new(&net.sub(2), LinearConfig::new(hidden, outputs)),
            gated,
            dropout,
        }
    }

    /// # Shapes
    /// - `x`: `[..., inputs]`
    /// - result: `[..., outputs]`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let hidden = match &self.project_in.bias {
            Some(bias) if self.gated => {
                // The bias is left to GEGLU, which reads every hidden value anyway.
                let hidden = self.project_in.multiply(x, train);
                geglu(&hidden, bias).unwrap_or_else(|error| panic!("{error}"))
            }
            _ => self.project_in.forward(x, train).gelu("none"),
        };
        self.project_out.forward(&dropout(hidden, self.dropout, train), train)
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
        let ff = FeedForward::new(&params.root().sub("ff"), FeedForwardConfig::new(1, 1, 0.0));
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
    #[test]
    fn without_gate_it_is_a_plain_gelu() {
        let params = Params::new(Device::Cpu, 1);
        let config = FeedForwardConfig { gated: false, hidden: 3, ..FeedForwardConfig::new(2, 5, 0.0) };
        let ff = FeedForward::new(&params.root(), config);
        assert_eq!(crate::testing::keys(&params)[0], "net.0.0.weight [3, 2]");
        let x = Tensor::randn([4, 2], crate::testing::F32);
        let want = ff.project_out.forward(&ff.project_in.forward(&x, false).gelu("none"), false);
        crate::testing::close(&ff.forward(&x, false), &want, 0.0);
    }
}
