//! AdamW on flat storage, its state open to checkpoints.

use anneal_torch::optim::{AdamWStep, fused_adamw};
use anneal_torch::{TorchError, grad_mode};
use tch::{Kind, Tensor};

use super::FlatParams;
use crate::weights::Named;

/// Settings that do not change over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWSettings {
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), as `torch.optim.AdamW`.
#[derive(Debug)]
pub struct AdamW {
    params: FlatParams,
    settings: AdamWSettings,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    // Steps each parameter has made: less than the run's where its first gradient came late.
    steps: Vec<i64>,
}

impl AdamW {
    /// An optimizer of `params` that has made no step.
    pub fn new(params: FlatParams, settings: AdamWSettings) -> Self {
        let zeros = || params.values().zeros_like().detach();
        let (exp_avg, exp_avg_sq) = (zeros(), zeros());
        let steps = vec![0; params.places().len()];
        Self { params, settings, exp_avg, exp_avg_sq, steps }
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
        let AdamWSettings { betas, eps, weight_decay } = self.settings;
        let step = AdamWStep { learning_rate, betas, weight_decay, eps };
        for (made, reached) in self.steps.iter_mut().zip(self.params.reached()) {
            *made += i64::from(*reached);
        }
        let on_device = |value: f32| Tensor::from(value).to_device(self.exp_avg.device());
        // Scaling inside the step saves a pass over the gradient.
        let grad_scale = (grad_factor != 1.0).then(|| on_device((1.0 / grad_factor) as f32));
        for (offset, len, made) in self.runs() {
            let part = |flat: &Tensor| flat.narrow(0, offset, len);
            // The op counts the step itself where it is given the number before.
            fused_adamw(
                &part(self.params.values()),
                &part(self.params.grads()),
                &part(&self.exp_avg),
                &part(&self.exp_avg_sq),
                &on_device(made as f32),
                grad_scale.as_ref(),
                step,
            )?;
        }
        Ok(())
    }

    /// Neighbouring parameters with the same number of steps, as `(offset, length, steps)`; those without any left out.
    fn runs(&self) -> Vec<(i64, i64, i64)> {
        let mut runs: Vec<(i64, i64, i64)> = Vec::new();
        for ((place, &made), reached) in self.params.places().iter().zip(&self.steps).zip(self.params.reached()) {
            if !reached {
                continue;
            }
            match runs.last_mut() {
                Some((offset, len, steps)) if *offset + *len == place.offset && *steps == made => *len += place.len,
                _ => runs.push((place.offset, place.len, made)),
            }
        }
        runs
    }

    /// The state by key: `exp_avg.KEY`, `exp_avg_sq.KEY`, and `steps` in the order of the parameters.
    pub fn state(&self) -> Vec<Named> {
        let moments =
            [("exp_avg", &self.exp_avg), ("exp_avg_sq", &self.exp_avg_sq)].into_iter().flat_map(|(kind, flat)| {
                self.params.named_views(flat).into_iter().map(move |(name, view)| (format!("{kind}.{name}"), view))
            });
        moments.chain([("steps".to_owned(), Tensor::from_slice(&self.steps))]).collect()
    }

    /// Whether `state` fits these parameters.
    ///
    /// # Errors
    /// What is missing, left over or of another shape.
    pub fn check_state(&self, state: &[Named]) -> Result<(), String> {
        super::state::check_keys(&self.state(), state).map_err(|error| format!("optimizer state: {error}"))
    }

    /// Takes over a state that [`AdamW::state`] gave.
    ///
    /// # Errors
    /// As [`AdamW::check_state`]; nothing is changed then.
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

#[cfg(test)]
mod tests {
    use super::*;
    const SETTINGS: AdamWSettings = AdamWSettings { betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.1 };

    fn adamw() -> (Tensor, Tensor, AdamW) {
        let leaf = |values: &[f32]| Tensor::from_slice(values).set_requires_grad(true);
        let (a, b) = (leaf(&[1.0, -2.0]), leaf(&[0.5]));
        let named = vec![("a".to_owned(), a.shallow_clone()), ("b".to_owned(), b.shallow_clone())];
        let optimizer = AdamW::new(FlatParams::new(named), SETTINGS);
        (a, b, optimizer)
    }

    fn one_step(optimizer: &mut AdamW, loss: &dyn Fn() -> Tensor) {
        optimizer.zero_grad();
        loss().backward();
        optimizer.collect_grads();
        optimizer.step(0.01, 1.0).unwrap();
    }

    /// The equations of the paper, written out in f64 for one number.
    fn by_hand(mut x: f64, steps: usize, grad: impl Fn(f64) -> f64) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for t in 1..=steps as i32 {
            let g = grad(x);
            x *= 1.0 - 0.01 * SETTINGS.weight_decay;
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            x -= 0.01 * (m / (1.0 - 0.9_f64.powi(t))) / ((v / (1.0 - 0.99_f64.powi(t))).sqrt() + SETTINGS.eps);
        }
        x
    }

    #[test]
    fn steps_follow_the_paper_and_unreached_parameters_stay() {
        let (a, b, mut optimizer) = adamw();
        for _ in 0..5 {
            one_step(&mut optimizer, &|| (&a * &a).sum(Kind::Float));
        }
        assert!((a.double_value(&[0]) - by_hand(1.0, 5, |x| 2.0 * x)).abs() < 1e-5);
        assert_eq!(b.double_value(&[0]), 0.5);
        // A late first gradient starts its own count.
        for _ in 0..3 {
            one_step(&mut optimizer, &|| (&a * &a).sum(Kind::Float) + (&b * &b).sum(Kind::Float));
        }
        assert!((b.double_value(&[0]) - by_hand(0.5, 3, |x| 2.0 * x)).abs() < 1e-5);
        assert!((a.double_value(&[0]) - by_hand(1.0, 8, |x| 2.0 * x)).abs() < 1e-5);
    }

    #[test]
    fn a_restored_optimizer_goes_on_bit_for_bit() {
        let (a, _, mut optimizer) = adamw();
        let loss = |a: &Tensor| (a * a).sum(Kind::Float);
        one_step(&mut optimizer, &|| loss(&a));
        let state: Vec<Named> = optimizer.state().iter().map(|(name, t)| (name.clone(), t.copy())).collect();
        let weights = a.detach().copy();
        one_step(&mut optimizer, &|| loss(&a));
        let (a2, _, mut other) = adamw();
        {
            let _no_grad = grad_mode::no_grad();
            a2.shallow_clone().copy_(&weights);
        }
        other.load_state(&state).unwrap();
        one_step(&mut other, &|| loss(&a2));
        assert!(a.equal(&a2));
        assert!(other.load_state(&state[1..]).unwrap_err().contains("missing"));
    }

    #[test]
    fn clipping_scales_the_whole_gradient_to_the_norm() {
        assert_eq!((clip_factor(3.0, None), clip_factor(0.5, Some(1.0))), (1.0, 1.0));
        let (a, b, mut optimizer) = adamw();
        // With one step and an eps that dwarfs the gradient, a parameter moves by the gradient itself.
        optimizer.settings = AdamWSettings { betas: [0.0, 0.0], eps: 1e6, weight_decay: 0.0 };
        let before = [a.double_value(&[1]), b.double_value(&[0])];
        optimizer.zero_grad();
        ((&a * 3.0).sum(Kind::Float) + (&b * 4.0).sum(Kind::Float)).backward();
        optimizer.collect_grads();
        let norm = optimizer.grad_norm();
        assert!((norm - 34_f64.sqrt()).abs() < 1e-5);
        optimizer.step(1e6, clip_factor(norm, Some(1.0))).unwrap();
        let moved = [before[0] - a.double_value(&[1]), before[1] - b.double_value(&[0])];
        assert!((moved[0] - 3.0 / norm).abs() < 1e-4 && (moved[1] - 4.0 / norm).abs() < 1e-4, "{moved:?}");
    }
}
