//! A host of plain numbers for a plugin's own tests: it counts, and it holds a sampler to its estimate.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::{Cost, Error, ErrorCode, Latent, Result, Run, Sampler};

/// Values and sigma to the clean values.
type Model = Box<dyn FnMut(&[f64], f64) -> Vec<f64>>;

/// Runs samplers over lists of numbers.
///
/// ```
/// use plugin_api::wasm::{prelude::*, testing::Host};
///
/// struct Euler;
/// impl Sampler for Euler {
///     fn estimate(&self, num_steps: u32) -> Cost {
///         Cost { denoise_calls: num_steps, live_latents: 2, draws_noise: false }
///     }
///     fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
///         for i in 0..sigmas.len() - 1 {
///             let h = (sigmas[i + 1] - sigmas[i]) / sigmas[i];
///             let denoised = x.denoise(sigmas[i])?;
///             x.update(1.0 + h, &[(-h, &denoised)])?;
///             run.progress(i, sigmas)?;
///         }
///         Ok(x)
///     }
/// }
/// let outcome = Host::new(|x, _| vec![3.0; x.len()]).sample(&Euler, vec![9.0], &[2.0, 1.0, 0.0]).unwrap();
/// assert_eq!(outcome.values, [3.0]);
/// assert_eq!(outcome.denoised_at, [2.0, 1.0]);
/// ```
pub struct Host {
    model: Model,
    noise: VecDeque<Vec<f64>>,
    stop_after: usize,
}

/// What a run left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The sample.
    pub values: Vec<f64>,
    /// The sigma of each call of the model.
    pub denoised_at: Vec<f64>,
    /// How often noise was drawn.
    pub draws: usize,
    /// The most latents that were alive at once.
    pub peak_latents: u32,
    /// Steps told as done.
    pub steps: usize,
}

impl Host {
    /// A host with this model, which gets the values and sigma.
    pub fn new(model: impl FnMut(&[f64], f64) -> Vec<f64> + 'static) -> Self {
        Self { model: Box::new(model), noise: VecDeque::new(), stop_after: usize::MAX }
    }

    /// With these draws of noise, in order.
    #[must_use]
    pub fn with_noise(mut self, draws: impl IntoIterator<Item = Vec<f64>>) -> Self {
        self.noise = draws.into_iter().collect();
        self
    }

    /// With a user who stops the run after a number of steps.
    #[must_use]
    pub fn stopping_after(mut self, steps: usize) -> Self {
        self.stop_after = steps;
        self
    }

    /// Runs `sampler` within its own estimate.
    ///
    /// # Errors
    /// What the sampler returns; `BudgetExhausted` when it goes past its estimate.
    pub fn sample(self, sampler: &dyn Sampler, x: Vec<f64>, sigmas: &[f64]) -> Result<Outcome> {
        let cost = sampler.estimate(sigmas.len() as u32 - 1);
        let ledger = Rc::new(RefCell::new(Ledger::new(self, cost)));
        let latent = Latent::new(x, &ledger)?;
        let values = sampler.sample(latent, sigmas, &Run::new(&ledger))?.values();
        let ledger = ledger.borrow();
        if ledger.live > 0 {
            return Err(Error::new(ErrorCode::Internal, format!("{} latents are still alive", ledger.live)));
        }
        Ok(Outcome {
            values,
            denoised_at: ledger.denoised_at.clone(),
            draws: ledger.draws,
            peak_latents: ledger.peak,
            steps: ledger.steps,
        })
    }
}

/// The books of one run.
pub(super) struct Ledger {
    host: Host,
    cost: Cost,
    pub(super) live: u32,
    peak: u32,
    denoised_at: Vec<f64>,
    draws: usize,
    steps: usize,
}

impl Ledger {
    fn new(host: Host, cost: Cost) -> Self {
        Self { host, cost, live: 0, peak: 0, denoised_at: Vec::new(), draws: 0, steps: 0 }
    }

    pub(super) fn create(&mut self) -> Result<()> {
        if self.live == self.cost.live_latents {
            return Err(exhausted(format!("more than {} latents alive", self.live)));
        }
        self.live += 1;
        self.peak = self.peak.max(self.live);
        Ok(())
    }

    pub(super) fn denoise(&mut self, values: &[f64], sigma: f64) -> Result<Vec<f64>> {
        if sigma <= 0.0 || !sigma.is_finite() {
            return Err(Error::invalid_argument(format!("denoise at sigma {sigma}")));
        }
        if self.denoised_at.len() == self.cost.denoise_calls as usize {
            return Err(exhausted(format!("more than {} calls of the model", self.cost.denoise_calls)));
        }
        self.denoised_at.push(sigma);
        Ok((self.host.model)(values, sigma))
    }

    pub(super) fn draw(&mut self) -> Result<Vec<f64>> {
        if !self.cost.draws_noise {
            return Err(exhausted("noise drawn, which the estimate excludes".to_owned()));
        }
        self.draws += 1;
        self.host.noise.pop_front().ok_or_else(|| exhausted(format!("no noise for draw {}", self.draws)))
    }

    pub(super) fn progress(&mut self, step: usize, total: usize) -> Result<()> {
        assert_eq!((step, step <= total), (self.steps + 1, true), "steps are told in order");
        self.steps = step;
        if step < self.host.stop_after {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Cancelled, "the run was stopped"))
    }
}

fn exhausted(message: String) -> Error {
    Error::new(ErrorCode::BudgetExhausted, message)
}
