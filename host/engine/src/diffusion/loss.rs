//! The training objective: draw sigma and noise, denoise, weigh (Karras et al. 2022, equation 2).

use anneal_nn::Lpips;
use anneal_torch::random::Stream;
use tch::{Kind, Tensor};

use super::{DrawKind, LossWeighting, SigmaSampler, Weighed, per_row};
use crate::config::SigmaPer;
use crate::data::Batch;
use crate::error::ComponentError;

/// What a step draws for its batch. All on the host, before the step.
#[derive(Debug)]
pub struct StepDraws {
    /// Noise level of each row.
    pub sigmas: Vec<f64>,
    /// Standard normal noise (with the offset, if any), `[b*t, c, h, w]`.
    pub noise: Tensor,
}

/// The distance between denoised and clean.
#[derive(Debug)]
pub enum RowDistance {
    /// Mean of the squared differences.
    L2,
    /// Mean of the absolute differences.
    L1,
    /// Perceptual distance of colours.
    Lpips {
        /// The distance.
        lpips: Box<Lpips>,
        /// Whether it is multiplied by the weight, as the others are.
        is_weighted: bool,
    },
}

impl RowDistance {
    /// # Shapes
    /// - `x`, `target`: `[n, c, h, w]` f32
    /// - result: `[n]`
    fn of_rows(&self, x: &Tensor, target: &Tensor) -> Tensor {
        let mean = |differences: Tensor| differences.flatten(1, -1).mean_dim([1].as_slice(), false, Kind::Float);
        match self {
            Self::L2 => mean((x - target).square()),
            Self::L1 => mean((x - target).abs()),
            Self::Lpips { lpips, .. } => lpips.forward(x, target).flatten(0, -1),
        }
    }
}

/// The objective.
pub struct Loss {
    /// The distance.
    pub distance: RowDistance,
    /// One sigma a clip or a row.
    pub sigma_per: SigmaPer,
    /// Strength of the noise that is constant over a row's pixels.
    pub offset_noise_level: f64,
    /// Where sigmas come from.
    pub sigma_sampler: Box<dyn SigmaSampler>,
    /// Sigma to weight.
    pub weighting: LossWeighting,
}

impl Loss {
    /// Draws sigma and noise for a batch whose latents have `shape`, each scene from its own streams.
    ///
    /// # Shapes
    /// - `shape`: `[b*t, c, h, w]`
    ///
    /// # Errors
    /// When the sigma sampler fails.
    pub fn draw(&mut self, batch: &Batch, shape: &[i64], seed: u64) -> Result<StepDraws, ComponentError> {
        let rows_per_scene = (shape[0] / batch.num_scenes().max(1)) as usize;
        let per_scene = if self.sigma_per == SigmaPer::Clip { 1 } else { rows_per_scene };
        let kind = self.sigma_sampler.draw_kind();
        let mut draws = Vec::with_capacity(per_scene * batch.sample_ids.len());
        for &id in &batch.sample_ids {
            let mut stream = Stream::new(seed, "sigma", id, 0);
            draws.extend((0..per_scene).map(|_| match kind {
                DrawKind::Uniform => stream.uniform(),
                DrawKind::Gaussian => stream.normal(),
            }));
        }
        let sigmas = self.sigma_sampler.sample(&draws)?;
        let times = rows_per_scene / per_scene.max(1);
        let sigmas = sigmas.into_iter().flat_map(|sigma| std::iter::repeat_n(sigma, times)).collect();
        Ok(StepDraws { sigmas, noise: self.noise(batch, shape, seed) })
    }

    /// As [`Loss::draw`], with the same noise every time and one noise level for all: for validation.
    pub fn draw_at(&self, sigma: f64, batch: &Batch, shape: &[i64], seed: u64) -> StepDraws {
        StepDraws { sigmas: vec![sigma; shape[0] as usize], noise: self.noise(batch, shape, seed) }
    }

    fn noise(&self, batch: &Batch, shape: &[i64], seed: u64) -> Tensor {
        let mut of_scene = shape.to_vec();
        of_scene[0] /= batch.num_scenes().max(1);
        let scenes: Vec<Tensor> = batch
            .sample_ids
            .iter()
            .map(|&id| {
                let noise = Stream::new(seed, "noise", id, 0).normal_tensor(&of_scene);
                if self.offset_noise_level == 0.0 {
                    return noise;
                }
                let mut constant = vec![1; of_scene.len()];
                constant[..2].copy_from_slice(&of_scene[..2]);
                add_offset(
                    &noise,
                    &Stream::new(seed, "offset-noise", id, 0).normal_tensor(&constant),
                    self.offset_noise_level,
                )
            })
            .collect();
        Tensor::cat(&scenes, 0)
    }

    /// The loss of each row: the weighted distance, with the weighting's offset.
    ///
    /// # Shapes
    /// - `denoised`, `clean`: `[n, c, h, w]`
    /// - result: `[n]`
    pub fn of_rows(&self, denoised: &Tensor, clean: &Tensor, weighed: &Weighed) -> Tensor {
        let distance = self.distance.of_rows(&denoised.to_kind(Kind::Float), &clean.to_kind(Kind::Float));
        if let RowDistance::Lpips { is_weighted: false, .. } = self.distance {
            return distance;
        }
        let weighted = distance * &weighed.weights;
        match &weighed.offsets {
            Some(offsets) => weighted + offsets,
            None => weighted,
        }
    }
}

/// Noise with an offset that is constant over the axes which `offset` lacks (Guttenberg 2023).
pub fn add_offset(noise: &Tensor, offset: &Tensor, level: f64) -> Tensor {
    let mut shape = offset.size();
    shape.resize(noise.dim(), 1);
    noise + offset.reshape(&shape[..]) * level
}

/// `clean + sigma * noise`.
///
/// # Shapes
/// - `clean`, `noise`, result: `[n, c, h, w]`
/// - `sigmas`: one a row
pub fn add_noise(clean: &Tensor, noise: &Tensor, sigmas: &[f64]) -> Tensor {
    clean + noise * per_row(sigmas, clean.dim(), clean.device())
}
