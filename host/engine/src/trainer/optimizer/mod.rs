//! Optimizers on flat storage, their state open to checkpoints.

mod adam;
mod sgd;
#[cfg(test)]
mod tests;

use anneal_torch::optim::Decay;
use anneal_torch::{TorchError, grad_mode};
use tch::{Kind, Tensor};

use self::adam::Adam;
pub use self::adam::AdamSettings;
use self::sgd::Sgd;
pub use self::sgd::SgdSettings;
use super::FlatParams;
use crate::config::OptimizerConfig;
use crate::weights::Named;

/// An optimizer by kind, with what does not change over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptimizerSettings {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), as `torch.optim.AdamW`.
    AdamW(AdamSettings),
    /// Adam with weight decay added to the gradient (Kingma and Ba 2015), as `torch.optim.Adam`.
    Adam(AdamSettings),
    /// Gradient descent with momentum, as `torch.optim.SGD`.
    Sgd(SgdSettings),
}

impl From<&OptimizerConfig> for OptimizerSettings {
    fn from(config: &OptimizerConfig) -> Self {
        match *config {
            OptimizerConfig::Adamw { betas, eps, weight_decay, amsgrad, .. } => {
                Self::AdamW(AdamSettings { betas, eps, weight_decay, amsgrad })
            }
            OptimizerConfig::Adam { betas, eps, weight_decay, amsgrad, .. } => {
                Self::Adam(AdamSettings { betas, eps, weight_decay, amsgrad })
            }
            OptimizerConfig::Sgd { momentum, dampening, weight_decay, nesterov, .. } => {
                Self::Sgd(SgdSettings { momentum, dampening, weight_decay, nesterov })
            }
        }
    }
}

/// Moves trained parameters down their gradient.
#[derive(Debug)]
pub struct Optimizer {
    params: FlatParams,
    rule: Rule,
    // Steps each parameter has made: less than the run's where its first gradient came late.
    steps: Vec<i64>,
}

/// How a step is made, and what it remembers.
#[derive(Debug)]
enum Rule {
    Adam(Adam),
    Sgd(Sgd),
}

impl Rule {
    fn flat(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Self::Adam(adam) => adam.flat(),
            Self::Sgd(sgd) => sgd.flat(),
        }
    }
}

/// Neighbouring parameters that make the same number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// First element.
    offset: i64,
    /// Elements.
    len: i64,
    /// Number of the step that they make, counted from 1.
    steps: i64,
}

impl Run {
    /// Its part of a flat tensor.
    fn part(&self, flat: &Tensor) -> Tensor {
        flat.narrow(0, self.offset, self.len)
    }
}

/// How far one step goes.
struct StepSize {
    learning_rate: f64,
    /// What gradients are divided by first, `[]` f32.
    grad_scale: Option<Tensor>,
}

impl Optimizer {
    /// An optimizer of `params` that has made no step.
    pub fn new(params: FlatParams, settings: OptimizerSettings) -> Self {
        let values = params.values();
        let rule = match settings {
            OptimizerSettings::AdamW(adam) => Rule::Adam(Adam::new(adam, Decay::Decoupled, values)),
            OptimizerSettings::Adam(adam) => Rule::Adam(Adam::new(adam, Decay::Coupled, values)),
            OptimizerSettings::Sgd(sgd) => Rule::Sgd(Sgd::new(sgd, values)),
        };
        let steps = vec![0; params.places().len()];
        Self { params, rule, steps }
    }

    /// The parameters.
    pub fn params(&self) -> &FlatParams {
        &self.params
    }

    /// Forgets all gradients.
    pub fn zero_grad(&mut self) {
        self.params.zero_grad();
    }

    /// Takes in gradients after a backward.
    pub fn collect_grads(&mut self) {
        self.params.collect();
    }

    /// The L2 norm of the whole gradient.
    pub fn grad_norm(&self) -> f64 {
        let _no_grad = grad_mode::no_grad();
        self.params.grads().norm().to_kind(Kind::Double).double_value(&[])
    }

    /// Moves the parameters that have a gradient, which is multiplied by `grad_factor` first: see [`clip_factor`].
    ///
    /// # Errors
    /// When libtorch refuses, which would be a bug.
    pub fn step(&mut self, learning_rate: f64, grad_factor: f64) -> Result<(), TorchError> {
        for (made, reached) in self.steps.iter_mut().zip(self.params.reached()) {
            *made += i64::from(*reached);
        }
        let (values, grads) = (self.params.values(), self.params.grads());
        // Scaling inside the step saves a pass over the gradient.
        let grad_scale =
            (grad_factor != 1.0).then(|| Tensor::from((1.0 / grad_factor) as f32).to_device(values.device()));
        let size = StepSize { learning_rate, grad_scale };
        for run in self.runs() {
            match &self.rule {
                Rule::Adam(adam) => adam.step(run, values, grads, &size)?,
                Rule::Sgd(sgd) => sgd.step(run, values, grads, &size)?,
            }
        }
        Ok(())
    }

    /// All parameters but those that never had a gradient, in as few runs as can be.
    fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for ((place, &steps), reached) in self.params.places().iter().zip(&self.steps).zip(self.params.reached()) {
            if !reached {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.offset + run.len == place.offset && run.steps == steps => run.len += place.len,
                _ => runs.push(Run { offset: place.offset, len: place.len, steps }),
            }
        }
        runs
    }

    /// The state by key: what the kind remembers of each parameter, by torch's names (`exp_avg.KEY`, `exp_avg_sq.KEY`,
    /// `max_exp_avg_sq.KEY`; `momentum_buffer.KEY`), and `steps` in the order of the parameters.
    pub fn state(&self) -> Vec<Named> {
        let remembered = self.rule.flat().into_iter().flat_map(|(kind, flat)| {
            self.params.named_views(flat).into_iter().map(move |(name, view)| (format!("{kind}.{name}"), view))
        });
        remembered.chain([("steps".to_owned(), Tensor::from_slice(&self.steps))]).collect()
    }

    /// Whether `state` fits these parameters and this kind of optimizer.
    ///
    /// # Errors
    /// What is missing, left over or of another shape.
    pub fn check_state(&self, state: &[Named]) -> Result<(), String> {
        super::state::check_keys(&self.state(), state).map_err(|error| format!("optimizer state: {error}"))
    }

    /// Takes over a state that [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// As [`Optimizer::check_state`]; nothing is changed then.
    pub fn load_state(&mut self, state: &[Named]) -> Result<(), String> {
        self.check_state(state)?;
        super::state::copy_by_key(&self.state(), state);
        if let Some((_, steps)) = state.iter().find(|(name, _)| name == "steps") {
            self.steps = Vec::<i64>::try_from(steps.to_kind(Kind::Int64)).map_err(|error| error.to_string())?;
        }
        let reached = self.steps.iter().map(|made| *made > 0).collect();
        self.params.set_reached(reached);
        Ok(())
    }
}

/// What a gradient of norm `norm` is multiplied by so that its norm is at most `max_norm`, as in
/// `torch.nn.utils.clip_grad_norm_`.
pub fn clip_factor(norm: f64, max_norm: Option<f64>) -> f64 {
    max_norm.map_or(1.0, |max_norm| (max_norm / (norm + 1e-6)).min(1.0))
}
