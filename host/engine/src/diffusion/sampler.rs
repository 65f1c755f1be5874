//! What a sampler is given and what it returns; WASM plugins implement it.

use tch::Tensor;

use crate::error::ComponentError;

/// The model as a sampler sees it: guided and preconditioned.
pub trait Denoise {
    /// The estimate of the clean latent at noise level `sigma`.
    ///
    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    ///
    /// # Errors
    /// When a component of the model fails.
    fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor, ComponentError>;

    /// Standard normal noise like the latent, the next of the run's stream.
    fn gaussian(&mut self) -> Tensor;

    /// Told after each step; false asks the sampler to stop.
    fn progress(&mut self, step: u32, total: u32, sigma: f64) -> bool;
}

/// A solver of the probability flow ODE or SDE.
pub trait Sampler: Send {
    /// From noise `x`, already scaled by `sqrt(1 + sigmas[0]^2)`, to a sample. `sigmas` ends with 0.
    ///
    /// # Errors
    /// When the solver or the model fails, or the user stops.
    fn sample(&mut self, x: Tensor, sigmas: &[f64], model: &mut dyn Denoise) -> Result<Tensor, ComponentError>;
}
