//! Layers over declared parameters: one operation each.

use plugin_api::tch::prelude::*;

use crate::tree::Tree;

/// PyTorch's start of a linear layer's weight and bias.
pub fn fan_in(inputs: i64) -> Init {
    Init::Uniform { bound: 1.0 / (inputs as f64).sqrt() }
}

/// `x W^T + b`.
pub struct Linear {
    weight: Param,
    bias: Option<Param>,
}

impl Linear {
    /// Keys `weight` and, with a bias, `bias`.
    pub fn new(mut at: Tree<'_>, inputs: i64, outputs: i64, with_bias: bool) -> Self {
        let weight = at.param("weight", &[outputs, inputs], fan_in(inputs));
        Self { weight, bias: with_bias.then(|| at.param("bias", &[outputs], fan_in(inputs))) }
    }

    /// # Shapes
    /// - `x`: `[..., inputs]`
    /// - result: `[..., outputs]`
    pub fn forward(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(call.param(self.weight), self.bias.map(|bias| call.param(bias)))?)
    }
}

/// Layer norm over the last axis.
pub struct LayerNorm {
    weight: Param,
    bias: Param,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    /// Keys `weight` and `bias`.
    pub fn new(mut at: Tree<'_>, width: i64, eps: f64) -> Self {
        let weight = at.param("weight", &[width], Init::Ones);
        Self { weight, bias: at.param("bias", &[width], Init::Zeros), width, eps }
    }

    /// # Shapes
    /// - `x` and result: `[..., width]`
    pub fn forward(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (call.param(self.weight), call.param(self.bias));
        Ok(x.f_layer_norm([self.width], Some(weight), Some(bias), self.eps, false)?)
    }
}

/// Scales tokens to a root mean square of 1; no mean is taken away and no bias added.
pub struct RmsNorm {
    weight: Param,
    eps: f64,
}

impl RmsNorm {
    /// Key `weight`.
    pub fn new(mut at: Tree<'_>, width: i64, eps: f64) -> Self {
        Self { weight: at.param("weight", &[width], Init::Ones), eps }
    }

    /// # Shapes
    /// - `x` and result: `[..., width]`
    pub fn forward(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        let mean_square = x.to_kind(Kind::Float).square().mean_dim([-1_i64].as_slice(), true, Kind::Float);
        let scaled = (x * (mean_square + self.eps).rsqrt()).to_kind(x.kind());
        Ok(scaled.f_mul(call.param(self.weight))?)
    }
}

/// The non-linearity between the two layers of a feed-forward network.
#[derive(Config, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)`.
    Gelu,
    /// `x sigmoid(1.702 x)`, OpenAI's approximation.
    QuickGelu,
    /// GELU with a tanh in place of Phi.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x sigmoid(x)`.
    Silu,
}

impl Activation {
    /// The function, elementwise.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu("none"),
            Self::QuickGelu => x * (x * 1.702).sigmoid(),
            Self::GeluTanh => x.gelu("tanh"),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
        }
    }
}

/// Which tokens a token attends to, and how strongly before any of them is read.
pub enum Attend<'a> {
    /// All.
    All,
    /// Itself and those before it.
    Causal,
    /// All, with `[1, k, s, s]` added to the unscaled products of queries and keys.
    Biased(&'a Tensor),
}

/// Multi-head attention of tokens to one another, between projections.
///
/// # Shapes
/// - `q`, `k`, `v`, result: `[n, s, d]`
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, num_heads: i64, attend: &Attend<'_>) -> Result<Tensor> {
    let heads = |x: &Tensor| x.unflatten(-1, [num_heads, -1]).transpose(1, 2); // [n, s, d] -> [n, k, s, d/k]
    let (mask, causal, scale) = match attend {
        Attend::All => (None, false, None),
        Attend::Causal => (None, true, None),
        Attend::Biased(bias) => (Some(*bias), false, Some(1.0)),
    };
    let value =
        Tensor::f_scaled_dot_product_attention(&heads(q), &heads(k), &heads(v), mask, 0.0, causal, scale, false)?;
    Ok(value.transpose(1, 2).flatten(2, 3)) // [n, k, s, d/k] -> [n, s, d]
}
