//! Sampling: noise to latents, guided, by a solver that sees only a denoise call.

use anneal_torch::{grad_mode, random::Stream};
use tch::{Device, Kind, Tensor};

use super::{Denoise, Discretization, ExtraInputs, Guidance, Guider, Model, Sampler};
use crate::conditioner::Conditions;
use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};

/// Told after each step of the solver; false stops it. Arguments are step, number of steps and sigma.
pub type Progress<'a> = dyn FnMut(u32, u32, f64) -> bool + 'a;

/// How samples are made: solver, grid, guidance.
pub struct Sampling {
    /// Steps of the solver.
    pub num_steps: u32,
    /// The solver.
    pub sampler: Box<dyn Sampler>,
    /// The grid of sigmas.
    pub discretization: Box<dyn Discretization>,
    /// The scale of guidance; without it the conditional model is sampled.
    pub guidance: Option<Box<dyn Guidance>>,
    /// Input keys that are zeroed in the unconditional half; those with a `ucg_rate` if not given.
    pub force_uc_zero: Option<Vec<String>>,
    /// Conditions beyond vector, crossattn and concat that guidance doubles.
    pub additional_cond_keys: Vec<String>,
    /// Views that lie beside each other in a scene's frames, for guidance over time and views.
    pub num_views: u32,
}

impl Sampling {
    /// Samples a scene for each scene of `batch`, under its conditions.
    ///
    /// # Shapes
    /// - result: latents `[b*t, c, h, w]` f32
    ///
    /// # Errors
    /// When a component fails, or `progress` stops the solver.
    pub fn run(
        &mut self,
        model: &Model,
        batch: &Batch,
        seed: u64,
        progress: &mut Progress<'_>,
    ) -> Result<Tensor, ComponentError> {
        let _no_grad = grad_mode::no_grad();
        let frames = batch.frames_per_scene;
        let pixels = model.input(batch)?;
        let [n, c, h, w] = pixels.size()[..] else {
            let message = format!("must be [n, c, h, w], not {:?}", pixels.size());
            return Err(ComponentError::new(
                format!("batch entry {}", model.input_key),
                ErrorCode::InvalidArgument,
                message,
            ));
        };
        let [code_c, code_h, code_w] = model.first_stage.latent_shape([c, h, w]);
        let shape = [n, code_c, code_h, code_w];
        let sigmas = with_final_zero(self.discretization.sigmas(self.num_steps)?);
        let uc_zero = self.force_uc_zero.clone().unwrap_or_else(|| model.conditioner.droppable_keys());
        let (cond, uncond) = model.conditioner.embed_pair(batch, seed, &uc_zero)?;
        let guider = self.guider(&sigmas, frames)?;
        let extra = ExtraInputs::from_batch(batch, &model.extra_inputs)?;
        let mut noise = SceneNoise::new(batch, seed, &shape);
        let device = pixels.device();
        let x = noise.next_tensor().to_device(device) * (1.0 + sigmas[0] * sigmas[0]).sqrt();
        let mut guided = Guided { model, cond, uncond, extra, guider, noise, device, progress };
        self.sampler.sample(x, &sigmas, &mut guided)
    }

    fn guider(&mut self, sigmas: &[f64], frames: i64) -> Result<Option<Guider>, ComponentError> {
        let Some(guidance) = &mut self.guidance else { return Ok(None) };
        let grid = &sigmas[..sigmas.len() - 1];
        let scales = guidance.scales(grid, frames as u32, self.num_views)?;
        Guider::new(grid, scales, frames as usize, &self.additional_cond_keys).map(Some)
    }
}

fn with_final_zero(mut sigmas: Vec<f64>) -> Vec<f64> {
    sigmas.push(0.0);
    sigmas
}

/// Noise for each scene from its own stream, so a scene's sample does not depend on its neighbours.
struct SceneNoise {
    streams: Vec<Stream>,
    of_scene: Vec<i64>,
}

impl SceneNoise {
    fn new(batch: &Batch, seed: u64, shape: &[i64]) -> Self {
        let mut of_scene = shape.to_vec();
        of_scene[0] /= batch.num_scenes().max(1);
        let streams = batch.sample_ids.iter().map(|&id| Stream::new(seed, "sampling", id, 0)).collect();
        Self { streams, of_scene }
    }

    fn next_tensor(&mut self) -> Tensor {
        let parts: Vec<Tensor> = self.streams.iter_mut().map(|stream| stream.normal_tensor(&self.of_scene)).collect();
        Tensor::cat(&parts, 0)
    }
}

/// The model as the solver sees it.
struct Guided<'a, 'p> {
    model: &'a Model,
    cond: Conditions,
    uncond: Conditions,
    extra: ExtraInputs,
    guider: Option<Guider>,
    noise: SceneNoise,
    device: Device,
    progress: &'a mut Progress<'p>,
}

impl Guided<'_, '_> {
    fn call(
        &self,
        x: &Tensor,
        sigma: f64,
        conditions: &Conditions,
        extra: &ExtraInputs,
    ) -> Result<Tensor, ComponentError> {
        let sigmas = vec![sigma; x.size()[0] as usize];
        self.model.denoiser.denoise(&self.model.network, x, &sigmas, conditions, extra, false)
    }
}

impl Denoise for Guided<'_, '_> {
    fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor, ComponentError> {
        let _no_grad = grad_mode::no_grad();
        match &self.guider {
            None => self.call(x, sigma, &self.cond, &self.extra),
            Some(guider) => {
                let doubled = guider.double(x, &self.cond, &self.uncond, &self.extra)?;
                let both = self.call(&doubled.x, sigma, &doubled.conditions, &doubled.extra)?;
                Ok(guider.blend(&both, sigma))
            }
        }
        .map(|denoised| denoised.to_kind(Kind::Float))
    }

    fn gaussian(&mut self) -> Tensor {
        self.noise.next_tensor().to_device(self.device)
    }

    fn progress(&mut self, step: u32, total: u32, sigma: f64) -> bool {
        (self.progress)(step, total, sigma)
    }
}
