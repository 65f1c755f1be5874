//! Stochastic gradient descent with momentum over flat storage.

use anneal_torch::TorchError;
use anneal_torch::optim::{SgdStep, fused_sgd};
use tch::Tensor;

use super::moment::{Moment, Sign};
use super::{Run, StepSize};
use crate::config::Moments;

/// Settings of SGD that do not change over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdSettings {
    /// Share of the momentum buffer that is kept; there is no buffer at 0.
    pub momentum: f64,
    /// Share of the gradient that is kept out of the buffer.
    pub dampening: f64,
    /// The parameter times this is added to the gradient.
    pub weight_decay: f64,
    /// Look ahead along the momentum, which has to be above 0, and without dampening.
    pub nesterov: bool,
}

/// The momentum buffer, laid out like the parameters.
#[derive(Debug)]
pub(super) struct Sgd {
    settings: SgdSettings,
    momentum_buffer: Option<Moment>,
}

impl Sgd {
    /// The buffer of parameters `values` that have made no step.
    pub(super) fn new(settings: SgdSettings, moments: Moments, values: &Tensor) -> Self {
        let zeros = || Moment::new(moments, Sign::Either, values);
        Self { settings, momentum_buffer: (settings.momentum != 0.0).then(zeros) }
    }

    /// The moments by torch's names.
    pub(super) fn moments(&self) -> Vec<(&'static str, &Moment)> {
        self.momentum_buffer.iter().map(|moment| ("momentum_buffer", moment)).collect()
    }

    /// Moves one run of parameters.
    pub(super) fn step(&self, run: Run, values: &Tensor, grads: &Tensor, size: &StepSize) -> Result<(), TorchError> {
        let SgdSettings { momentum, dampening, nesterov, .. } = self.settings;
        let StepSize { learning_rate, weight_decay, .. } = *size;
        let is_first = run.steps == 1;
        let step = SgdStep { learning_rate, momentum, dampening, weight_decay, nesterov, is_first };
        let chunk = self.momentum_buffer.as_ref().map_or(i64::MAX, Moment::chunk);
        for Run { offset, len, steps, .. } in run.chunks(chunk) {
            let [param, grad] = [values, grads].map(|flat| flat.narrow(0, offset, len));
            let buffer = self.momentum_buffer.as_ref().map(|moment| moment.open(offset, len));
            fused_sgd(&param, &grad, buffer.as_ref(), size.grad_scale.as_ref(), step)?;
            if let (Some(moment), Some(values)) = (&self.momentum_buffer, &buffer) {
                moment.close(offset, values, steps);
            }
        }
        Ok(())
    }
}
