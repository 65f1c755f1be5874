//! Latents and noise as handles on what the host holds.

use super::bindings::anneal::plugin::tensors;
use super::{Error, ErrorCode, Result};

/// A tensor on the host's device; the plugin holds a handle and never its values.
pub struct Latent(tensors::Latent);

/// Noise and progress of one sampling run.
pub struct Run<'a>(&'a tensors::Noise);

impl Latent {
    pub(super) fn from_host(latent: tensors::Latent) -> Self {
        Self(latent)
    }

    pub(super) fn into_host(self) -> tensors::Latent {
        self.0
    }

    /// The model's estimate of the clean latent at this sigma, guided and preconditioned.
    ///
    /// # Errors
    /// When the model fails, the calls are used up, or the user stopped.
    pub fn denoise(&self, sigma: f64) -> Result<Self> {
        Ok(Self(self.0.denoise(sigma)?))
    }

    /// Another handle on the same values; a later update of either leaves the other as it was.
    ///
    /// # Errors
    /// When too many latents are alive.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self(self.0.fork()?))
    }

    /// The sum of each coefficient times its latent.
    ///
    /// # Errors
    /// When there are no terms, a coefficient is not finite, or too many latents are alive.
    pub fn lincomb(terms: &[(f64, &Self)]) -> Result<Self> {
        Ok(Self(tensors::Latent::lincomb(&handles(terms))?))
    }

    /// `self = scale*self + sum(coefficient*latent)`, in place.
    ///
    /// # Errors
    /// When a coefficient is not finite.
    pub fn update(&mut self, scale: f64, terms: &[(f64, &Self)]) -> Result<()> {
        Ok(self.0.update(scale, &handles(terms))?)
    }

    /// Root of the mean square. Reads back from the device: for adaptive steps only.
    ///
    /// # Errors
    /// When the user stopped.
    pub fn rms(&self) -> Result<f64> {
        Ok(self.0.rms()?)
    }

    /// Root of the mean square of `self / (atol + rtol*|reference|)`. Reads back from the device: for adaptive steps.
    ///
    /// # Errors
    /// When the user stopped.
    pub fn error_ratio(&self, reference: &Self, atol: f64, rtol: f64) -> Result<f64> {
        Ok(self.0.error_ratio(&reference.0, atol, rtol)?)
    }

    /// `[n, c, h, w]`.
    pub fn shape(&self) -> Vec<u32> {
        self.0.shape()
    }
}

fn handles<'a>(terms: &[(f64, &'a Latent)]) -> Vec<(f64, &'a tensors::Latent)> {
    terms.iter().map(|(coefficient, latent)| (*coefficient, &latent.0)).collect()
}

impl<'a> Run<'a> {
    pub(super) fn from_host(noise: &'a tensors::Noise) -> Self {
        Self(noise)
    }

    /// Standard normal noise like the latent, the next of the run's stream.
    ///
    /// # Errors
    /// When too many latents are alive, or the plugin's estimate says that it draws no noise.
    pub fn gaussian(&self) -> Result<Latent> {
        Ok(Latent(self.0.gaussian()?))
    }

    /// To be told after step `step` (counted from 0) of the solver over `sigmas`.
    ///
    /// # Errors
    /// [`ErrorCode::Cancelled`] when the user asks to stop.
    pub fn progress(&self, step: usize, sigmas: &[f64]) -> Result<()> {
        let (done, total) = (step as u32 + 1, sigmas.len() as u32 - 1);
        match tensors::progress(done, total, sigmas[step + 1]) {
            true => Ok(()),
            false => Err(Error::new(ErrorCode::Cancelled, "the run was stopped")),
        }
    }
}
