//! One optimizer step: the page everyone is sent to.

use std::time::{Duration, Instant};

use anneal_torch::{generator, random::Stream};

use super::checkpoint::Position;
use super::optimizer::clip_factor;
use super::{BatchPass, Guard, Objective, Refused, Schedule, TrainError, TrainState};
use crate::autoencoding::Terms;
use crate::data::{Batch, DataError};

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The step, counted from 1 when it is done.
    pub step: u64,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Means of the loss's terms by name, where it has several.
    pub terms: Terms,
    /// Learning rate it used.
    pub learning_rate: f64,
    /// L2 norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Scenes seen so far.
    pub samples_seen: u64,
    /// Time it took, waiting for data included.
    pub seconds: f64,
    /// Of that, time spent waiting for data.
    pub data_seconds: f64,
}

/// What does not change from step to step.
pub struct StepSettings {
    /// Seed of the run's random streams.
    pub seed: u64,
    /// Batches whose gradients are averaged.
    pub accumulate_batches: u32,
    /// Largest norm of the gradient.
    pub clip_grad_norm: Option<f64>,
}

/// The learning rates of a run's optimizers.
pub struct Rates {
    /// Of the model.
    pub model: Schedule,
    /// Of its adversary.
    pub adversary: Option<Schedule>,
}

/// The gradient of a step, which lies in the optimizers.
#[derive(Debug)]
pub struct Gradient {
    /// Mean loss of the batches.
    pub loss: f64,
    /// Means of the loss's terms.
    pub terms: Terms,
    /// L2 norm of the gradient of what the objective is of.
    pub grad_norm: f64,
    /// That of the adversary's; 0 if it is not trained.
    pub adversary_norm: f64,
    position: Position,
    waited: Duration,
}

impl Gradient {
    /// A norm that is not finite, if one is; else that of the objective's own.
    pub(super) fn worst_norm(&self) -> f64 {
        let norms = [self.grad_norm, self.adversary_norm];
        norms.into_iter().find(|norm| !norm.is_finite()).unwrap_or(self.grad_norm)
    }
}

/// Goes down the objective's gradient, averaged over some batches, and moves the average along.
///
/// # Errors
/// When a component or the data fails, or the guard refuses the step: then nothing has moved.
pub fn train_step(
    state: &mut TrainState,
    objective: &mut dyn Objective,
    rates: &mut Rates,
    settings: &StepSettings,
    guard: &Guard,
    next_batch: &mut dyn FnMut() -> Result<Batch, DataError>,
) -> Result<StepReport, TrainError> {
    let start = Instant::now();
    let learning_rate = rates.model.at(state.position.step)?;
    let gradient = gradient(state, objective, settings, next_batch)?;
    let Gradient { loss, grad_norm, adversary_norm, .. } = gradient;

    // Nothing moves on a gradient that is not finite, or on a loss that the guard does not take.
    let norm = gradient.worst_norm();
    let judged = if gradient.terms.iter().all(|(_, value)| value.is_finite()) { loss } else { f64::NAN };
    if let Some(trouble) = guard.judge(judged, norm) {
        let (step, position) = (state.position.step + 1, gradient.position);
        let refused = Refused { step, trouble, loss, grad_norm: norm, position };
        return Err(TrainError::Refused(Box::new(refused)));
    }
    let adversary = state.adversary.as_mut().filter(|_| objective.has_adversary(state.position.step));
    state.optimizer.step(learning_rate, clip_factor(grad_norm, settings.clip_grad_norm))?;
    if let (Some(adversary), Some(rate)) = (adversary, &mut rates.adversary) {
        adversary.step(rate.at(state.position.step)?, clip_factor(adversary_norm, settings.clip_grad_norm))?;
    }
    if let Some(ema) = &mut state.ema {
        ema.update();
    }
    state.position = Position { step: state.position.step + 1, ..gradient.position };

    Ok(StepReport {
        step: state.position.step,
        loss,
        terms: gradient.terms,
        learning_rate,
        grad_norm,
        samples_seen: state.position.samples_seen,
        seconds: start.elapsed().as_secs_f64(),
        data_seconds: gradient.waited.as_secs_f64(),
    })
}

/// The gradient of the next step, averaged over some batches.
///
/// # Errors
/// When a component or the data fails.
pub fn gradient(
    state: &mut TrainState,
    objective: &mut dyn Objective,
    settings: &StepSettings,
    next_batch: &mut dyn FnMut() -> Result<Batch, DataError>,
) -> Result<Gradient, TrainError> {
    let step = state.position.step;
    let share = 1.0 / f64::from(settings.accumulate_batches);
    let (mut position, mut waited, mut mean) = (state.position, Duration::ZERO, Mean::default());

    // Gradients of all batches of the step add up, each with its share.
    state.optimizers().for_each(|optimizer| optimizer.zero_grad());
    for _ in 0..settings.accumulate_batches {
        let asked = Instant::now();
        let batch = next_batch()?;
        waited += asked.elapsed();
        // Dropout draws from libtorch's generator, so that is set from the batch's own stream.
        let first_sample = batch.sample_ids.first().copied().unwrap_or_default();
        generator::seed(Stream::new(settings.seed, "dropout", first_sample, 0).bits());
        let given = objective.backward(&batch, BatchPass { seed: settings.seed, step, share })?;
        state.optimizers().for_each(|optimizer| optimizer.collect_grads());
        mean.add(given.loss, given.terms, share);
        position.batches += 1;
        position.samples_seen += batch.sample_ids.len() as u64;
    }
    let adversary = state.adversary.as_ref().filter(|_| objective.has_adversary(step));
    Ok(Gradient {
        loss: mean.loss,
        terms: mean.terms,
        grad_norm: state.optimizer.grad_norm(),
        adversary_norm: adversary.map_or(0.0, |adversary| adversary.grad_norm()),
        position,
        waited,
    })
}

/// Losses of a step's batches, averaged.
#[derive(Debug, Default)]
struct Mean {
    loss: f64,
    terms: Terms,
}

impl Mean {
    fn add(&mut self, loss: f64, terms: Terms, share: f64) {
        self.loss += loss * share;
        for (name, value) in terms {
            match self.terms.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += value * share,
                None => self.terms.push((name, value * share)),
            }
        }
    }
}
