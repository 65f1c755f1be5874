//! What is trained: a diffusion model, or an autoencoder.

use std::path::Path;

use tch::Kind;

use super::{AutoencoderPreview, AutoencoderValidation, Ema, Preview, Scores, TrainError, Validation};
use crate::autoencoding::{AutoencoderModel, ReconstructionLoss, Terms};
use crate::data::Batch;
use crate::diffusion::{Loss, Model};

/// Where in a run a batch is.
#[derive(Debug, Clone, Copy)]
pub struct BatchPass {
    /// Seed of the run's random streams.
    pub seed: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// The batch's share in its step: 1 over the number of the step's batches.
    pub share: f64,
}

/// What a batch gave.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchLoss {
    /// The objective's value.
    pub loss: f64,
    /// Its terms by name, where it has several.
    pub terms: Terms,
}

/// What a step goes down.
pub trait Objective {
    /// Adds the batch's share to the gradients.
    ///
    /// # Errors
    /// When a component or libtorch fails.
    fn backward(&mut self, batch: &Batch, pass: BatchPass) -> Result<BatchLoss, TrainError>;

    /// Whether an adversary takes part in the step after `step` ones.
    fn has_adversary(&self, _step: u64) -> bool {
        false
    }

    /// Writes pictures to `dir`, with the averaged weights where there are any.
    ///
    /// # Errors
    /// When a component fails or a file cannot be written.
    fn preview(&mut self, ema: Option<&mut Ema>, seed: u64, dir: &Path) -> Result<(), TrainError>;

    /// Scores on scenes that are not trained on, with the averaged weights where there are any.
    ///
    /// # Errors
    /// When a component fails.
    fn validate(&mut self, ema: Option<&mut Ema>) -> Result<Scores, TrainError>;
}

/// A diffusion model and its loss.
pub struct DiffusionObjective {
    /// The model.
    pub model: Model,
    /// The loss.
    pub loss: Loss,
    /// What pictures show; none if not given.
    pub preview: Option<Preview>,
    /// Validation; none if not given.
    pub validation: Option<Validation>,
}

impl Objective for DiffusionObjective {
    fn backward(&mut self, batch: &Batch, pass: BatchPass) -> Result<BatchLoss, TrainError> {
        let share = self.model.loss(&mut self.loss, batch, pass.seed, true)? * pass.share;
        share.f_backward()?;
        let loss = share.to_kind(Kind::Double).double_value(&[]) / pass.share;
        Ok(BatchLoss { loss, terms: Terms::new() })
    }

    fn preview(&mut self, ema: Option<&mut Ema>, seed: u64, dir: &Path) -> Result<(), TrainError> {
        self.preview.as_mut().map_or(Ok(()), |preview| preview.write(&self.model, ema, seed, dir))
    }

    fn validate(&mut self, ema: Option<&mut Ema>) -> Result<Scores, TrainError> {
        let Some(validation) = &mut self.validation else { return Ok(Scores::new()) };
        let (model, loss) = (&self.model, &mut self.loss);
        Ok(match ema.filter(|_| validation.scoring.use_ema) {
            Some(ema) => ema.with_averages(|| validation.run(model, loss))?,
            None => validation.run(model, loss)?,
        })
    }
}

/// An autoencoder and its loss.
pub struct AutoencoderObjective {
    /// The autoencoder.
    pub model: AutoencoderModel,
    /// The loss.
    pub loss: ReconstructionLoss,
    /// What pictures show; none if not given.
    pub preview: Option<AutoencoderPreview>,
    /// Validation; none if not given.
    pub validation: Option<AutoencoderValidation>,
}

impl Objective for AutoencoderObjective {
    fn backward(&mut self, batch: &Batch, pass: BatchPass) -> Result<BatchLoss, TrainError> {
        let reconstruction = self.model.reconstruct(batch, pass.seed, true)?;
        let last_layer = self.model.autoencoder.last_layer();
        let (loss, terms) = self.loss.backward(&reconstruction, last_layer, pass.step, pass.share)?;
        Ok(BatchLoss { loss, terms })
    }

    fn has_adversary(&self, step: u64) -> bool {
        self.loss.adversary.as_ref().is_some_and(|adversary| step >= adversary.start_step)
    }

    fn preview(&mut self, ema: Option<&mut Ema>, seed: u64, dir: &Path) -> Result<(), TrainError> {
        self.preview.as_ref().map_or(Ok(()), |preview| preview.write(&self.model, ema, seed, dir))
    }

    fn validate(&mut self, ema: Option<&mut Ema>) -> Result<Scores, TrainError> {
        let Some(validation) = &self.validation else { return Ok(Scores::new()) };
        Ok(match ema {
            Some(ema) => ema.with_averages(|| validation.run(&self.model))?,
            None => validation.run(&self.model)?,
        })
    }
}
