//! What a plugin implements, a trait for each kind. All are pure: same settings and arguments, same result.

use super::{Latent, Result, Run};

/// A grid of noise levels for sampling.
pub trait Discretization {
    /// Exactly `n` sigmas, strictly decreasing, positive and finite. The host appends the final 0.
    ///
    /// # Errors
    /// When no such grid exists for `n`.
    fn sigmas(&self, n: u32) -> Result<Vec<f64>>;
}

/// The numbers the host draws for a sigma sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawKind {
    /// Uniform in `(0, 1)`.
    Uniform,
    /// Standard normal.
    Gaussian,
}

/// The distribution of noise levels in training.
pub trait SigmaSampling {
    /// Which numbers the host draws, one a sigma.
    fn draw_kind(&self) -> DrawKind;

    /// The sigma of a draw, finite and not negative.
    ///
    /// # Errors
    /// When the draw has no sigma.
    fn sigma(&self, draw: f64) -> Result<f64>;
}

/// Sigma to the weight of the loss.
pub trait Weighting {
    /// The weight of a sigma, finite and not negative. Sigma is 0 only where the distribution in training has a 0.
    ///
    /// # Errors
    /// When the sigma has no weight.
    fn weight(&self, sigma: f64) -> Result<f64>;
}

/// The scale of classifier-free guidance.
pub trait Guidance {
    /// Scales over a sampling run, row-major `[sigmas.len(), num_frames]`. `num_frames` counts all frames of a scene,
    /// of which `num_views` lie beside each other.
    ///
    /// # Errors
    /// When the frames do not fit, `num_views` does not divide them for example.
    fn scales(&self, sigmas: &[f64], num_frames: u32, num_views: u32) -> Result<Vec<f64>>;
}

/// Multiplier of the base learning rate.
pub trait LearningRate {
    /// The factor of an optimizer step, counted from 0; finite and not negative.
    ///
    /// # Errors
    /// When the step has no factor.
    fn factor(&self, step: u64) -> Result<f64>;
}

/// Upper bounds on what a sampling run takes; the host enforces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Calls of the model.
    pub denoise_calls: u32,
    /// Latents alive at once, the one handed in included.
    pub live_latents: u32,
    /// Whether noise is drawn.
    pub draws_noise: bool,
}

/// A solver of the probability flow ODE or SDE.
pub trait Sampler {
    /// What a run of `num_steps` steps takes at most.
    fn estimate(&self, num_steps: u32) -> Cost;

    /// From noise `x`, already scaled by `sqrt(1 + sigmas[0]^2)`, to a sample. `sigmas` ends with 0.
    ///
    /// # Errors
    /// Pass on those of [`Latent`] and [`Run`]: they may be the user's wish to stop.
    fn sample(&self, x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent>;
}
