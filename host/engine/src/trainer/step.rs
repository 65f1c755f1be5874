//! One optimizer step: the page everyone is sent to.

use std::time::{Duration, Instant};

use anneal_torch::{generator, random::Stream};
use tch::Kind;

use super::optimizer::clip_factor;
use super::{Schedule, TrainError, TrainState};
use crate::data::{Batch, DataError};
use crate::diffusion::{Loss, Model};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The step, counted from 1 when it is done.
    pub step: u64,
    /// Mean loss of its batches.
    pub loss: f64,
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

/// Draws, denoises, weighs, goes down the gradient and averages.
///
/// # Errors
/// When a component or the data fails, or the loss or the gradient is not finite: then nothing has moved.
pub fn train_step(
    state: &mut TrainState,
    model: &Model,
    loss: &mut Loss,
    schedule: &mut Schedule,
    settings: &StepSettings,
    next_batch: &mut dyn FnMut() -> Result<Batch, DataError>,
) -> Result<StepReport, TrainError> {
    let start = Instant::now();
    let mut waited = Duration::ZERO;
    let learning_rate = schedule.at(state.position.step)?;
    let mut position = state.position;
    let mut mean_loss = 0.0;

    // Gradients of all batches of the step add up, each with its share.
    state.optimizer.zero_grad();
    for _ in 0..settings.accumulate_batches {
        let asked = Instant::now();
        let batch = next_batch()?;
        waited += asked.elapsed();
        // Dropout draws from libtorch's generator, so that is set from the batch's own stream.
        let first_sample = batch.sample_ids.first().copied().unwrap_or_default();
        generator::seed(Stream::new(settings.seed, "dropout", first_sample, 0).bits());
        let share = model.loss(loss, &batch, settings.seed, true)? / f64::from(settings.accumulate_batches);
        share.f_backward()?;
        state.optimizer.collect_grads();
        mean_loss += share.to_kind(Kind::Double).double_value(&[]);
        position.batches += 1;
        position.samples_seen += batch.sample_ids.len() as u64;
    }

    // Nothing moves on a gradient that is not finite.
    let grad_norm = state.optimizer.grad_norm();
    if !mean_loss.is_finite() || !grad_norm.is_finite() {
        return Err(TrainError::NonFinite { step: position.step + 1, loss: mean_loss, grad_norm });
    }
    state.optimizer.step(learning_rate, clip_factor(grad_norm, settings.clip_grad_norm))?;
    if let Some(ema) = &mut state.ema {
        ema.update();
    }
    position.step += 1;
    state.position = position;

    Ok(StepReport {
        step: position.step,
        loss: mean_loss,
        learning_rate,
        grad_norm,
        samples_seen: position.samples_seen,
        seconds: start.elapsed().as_secs_f64(),
        data_seconds: waited.as_secs_f64(),
    })
}
