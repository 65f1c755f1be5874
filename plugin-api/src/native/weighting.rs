//! What an author of a weighting writes, where it computes with tensors or learns.

use super::embedder::Call;
use super::error::Result;
use super::handle::Handle;
use super::params::Params;
use super::tensor::Tensor;
use crate::config::Config;

/// A weighting of the loss over tensors: the noise level of each row to what its loss is multiplied by.
///
/// Scalar weightings without parameters are better off as WASM. The host calls one function of an instance at a time, from
/// any thread.
pub trait Weighting<T: Handle = Tensor>: Sized + Send + 'static {
    /// Its settings: what a run config writes beside `plugin = "..."`.
    type Config: Config;

    /// A weighting with these settings. Parameters are declared here, in the same order every time; they are trained with
    /// the model.
    ///
    /// # Errors
    /// When the settings contradict each other.
    fn new(settings: Self::Config, params: &mut Params) -> Result<Self>;

    /// Weighs rows. A row's results depend on its own sigma alone. Autograd records it as the host wants.
    ///
    /// # Shapes
    /// - `sigmas`: `[n]` f32, not below zero, where the parameters are
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    fn weigh(&self, call: &Call<'_, T>, sigmas: &T) -> Result<Weighed<T>>;
}

/// What a weighting makes of sigmas. The loss of a row is `weight * distance + offset`.
#[derive(Debug)]
pub struct Weighed<T = Tensor> {
    pub(crate) weights: T,
    pub(crate) offsets: Option<T>,
}

impl<T> Weighed<T> {
    /// Weights, `[n]`, not below zero.
    pub fn weights(weights: T) -> Self {
        Self { weights, offsets: None }
    }

    /// The same, with what is added to the weighted loss, `[n]`: the term that keeps a learned weight from vanishing.
    #[must_use]
    pub fn with_offsets(self, offsets: T) -> Self {
        Self { offsets: Some(offsets), ..self }
    }
}
