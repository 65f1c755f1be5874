//! The step of a replay, made again.

use tch::Tensor;

use super::step::gradient;
use super::{Replay, StepSettings, TrainError, Trainer};
use crate::data::DataError;

/// What a step gave when it was made again.
#[derive(Debug)]
pub struct Replayed {
    /// Mean loss of the batches.
    pub loss: f64,
    /// L2 norm of the gradient.
    pub grad_norm: f64,
    /// Parameters whose gradients are not finite: their keys, how many of their numbers are not, and how many they have.
    pub not_finite: Vec<(String, u64, u64)>,
    /// Entries of batches that are not finite: number of the batch, and key.
    pub bad_inputs: Vec<(usize, String)>,
}

impl Trainer {
    /// Makes the step of a replay again, whose state the trainer is at. Nothing moves.
    ///
    /// # Errors
    /// When the replay cannot be read, or a component fails.
    pub fn replay(&mut self, replay: &Replay) -> Result<Replayed, TrainError> {
        let batches = replay.batches(self.state.optimizer.params().values().device())?;
        let is_finite = |tensor: &Tensor| !tensor.is_floating_point() || tensor.isfinite().all().int64_value(&[]) != 0;
        let bad_inputs = batches.iter().enumerate().flat_map(|(number, batch)| {
            let bad = batch.tensors.iter().filter(|(_, tensor)| !is_finite(tensor));
            bad.map(move |(key, _)| (number, key.clone())).collect::<Vec<_>>()
        });
        let bad_inputs = bad_inputs.collect();
        let settings = StepSettings { accumulate_batches: batches.len() as u32, ..self.step_settings() };
        let mut left = batches.into_iter();
        // As many are asked for as there are.
        let mut next = || left.next().ok_or(DataError::Stopped);
        let made = gradient(&mut self.state, self.objective.as_mut(), &settings, &mut next)?;
        let params = self.state.optimizer.params();
        let not_finite = params.places().iter().filter_map(|place| {
            let grad = place.view(params.grads());
            let bad = grad.isfinite().logical_not().sum(tch::Kind::Int64).int64_value(&[]) as u64;
            (bad > 0).then(|| (place.name.clone(), bad, place.len as u64))
        });
        Ok(Replayed { loss: made.loss, grad_norm: made.worst_norm(), not_finite: not_finite.collect(), bad_inputs })
    }
}
