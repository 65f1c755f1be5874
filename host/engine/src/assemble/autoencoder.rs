//! An autoencoder's config to a trainer.

use std::sync::Arc;

use anneal_nn::autoencoder::Autoencoder;
use anneal_nn::{Discriminator, Init, Param, ParamKind};
use tch::Device;

use super::project::{Begun, BuiltRun, Start, start_from};
use super::scenes::{Scenes, name_protocol};
use super::weights_file::{copy_weights, lpips};
use super::{AssembleError, Place, Project};
use crate::autoencoding::{Adversary, AutoencoderModel, ReconstructionLoss};
use crate::config::{AutoencoderRunConfig, AutoencoderValidationConfig, Precision, Problems, chooses};
use crate::data::{Loader, Source};
use crate::trainer::{
    AutoencoderObjective, AutoencoderPreview, AutoencoderScoring, AutoencoderValidation, Ema, Rates, TrainState,
    Trainer,
};
use crate::weights::Named;

/// Where the tensors of an autoencoder's loss stand among a checkpoint's keys.
pub(super) const LOSS_PREFIX: &str = "loss.";

/// Where those of its adversary stand.
const DISCRIMINATOR_PREFIX: &str = "loss.discriminator.";

/// The part that every published autoencoder has.
pub(super) const DECODER_PREFIX: &str = "decoder.";

/// What is trained, and its tensors.
pub(super) struct BuiltAutoencoder {
    pub(super) model: AutoencoderModel,
    pub(super) loss: ReconstructionLoss,
    /// Every parameter and buffer by checkpoint key.
    pub(super) weights: Vec<Named>,
    /// What the optimizer moves: of the autoencoder, then of the loss.
    pub(super) trained: Vec<Named>,
    /// How many of them are the autoencoder's.
    pub(super) num_autoencoder: usize,
    /// What the adversary's optimizer moves.
    pub(super) of_adversary: Vec<Named>,
}

impl Project<AutoencoderRunConfig> {
    /// Everything a run needs.
    ///
    /// # Errors
    /// When something that the config names cannot be loaded, does not fit the rest, or the folder of a new run already
    /// holds one.
    pub fn trainer(&mut self, start: Start<'_>) -> Result<(Trainer, Loader), AssembleError> {
        let config = self.loaded.config.clone();
        let Begun { device, source, preview } = self.begin(config.logging.preview_scenes, start.is_saved())?;
        let adversary_rate =
            config.loss.discriminator.as_ref().map(|used| self.schedule(&used.optimizer)).transpose()?;
        let rates = Rates { model: self.schedule(&config.optimizer)?, adversary: adversary_rate };

        let built = self.build(Place::Device(device))?;
        if let Some((path, prefix)) = config.autoencoder.network.weights().filter(|_| !start.is_saved()) {
            let of_loss = |(name, _): &&Named| !name.starts_with(LOSS_PREFIX);
            let own = built.weights.iter().filter(of_loss).map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
            copy_weights(path, prefix, &own.collect::<Vec<_>>(), "the autoencoder")?;
        }
        let adversary = config.loss.discriminator.as_ref();
        let at = "/loss/discriminator/optimizer";
        let adversary = adversary.map(|used| self.optimizer(at, &used.optimizer, built.of_adversary, 0)).transpose()?;
        let optimizer = self.optimizer("/optimizer", &config.optimizer, built.trained, built.num_autoencoder)?;
        let mut state =
            TrainState { position: Default::default(), weights: built.weights, optimizer, adversary, ema: None };
        if let Some(path) = config.train.init_from.as_ref().filter(|_| !start.is_saved()) {
            start_from(&mut state, DECODER_PREFIX, path)?;
        }
        // After the weights are loaded, so that the average starts from them.
        state.ema = config
            .ema
            .as_ref()
            .map(|ema| Ema::new(state.optimizer.params(), built.num_autoencoder, ema.decay, ema.warm_up));
        let preview =
            config.logging.preview_every_steps.map(|_| AutoencoderPreview { batch: preview.to_device(device) });
        let validate_every_steps = config.validation.as_ref().map(|validation| validation.every_steps);
        let validation = config.validation.as_ref();
        let validation = validation.map(|settings| self.validation(settings, &source, device)).transpose()?;
        let objective = Box::new(AutoencoderObjective { model: built.model, loss: built.loss, preview, validation });
        let AutoencoderRunConfig { train, logging, .. } = config;
        self.trainer_of(
            BuiltRun { objective, state, rates, train, logging, validate_every_steps, source, device },
            start,
        )
    }

    /// The autoencoder alone, and its tensors, the loss's among them.
    pub(super) fn model(&self, device: Device) -> Result<(AutoencoderModel, Vec<Named>), AssembleError> {
        let built = self.build(Place::Device(device))?;
        Ok((built.model, built.weights))
    }

    /// The validation of training that `settings` describe.
    fn validation(
        &self,
        settings: &AutoencoderValidationConfig,
        source: &Arc<dyn Source>,
        device: Device,
    ) -> Result<AutoencoderValidation, AssembleError> {
        let (scoring, scenes) = self.scoring(settings, source, device)?;
        scoring.frechet.as_ref().inspect(|frechet| name_protocol(frechet.protocol()));
        Ok(AutoencoderValidation { scenes: scenes.collect::<Result<_, _>>()?, scoring })
    }

    /// What `settings` score an autoencoder by, and on which scenes.
    ///
    /// # Errors
    /// When its data cannot be read or lacks entries, or the networks of LPIPS or the encoder of clips cannot be loaded.
    pub(super) fn scoring(
        &self,
        settings: &AutoencoderValidationConfig,
        source: &Arc<dyn Source>,
        device: Device,
    ) -> Result<(AutoencoderScoring, Scenes), AssembleError> {
        let scenes = self.validation_scenes(settings.source.as_ref(), source, settings.scenes, device)?;
        let input_key = &self.config().autoencoder.input_key;
        let frechet = match &settings.frechet {
            Some(used) => self.frechet(used, &scenes, settings.scenes, input_key, device)?,
            None => None,
        };
        let lpips = settings.lpips.as_ref().map(|networks| lpips(networks, Place::Device(device))).transpose()?;
        Ok((AutoencoderScoring { lpips, frechet, seed: self.config().run.seed }, scenes))
    }

    /// The autoencoder and its loss.
    pub(super) fn build(&self, place: Place) -> Result<BuiltAutoencoder, AssembleError> {
        let config = self.config();
        let Some(network) = config.autoencoder.network.autoencoder() else {
            return Err(self.wrong("/autoencoder/network/kind", "the identity has nothing to train", "name another"));
        };
        let params = place.params(config.run.seed);
        let autoencoder = Autoencoder::new(&network, &params.root());
        let mut weights = Vec::new();
        let mut trained = Vec::new();
        for param in params.into_entries() {
            let is_chosen = chooses(config.autoencoder.trainable.as_deref(), &param.path);
            take(param, "", is_chosen, &mut weights, &mut trained);
        }
        let num_autoencoder = trained.len();
        if trained.is_empty() {
            let help = "name some as they are called in a checkpoint: \"decoder.*\"";
            return Err(self.wrong("/autoencoder/trainable", "matches no parameter of the autoencoder", help));
        }
        let last_is_trained = autoencoder.last_layer().requires_grad();
        if config.loss.discriminator.is_some() && !last_is_trained {
            let help = "train decoder.conv_out with it, or take the discriminator out";
            let message = "is weighed at the decoder's last layer, which is not trained";
            return Err(self.wrong("/loss/discriminator", message, help));
        }

        let params = place.params(config.run.seed);
        let at = params.root();
        let logvar = match config.loss.learn_logvar {
            true => at.param("logvar", &[], Init::Const(config.loss.logvar_init)),
            false => at.buffer("logvar", &[], Init::Const(config.loss.logvar_init)),
        };
        for param in params.into_entries() {
            take(param, LOSS_PREFIX, true, &mut weights, &mut trained);
        }
        let (adversary, of_adversary) = self.adversary(place, &mut weights);
        let networks = config.loss.lpips.as_ref().map(|networks| lpips(networks, place)).transpose()?;
        let perceptual = networks.map(|networks| (networks, config.loss.perceptual_weight));
        let loss = ReconstructionLoss {
            distance: config.loss.distance,
            perceptual,
            logvar,
            regularization_weights: config.loss.regularization_weights.clone(),
            adversary,
        };
        let compute = (config.run.precision == Precision::Bf16).then_some(tch::Kind::BFloat16);
        let input_key = config.autoencoder.input_key.clone();
        let model = AutoencoderModel { input_key, autoencoder, config: network, compute };
        Ok(BuiltAutoencoder { model, loss, weights, trained, num_autoencoder, of_adversary })
    }

    /// The adversary, if there is one, and its trained parameters.
    fn adversary(&self, place: Place, weights: &mut Vec<Named>) -> (Option<Adversary>, Vec<Named>) {
        let Some(used) = &self.config().loss.discriminator else { return (None, Vec::new()) };
        let params = place.params(self.config().run.seed);
        let discriminator = Discriminator::new(&used.network, &params.root());
        let mut trained = Vec::new();
        for param in params.into_entries() {
            take(param, DISCRIMINATOR_PREFIX, true, weights, &mut trained);
        }
        let adversary = Adversary { discriminator, loss: used.loss, weight: used.weight, start_step: used.start_step };
        (Some(adversary), trained)
    }

    fn wrong(&self, pointer: &str, message: impl Into<String>, help: &str) -> AssembleError {
        Problems(vec![self.loaded.problem(pointer, message, help)]).into()
    }
}

/// Lists a parameter under its checkpoint key, and among the trained ones if it is one that is chosen.
fn take(param: Param, prefix: &str, is_chosen: bool, weights: &mut Vec<Named>, trained: &mut Vec<Named>) {
    let name = format!("{prefix}{}", param.path);
    let is_trained = is_chosen && param.kind == ParamKind::Trained;
    let tensor = param.tensor.set_requires_grad(is_trained);
    if is_trained {
        trained.push((name.clone(), tensor.shallow_clone()));
    }
    weights.push((name, tensor));
}
