//! Noise levels, denoiser, loss, guidance and sampling.

mod denoiser;
mod guider;
mod loss;
mod model;
mod sampler;
mod sampling;
mod scaling;
mod schedule;
mod weighting;
mod wrapper;

pub use denoiser::{Denoiser, SigmaTable};
pub use guider::{Doubled, Guider};
pub use loss::{Loss, RowDistance, StepDraws, add_noise, add_offset};
pub use model::Model;
pub use sampler::{Denoise, Sampler};
pub use sampling::{Progress, RowNoise, Sampling, Told};
pub use scaling::{Factors, Scaling};
pub use schedule::{Discretization, DrawKind, Guidance, LearningRate, SigmaSampler, Weighting};
pub use weighting::{LossWeighting, TensorWeighting, Weighed};
pub use wrapper::{ExtraInputs, Wrapper};

use tch::{Device, Kind, Tensor};

/// One number a row as a tensor that multiplies rows of rank `rank`.
///
/// # Shapes
/// - result: `[n, 1, .., 1]` f32
pub fn per_row(values: &[f64], rank: usize, device: Device) -> Tensor {
    let mut shape = vec![1; rank];
    shape[0] = values.len() as i64;
    Tensor::from_slice(values).to_kind(Kind::Float).reshape(shape).to_device(device)
}
