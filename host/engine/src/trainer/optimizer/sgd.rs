//! Stochastic gradient descent with momentum over flat storage.

use anneal_torch::TorchError;
use anneal_torch::optim::{SgdStep, fused_sgd};
use tch::Tensor;

use super::{Run, StepSize};

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
    momentum_buffer: Option<Tensor>,
}

impl Sgd {
    /// The buffer of parameters `values` that have made no step.
    pub(super) fn new(settings: SgdSettings, values: &Tensor) -> Self {
        Self { settings, momentum_buffer: (settings.momentum != 0.0).then(|| values.zeros_like().detach()) }
    }

    /// The flat tensors of the state by torch's names.
    pub(super) fn flat(&self) -> Vec<(&'static str, &Tensor)> {
        self.momentum_buffer.iter().map(|flat| ("momentum_buffer", flat)).collect()
    }

    /// Moves one run of parameters.
    pub(super) fn step(&self, run: Run, values: &Tensor, grads: &Tensor, size: &StepSize) -> Result<(), TorchError> {
        let SgdSettings { momentum, dampening, weight_decay, nesterov } = self.settings;
        let is_first = run.steps == 1;
        let learning_rate = size.learning_rate;
        let step = SgdStep { learning_rate, momentum, dampening, weight_decay, nesterov, is_first };
        let momentum_buffer = self.momentum_buffer.as_ref().map(|flat| run.part(flat));
        fused_sgd(&run.part(values), &run.part(grads), momentum_buffer.as_ref(), size.grad_scale.as_ref(), step)
    }
}
