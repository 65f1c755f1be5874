//! Optimizers on flat storage, their state open to checkpoints.

mod adam;
mod moment;
mod sgd;
#[cfg(test)]
mod tests;

use anneal_torch::optim::Decay;
use anneal_torch::{TorchError, grad_mode};
use tch::{Kind, Tensor};

use self::adam::Adam;
pub use self::adam::AdamSettings;
use self::moment::{BLOCK, Moment};
use self::sgd::Sgd;
pub use self::sgd::SgdSettings;
use super::{FlatLayout, FlatParams, Place};
use crate::config::{Moments, OptimizerConfig};
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

impl OptimizerSettings {
    fn weight_decay(&self) -> f64 {
        match self {
            Self::AdamW(adam) | Self::Adam(adam) => adam.weight_decay,
            Self::Sgd(sgd) => sgd.weight_decay,
        }
    }
}

/// How parameters of one group are moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupRates {
    /// Factor of the learning rate.
    pub learning_rate_factor: f64,
    /// Weight decay in place of the optimizer's.
    pub weight_decay: Option<f64>,
}

/// Which parameters are of which group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Groups {
    /// The groups.
    pub rates: Vec<GroupRates>,
    /// The group of each parameter by index; those of none are moved as the optimizer's settings say.
    pub of: Vec<Option<usize>>,
    /// So many parameters, the first ones, lie before all others in memory.
    pub num_first: usize,
}

/// Moves trained parameters down their gradient.
#[derive(Debug)]
pub struct Optimizer {
    params: FlatParams,
    rule: Rule,
    weight_decay: f64,
    groups: Groups,
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
    fn moments(&self) -> Vec<(&'static str, &Moment)> {
        match self {
            Self::Adam(adam) => adam.moments(),
            Self::Sgd(sgd) => sgd.moments(),
        }
    }
}

/// Neighbouring parameters of one group that make the same number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// First element.
    offset: i64,
    /// Elements.
    len: i64,
    /// Number of the step that they make, counted from 1.
    steps: i64,
    /// Their group.
    group: Option<usize>,
}

impl Run {
    /// The run in parts of `len_max` values, the last one as long as it comes.
    fn chunks(self, len_max: i64) -> impl Iterator<Item = Self> {
        let end = self.offset + self.len;
        let next = move |run: &Self| {
            let offset = run.offset + run.len;
            (offset < end).then(|| Self { offset, len: len_max.min(end - offset), ..self })
        };
        std::iter::successors(Some(Self { len: len_max.min(self.len), ..self }), next)
    }
}

/// How far one step goes.
struct StepSize {
    learning_rate: f64,
    weight_decay: f64,
    /// What gradients are divided by first, `[]` f32.
    grad_scale: Option<Tensor>,
}

impl Optimizer {
    /// An optimizer of `params`, f32 leaves on one device, that has made no step. Their storage is moved into one tensor.
    pub fn new(params: Vec<Named>, settings: OptimizerSettings) -> Self {
        Self::with_groups(params, settings, Moments::F32, Groups::default())
    }

    /// As [`Optimizer::new`], with groups that are moved in another way, and moments of the kind `moments`.
    pub fn with_groups(params: Vec<Named>, settings: OptimizerSettings, moments: Moments, groups: Groups) -> Self {
        // One group's lie side by side, so that a step is one operation for each group and not for each parameter.
        let rank = |i: usize| {
            let group = groups.of.get(i).copied().flatten().map_or(0, |group| group + 1);
            if i < groups.num_first { group } else { group + groups.rates.len() + 1 }
        };
        let ranks = (0..params.len()).map(rank).collect();
        // A block in 8 bits is of one parameter.
        let block = if moments == Moments::Int8 { BLOCK } else { 1 };
        let params = FlatParams::laid_out(params, &FlatLayout { ranks, block });
        let values = params.values();
        let rule = match settings {
            OptimizerSettings::AdamW(adam) => Rule::Adam(Adam::new(adam, Decay::Decoupled, moments, values)),
            OptimizerSettings::Adam(adam) => Rule::Adam(Adam::new(adam, Decay::Coupled, moments, values)),
            OptimizerSettings::Sgd(sgd) => Rule::Sgd(Sgd::new(sgd, moments, values)),
        };
        let steps = vec![0; params.places().len()];
        Self { params, rule, weight_decay: settings.weight_decay(), groups, steps }
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
        let _no_grad = grad_mode::no_grad();
        for (made, reached) in self.steps.iter_mut().zip(self.params.reached()) {
            *made += i64::from(*reached);
        }
        let (values, grads) = (self.params.values(), self.params.grads());
        // Scaling inside the step saves a pass over the gradient.
        let grad_scale =
            (grad_factor != 1.0).then(|| Tensor::from((1.0 / grad_factor) as f32).to_device(values.device()));
        for run in self.runs() {
            let rates = run.group.and_then(|group| self.groups.rates.get(group));
            let size = StepSize {
                learning_rate: learning_rate * rates.map_or(1.0, |rates| rates.learning_rate_factor),
                weight_decay: rates.and_then(|rates| rates.weight_decay).unwrap_or(self.weight_decay),
                grad_scale: grad_scale.as_ref().map(Tensor::shallow_clone),
            };
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
        for &i in self.params.in_memory().iter().filter(|&&i| self.params.reached()[i]) {
            let (place, steps) = (&self.params.places()[i], self.steps[i]);
            let group = self.groups.of.get(i).copied().flatten();
            match runs.last_mut() {
                Some(run) if run.offset + run.len == place.offset && (run.steps, run.group) == (steps, group) => {
                    run.len += place.room;
                }
                _ => runs.push(Run { offset: place.offset, len: place.room, steps, group }),
            }
        }
        runs
    }

    /// The state by key: what the kind remembers of each parameter, by torch's names (`exp_avg.KEY`, `exp_avg_sq.KEY`,
    /// `max_exp_avg_sq.KEY`; `momentum_buffer.KEY`; in 8 bits also the blocks' `exp_avg_scale.KEY` and so on), and `steps` in
    /// the order of the parameters.
    pub fn state(&self) -> Vec<Named> {
        let mut state = Vec::new();
        for (kind, moment) in self.rule.moments() {
            for (of, tensor, values) in moment.tensors() {
                let view = |place: &Place| match values {
                    1 => place.view(tensor),
                    _ => tensor.narrow(0, place.offset / values, place.room / values),
                };
                let places = self.params.places().iter();
                state.extend(places.map(|place| (format!("{kind}{of}.{}", place.name), view(place))));
            }
        }
        state.push(("steps".to_owned(), Tensor::from_slice(&self.steps)));
        state
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
