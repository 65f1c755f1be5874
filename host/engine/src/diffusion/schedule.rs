//! The scalar functions of diffusion: what WASM plugins implement. All are pure functions of their arguments.

use crate::error::ComponentError;

/// A grid of noise levels for sampling.
pub trait Discretization: Send {
    /// Exactly `n` sigmas, strictly decreasing, positive and finite; without the final 0.
    ///
    /// # Errors
    /// When the component fails or breaks this contract.
    fn sigmas(&mut self, n: u32) -> Result<Vec<f64>, ComponentError>;
}

/// The numbers a sigma sampler turns into sigmas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawKind {
    /// Uniform in `(0, 1)`.
    Uniform,
    /// Standard normal.
    Gaussian,
}

/// The distribution of noise levels in training.
pub trait SigmaSampler: Send {
    /// Which numbers it wants, one a sigma.
    fn draw_kind(&self) -> DrawKind;

    /// One sigma a draw, finite and not negative.
    ///
    /// # Errors
    /// When the component fails or breaks this contract.
    fn sample(&mut self, draws: &[f64]) -> Result<Vec<f64>, ComponentError>;
}

/// Sigma to the weight of the loss.
pub trait Weighting: Send {
    /// One weight a sigma, finite and not negative; elementwise.
    ///
    /// # Errors
    /// When the component fails or breaks this contract.
    fn weights(&mut self, sigmas: &[f64]) -> Result<Vec<f64>, ComponentError>;
}

/// The scale of classifier-free guidance.
pub trait Guidance: Send {
    /// Row-major `[sigmas.len(), num_frames]`; `num_frames` counts all frames of a scene (`t*v`), of which
    /// `num_views` lie beside each other.
    ///
    /// # Errors
    /// When the component fails or breaks this contract.
    fn scales(&mut self, sigmas: &[f64], num_frames: u32, num_views: u32) -> Result<Vec<f64>, ComponentError>;
}

/// Multiplier of the base learning rate.
pub trait LearningRate: Send {
    /// Factors of the steps `first .. first + count`, finite and not negative.
    ///
    /// # Errors
    /// When the component fails or breaks this contract.
    fn factors(&mut self, first: u64, count: u32) -> Result<Vec<f64>, ComponentError>;
}
