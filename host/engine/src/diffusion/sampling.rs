//! Sampling: noise to latents, guided, by a solver that sees only a denoise call.

use anneal_torch::{grad_mode, random::Stream};
use tch::{Device, Kind, Tensor};

use super::{Denoise, Discretization, ExtraInputs, Guidance, Guider, Model, Sampler};
use crate::conditioner::Conditions;
use crate::data::Batch;
use crate::error::ComponentError;

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
}

/// What a model is told of some scenes while it denoises them, and in which order of time.
#[derive(Debug)]
pub struct Told {
    cond: Conditions,
    uncond: Conditions,
    extra: ExtraInputs,
    /// Frames of a scene, for guidance over them.
    frames_per_scene: u32,
    /// Views that lie beside each other in them.
    num_views: u32,
    /// Times of a scene, when they are told and denoised in reverse.
    reversed_times: Option<i64>,
}

impl Told {
    /// The same for scenes of `num_times` times whose conditions were made in the reverse order of time: the model sees the
    /// latents in that order, the solver in its own.
    #[must_use]
    pub fn in_reverse(self, num_times: i64) -> Self {
        Self { reversed_times: Some(num_times), ..self }
    }

    /// The rows `[t*v, ..]` of a scene in the order in which the model sees them, or from it: the turn undoes itself.
    fn turned(&self, rows: &Tensor) -> Tensor {
        match self.reversed_times {
            None => rows.shallow_clone(),
            Some(times) => {
                let views = rows.size()[0] / times;
                rows.unflatten(0, [times, views].as_slice()).flip([0]).flatten(0, 1) // [t*v, ..] -> [t, v, ..] -> [t*v, ..]
            }
        }
    }
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
        self.run_without(model, batch, seed, &[], progress)
    }

    /// As [`Sampling::run`], without the conditions of the entries `absent`.
    ///
    /// # Errors
    /// As [`Sampling::run`].
    pub fn run_without(
        &mut self,
        model: &Model,
        batch: &Batch,
        seed: u64,
        absent: &[String],
        progress: &mut Progress<'_>,
    ) -> Result<Tensor, ComponentError> {
        let told = self.told(model, batch, seed, absent)?;
        let [n, code @ ..] = model.latent_shape(batch)?;
        let frames = n / batch.num_scenes().max(1);
        let streams = batch.sample_ids.iter().map(|&id| Stream::new(seed, "sampling", id, 0)).collect();
        let noise =
            RowNoise { streams, of_stream: [&[frames], &code[..]].concat(), device: model.input(batch)?.device() };
        self.run_told(model, &[told], noise, progress)
    }

    /// What `model` is told of `batch`. The conditions of the entries `absent` are zero in both halves of guidance.
    ///
    /// # Errors
    /// When an embedder fails, or an entry is missing in the batch.
    pub fn told(&self, model: &Model, batch: &Batch, seed: u64, absent: &[String]) -> Result<Told, ComponentError> {
        let _no_grad = grad_mode::no_grad();
        let mut uc_zero = self.force_uc_zero.clone().unwrap_or_else(|| model.conditioner.droppable_keys());
        uc_zero.extend_from_slice(absent);
        let (cond, uncond) = model.conditioner.embed_pair(batch, seed, absent, &uc_zero)?;
        let extra = ExtraInputs::from_batch(batch, &model.extra_inputs)?;
        let num_views = batch.integers.get("num_views").map_or(1, |views| *views as u32);
        Ok(Told {
            cond,
            uncond,
            extra,
            frames_per_scene: batch.frames_per_scene as u32,
            num_views,
            reversed_times: None,
        })
    }

    /// Samples scenes, told at each step of the solver the next of `told`, and the first again after the last; all of them are
    /// of the same scenes.
    ///
    /// # Shapes
    /// - result: latents of the rows that `noise` makes, f32
    ///
    /// # Errors
    /// When a component fails, or `progress` stops the solver.
    ///
    /// # Panics
    /// When `told` is empty.
    pub fn run_told(
        &mut self,
        model: &Model,
        told: &[Told],
        mut noise: RowNoise,
        progress: &mut Progress<'_>,
    ) -> Result<Tensor, ComponentError> {
        assert!(!told.is_empty(), "a model that is told nothing at all");
        let _no_grad = grad_mode::no_grad();
        let sigmas = with_final_zero(self.discretization.sigmas(self.num_steps)?);
        let guider = self.guider(&sigmas, &told[0])?;
        let x = noise.next_tensor() * (1.0 + sigmas[0] * sigmas[0]).sqrt();
        let mut guided = Guided { model, told, guider, noise, steps_done: 0, progress };
        self.sampler.sample(x, &sigmas, &mut guided)
    }

    fn guider(&mut self, sigmas: &[f64], told: &Told) -> Result<Option<Guider>, ComponentError> {
        let Some(guidance) = &mut self.guidance else { return Ok(None) };
        let grid = &sigmas[..sigmas.len() - 1];
        let frames = told.frames_per_scene;
        let scales = guidance.scales(grid, frames, told.num_views)?;
        Guider::new(grid, scales, frames as usize, &self.additional_cond_keys).map(Some)
    }
}

fn with_final_zero(mut sigmas: Vec<f64>) -> Vec<f64> {
    sigmas.push(0.0);
    sigmas
}

/// Noise for rows that belong together from a stream of their own, so that what is made of them does not depend on their
/// neighbours.
#[derive(Debug)]
pub struct RowNoise {
    /// One stream for each group of rows, in the order of the rows.
    pub streams: Vec<Stream>,
    /// The shape of a group, rows first.
    pub of_stream: Vec<i64>,
    /// Where the noise goes.
    pub device: Device,
}

impl RowNoise {
    fn next_tensor(&mut self) -> Tensor {
        let parts: Vec<Tensor> = self.streams.iter_mut().map(|stream| stream.normal_tensor(&self.of_stream)).collect();
        Tensor::cat(&parts, 0).to_device(self.device)
    }
}

/// The model as the solver sees it.
struct Guided<'a, 'p> {
    model: &'a Model,
    told: &'a [Told],
    guider: Option<Guider>,
    noise: RowNoise,
    steps_done: usize,
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
        let told = &self.told[self.steps_done % self.told.len()];
        let x = told.turned(x);
        let denoised = match &self.guider {
            None => self.call(&x, sigma, &told.cond, &told.extra)?,
            Some(guider) => {
                let doubled = guider.double(&x, &told.cond, &told.uncond, &told.extra)?;
                let both = self.call(&doubled.x, sigma, &doubled.conditions, &doubled.extra)?;
                guider.blend(&both, sigma)
            }
        };
        Ok(told.turned(&denoised.to_kind(Kind::Float)))
    }

    fn gaussian(&mut self) -> Tensor {
        self.noise.next_tensor()
    }

    fn progress(&mut self, step: u32, total: u32, sigma: f64) -> bool {
        self.steps_done = step as usize;
        (self.progress)(step, total, sigma)
    }
}
