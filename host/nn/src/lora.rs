//! Low-rank adapters of linear layers (LoRA, Hu et al. 2021, arXiv:2106.09685).

use std::fmt;
use std::rc::Rc;

use tch::Tensor;

/// What follows a layer's path in the keys of its adapter: the matrix that reads the input, then the one that writes.
const KEYS: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// Which layers get adapters, and of what size.
#[derive(Clone)]
pub struct LoraSpec {
    /// Rows of `lora_A`, columns of `lora_B`.
    pub rank: i64,
    /// What the adapter's output is multiplied by: alpha over rank.
    pub scale: f64,
    /// Probability with which a value that an adapter reads is dropped in training.
    pub dropout: f64,
    /// Whether the linear layer at a path gets one.
    pub chooses: Rc<dyn Fn(&str) -> bool>,
}

impl fmt::Debug for LoraSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LoraSpec");
        shown
            .field("rank", &self.rank)
            .field("scale", &self.scale)
            .field("dropout", &self.dropout)
            .finish_non_exhaustive()
    }
}

/// The adapter of one layer: `scale * B A x` is added to what the layer gives; in training of an `x` whose values are dropped at
/// random, for the adapter alone.
///
/// `A` starts as PyTorch's linear layers do and `B` at zero, so that at its start the layer is what it was.
#[derive(Debug)]
pub struct Lora {
    /// `[rank, inputs]`.
    pub a: Tensor,
    /// `[outputs, rank]`.
    pub b: Tensor,
    /// Factor of the product.
    pub scale: f64,
    /// Probability with which a value of the input is dropped in training.
    pub dropout: f64,
}

impl Lora {
    /// What is added to the layer's output; `train` is whether dropout is on.
    ///
    /// # Shapes
    /// - `x`: `[..., inputs]`
    /// - result: `[..., outputs]`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let dropped = (train && self.dropout > 0.0).then(|| x.dropout(self.dropout, true));
        // The factor goes on the narrow side, where it costs least.
        (dropped.as_ref().unwrap_or(x).linear::<&Tensor>(&self.a, None) * self.scale).linear::<&Tensor>(&self.b, None)
    }
}

/// The keys of an adapter, below the layer's path.
pub(crate) fn keys() -> [&'static str; 2] {
    KEYS
}

/// The layer whose adapter the parameter at `path` is part of; none if it is part of none.
pub fn adapted_layer(path: &str) -> Option<&str> {
    KEYS.iter().find_map(|key| path.strip_suffix(key)?.strip_suffix('.'))
}
