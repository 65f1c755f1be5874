//! Noise levels, denoiser, loss, guidance and sampling.

mod schedule;
mod sampler;

pub use sampler::{Denoise, Sampler};
pub use schedule::{Discretization, DrawKind, Guidance, LearningRate, SigmaSampler, Weighting};
