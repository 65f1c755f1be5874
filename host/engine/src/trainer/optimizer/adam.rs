//! Adam and AdamW over flat storage.

use anneal_torch::TorchError;
use anneal_torch::optim::{AdamStep, AdamTensors, Decay, fused_adam};
use tch::Tensor;

use super::{Run, StepSize};

/// Settings of Adam and AdamW that do not change over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Divide by the largest second moment so far instead of the present one (Reddi et al. 2018).
    pub amsgrad: bool,
}

/// The moments, laid out like the parameters.
#[derive(Debug)]
pub(super) struct Adam {
    settings: AdamSettings,
    decay: Decay,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    max_exp_avg_sq: Option<Tensor>,
}

impl Adam {
    /// Moments of parameters `values` that have made no step.
    pub(super) fn new(settings: AdamSettings, decay: Decay, values: &Tensor) -> Self {
        let zeros = || values.zeros_like().detach();
        Self { settings, decay, exp_avg: zeros(), exp_avg_sq: zeros(), max_exp_avg_sq: settings.amsgrad.then(zeros) }
    }

    /// The flat tensors of the state by torch's names.
    pub(super) fn flat(&self) -> Vec<(&'static str, &Tensor)> {
        let largest = self.max_exp_avg_sq.as_ref().map(|flat| ("max_exp_avg_sq", flat));
        [("exp_avg", &self.exp_avg), ("exp_avg_sq", &self.exp_avg_sq)].into_iter().chain(largest).collect()
    }

    /// Moves one run of parameters.
    pub(super) fn step(&self, run: Run, values: &Tensor, grads: &Tensor, size: &StepSize) -> Result<(), TorchError> {
        let AdamSettings { betas, eps, weight_decay, .. } = self.settings;
        let step = AdamStep { learning_rate: size.learning_rate, betas, weight_decay, decay: self.decay, eps };
        let [param, grad, exp_avg, exp_avg_sq] =
            [values, grads, &self.exp_avg, &self.exp_avg_sq].map(|flat| run.part(flat));
        let max_exp_avg_sq = self.max_exp_avg_sq.as_ref().map(|flat| run.part(flat));
        let tensors = AdamTensors {
            param: &param,
            grad: &grad,
            exp_avg: &exp_avg,
            exp_avg_sq: &exp_avg_sq,
            max_exp_avg_sq: max_exp_avg_sq.as_ref(),
        };
        let number = Tensor::from(run.steps as f32).to_device(values.device());
        fused_adam(tensors, &number, size.grad_scale.as_ref(), step)
    }
}
