//! Components as the scalar functions of diffusion.

use super::bindings::guest;
use super::contract;
use super::entry::{Entry, Interface};
use crate::diffusion::{Discretization, DrawKind, Guidance, LearningRate, SigmaSampler, Weighting};
use crate::error::ComponentError;

/// A configured entry that serves as its kind.
pub struct Scheduled<I: Interface> {
    entry: Entry<I>,
}

impl<I: Interface> Scheduled<I> {
    pub fn new(entry: Entry<I>) -> Self {
        Self { entry }
    }
}

impl Discretization for Scheduled<guest::discretization::GuestIndices> {
    fn sigmas(&mut self, n: u32) -> Result<Vec<f64>, ComponentError> {
        let sigmas = self.entry.call("sigmas", |guest, store| guest.call_sigmas(store, n))?;
        contract::grid(self.entry.name(), n, &sigmas)?;
        Ok(sigmas)
    }
}

impl Weighting for Scheduled<guest::weighting::GuestIndices> {
    fn weights(&mut self, sigmas: &[f64]) -> Result<Vec<f64>, ComponentError> {
        let weights = self.entry.call("weights", |guest, store| guest.call_weights(store, sigmas))?;
        contract::weights(self.entry.name(), sigmas, &weights)?;
        Ok(weights)
    }
}

impl Guidance for Scheduled<guest::guidance::GuestIndices> {
    fn scales(&mut self, sigmas: &[f64], num_frames: u32, num_views: u32) -> Result<Vec<f64>, ComponentError> {
        let scales =
            self.entry.call("scales", |guest, store| guest.call_scales(store, sigmas, num_frames, num_views))?;
        contract::scales(self.entry.name(), sigmas.len(), num_frames, &scales)?;
        Ok(scales)
    }
}

impl LearningRate for Scheduled<guest::learning_rate::GuestIndices> {
    fn factors(&mut self, first: u64, count: u32) -> Result<Vec<f64>, ComponentError> {
        let factors = self.entry.call("factors", |guest, store| guest.call_factors(store, first, count))?;
        contract::factors(self.entry.name(), count, &factors)?;
        Ok(factors)
    }
}

/// A distribution of sigma, and the draws it wants.
pub struct SigmaDraws {
    entry: Entry<guest::sigma_sampling::GuestIndices>,
    draw_kind: DrawKind,
}

impl SigmaDraws {
    pub fn new(mut entry: Entry<guest::sigma_sampling::GuestIndices>) -> Result<Self, ComponentError> {
        let draw_kind = match entry.call("draw", |guest, store| guest.call_draw(store).map(Ok))? {
            guest::sigma_sampling::DrawKind::Uniform => DrawKind::Uniform,
            guest::sigma_sampling::DrawKind::Gaussian => DrawKind::Gaussian,
        };
        Ok(Self { entry, draw_kind })
    }
}

impl SigmaSampler for SigmaDraws {
    fn draw_kind(&self) -> DrawKind {
        self.draw_kind
    }

    fn sample(&mut self, draws: &[f64]) -> Result<Vec<f64>, ComponentError> {
        let sigmas = self.entry.call("sample", |guest, store| guest.call_sample(store, draws))?;
        contract::samples(self.entry.name(), draws.len(), &sigmas)?;
        Ok(sigmas)
    }
}
