//! Adam and AdamW over flat storage.

use anneal_torch::TorchError;
use anneal_torch::optim::{AdamStep, AdamTensors, Decay, fused_adam};
use tch::Tensor;

use super::moment::{Moment, Sign};
use super::{Run, StepSize};
use crate::config::Moments;

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
    exp_avg: Moment,
    exp_avg_sq: Moment,
    max_exp_avg_sq: Option<Moment>,
}

impl Adam {
    /// Moments of parameters `values` that have made no step.
    pub(super) fn new(settings: AdamSettings, decay: Decay, moments: Moments, values: &Tensor) -> Self {
        let zeros = |sign| Moment::new(moments, sign, values);
        Self {
            settings,
            decay,
            exp_avg: zeros(Sign::Either),
            exp_avg_sq: zeros(Sign::Positive),
            max_exp_avg_sq: settings.amsgrad.then(|| zeros(Sign::Positive)),
        }
    }

    /// The moments by torch's names.
    pub(super) fn moments(&self) -> Vec<(&'static str, &Moment)> {
        let largest = self.max_exp_avg_sq.as_ref().map(|moment| ("max_exp_avg_sq", moment));
        [("exp_avg", &self.exp_avg), ("exp_avg_sq", &self.exp_avg_sq)].into_iter().chain(largest).collect()
    }

    /// Moves one run of parameters.
    pub(super) fn step(&self, run: Run, values: &Tensor, grads: &Tensor, size: &StepSize) -> Result<(), TorchError> {
        let AdamSettings { betas, eps, .. } = self.settings;
        let StepSize { learning_rate, weight_decay, .. } = *size;
        let step = AdamStep { learning_rate, betas, weight_decay, decay: self.decay, eps };
        let number = Tensor::from(run.steps as f32).to_device(values.device());
        for Run { offset, len, steps, .. } in run.chunks(self.exp_avg.chunk()) {
            let [exp_avg, exp_avg_sq] = [&self.exp_avg, &self.exp_avg_sq].map(|moment| moment.open(offset, len));
            let max_exp_avg_sq = self.max_exp_avg_sq.as_ref().map(|moment| moment.open(offset, len));
            let tensors = AdamTensors {
                param: &values.narrow(0, offset, len),
                grad: &grads.narrow(0, offset, len),
                exp_avg: &exp_avg,
                exp_avg_sq: &exp_avg_sq,
                max_exp_avg_sq: max_exp_avg_sq.as_ref(),
            };
            fused_adam(tensors, &number, size.grad_scale.as_ref(), step)?;
            self.exp_avg.close(offset, &exp_avg, steps);
            self.exp_avg_sq.close(offset, &exp_avg_sq, steps);
            if let (Some(moment), Some(values)) = (&self.max_exp_avg_sq, &max_exp_avg_sq) {
                moment.close(offset, values, steps);
            }
        }
        Ok(())
    }
}
