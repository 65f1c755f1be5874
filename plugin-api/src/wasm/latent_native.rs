//! Latents and noise of plain numbers, for a sampler's tests.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use super::testing::Ledger;
use super::{Error, Result};

/// A list of numbers with the interface of the host's latents.
pub struct Latent {
    values: Vec<f64>,
    ledger: Rc<RefCell<Ledger>>,
}

/// Noise and progress of one sampling run.
pub struct Run<'a> {
    ledger: Rc<RefCell<Ledger>>,
    lifetime: PhantomData<&'a ()>,
}

impl Latent {
    pub(super) fn new(values: Vec<f64>, ledger: &Rc<RefCell<Ledger>>) -> Result<Self> {
        ledger.borrow_mut().create()?;
        Ok(Self { values, ledger: ledger.clone() })
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.values.clone()
    }

    /// The model's estimate of the clean latent at this sigma, guided and preconditioned.
    ///
    /// # Errors
    /// When sigma is not positive, the calls are used up, or the user stopped.
    pub fn denoise(&self, sigma: f64) -> Result<Self> {
        let denoised = self.ledger.borrow_mut().denoise(&self.values, sigma)?;
        Self::new(denoised, &self.ledger)
    }

    /// Another handle on the same values; a later update of either leaves the other as it was.
    ///
    /// # Errors
    /// When too many latents are alive.
    pub fn fork(&self) -> Result<Self> {
        Self::new(self.values.clone(), &self.ledger)
    }

    /// The sum of each coefficient times its latent.
    ///
    /// # Errors
    /// When there are no terms, a coefficient is not finite, or too many latents are alive.
    pub fn lincomb(terms: &[(f64, &Self)]) -> Result<Self> {
        let Some((_, first)) = terms.first() else {
            return Err(Error::invalid_argument("a linear combination of no latents"));
        };
        Self::new(sum(vec![0.0; first.values.len()], terms)?, &first.ledger)
    }

    /// `self = scale*self + sum(coefficient*latent)`, in place.
    ///
    /// # Errors
    /// When a coefficient is not finite.
    pub fn update(&mut self, scale: f64, terms: &[(f64, &Self)]) -> Result<()> {
        finite(scale)?;
        self.values = sum(self.values.iter().map(|value| scale * value).collect(), terms)?;
        Ok(())
    }

    /// Root of the mean square.
    ///
    /// # Errors
    /// Never here; on the host when the user stopped.
    pub fn rms(&self) -> Result<f64> {
        Ok((self.values.iter().map(|value| value * value).sum::<f64>() / self.values.len() as f64).sqrt())
    }

    /// Root of the mean square of `self / (atol + rtol*|reference|)`.
    ///
    /// # Errors
    /// Never here; on the host when the user stopped.
    pub fn error_ratio(&self, reference: &Self, atol: f64, rtol: f64) -> Result<f64> {
        let ratios =
            self.values.iter().zip(&reference.values).map(|(value, wanted)| value / (atol + rtol * wanted.abs()));
        Ok((ratios.map(|ratio| ratio * ratio).sum::<f64>() / self.values.len() as f64).sqrt())
    }

    /// The number of values.
    pub fn shape(&self) -> Vec<u32> {
        vec![self.values.len() as u32]
    }
}

impl Drop for Latent {
    fn drop(&mut self) {
        self.ledger.borrow_mut().live -= 1;
    }
}

fn sum(mut values: Vec<f64>, terms: &[(f64, &Latent)]) -> Result<Vec<f64>> {
    for (coefficient, latent) in terms {
        finite(*coefficient)?;
        assert_eq!(latent.values.len(), values.len(), "latents of one run have one shape");
        for (value, term) in values.iter_mut().zip(&latent.values) {
            *value += coefficient * term;
        }
    }
    Ok(values)
}

fn finite(coefficient: f64) -> Result<()> {
    if coefficient.is_finite() {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("coefficient {coefficient} is not finite")))
}

impl Run<'_> {
    pub(super) fn new(ledger: &Rc<RefCell<Ledger>>) -> Self {
        Self { ledger: ledger.clone(), lifetime: PhantomData }
    }

    /// Standard normal noise like the latent, the next of the run's stream.
    ///
    /// # Errors
    /// When too many latents are alive, or the plugin's estimate says that it draws no noise.
    pub fn gaussian(&self) -> Result<Latent> {
        let noise = self.ledger.borrow_mut().draw()?;
        Latent::new(noise, &self.ledger)
    }

    /// To be told after step `step` (counted from 0) of the solver over `sigmas`.
    ///
    /// # Errors
    /// `Cancelled` when the user asks to stop.
    pub fn progress(&self, step: usize, sigmas: &[f64]) -> Result<()> {
        self.ledger.borrow_mut().progress(step + 1, sigmas.len() - 1)
    }
}
