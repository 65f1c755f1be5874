//! A diffusion model's config to a trainer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tch::Device;

use super::embedder_weights::load_embedders;
use super::first_stage::load_first_stage;
use super::lora::start_adapters;
use super::project::{Begun, BuiltRun, Start, start_from};
use super::scenes::{Scenes, name_protocol};
use super::weighting::{learns_nothing, own_weighting, try_weighting};
use super::weights_file::lpips;
use super::{AssembleError, Built, NETWORK_PREFIX, Place, Project, build_model, check_widths};
use crate::cache::Store;
use crate::conditioner::Pass;
use crate::config::{Distance, Problems, RunConfig, ValidationConfig};
use crate::data::{self, Loader, Source};
use crate::diffusion::{Loss, LossWeighting, RowDistance, Sampling};
use crate::trainer::{
    DiffusionObjective, Ema, Preview, Rates, Scoring, TrainState, Trainer, Validation, mean_pictures,
};
use crate::weights::Named;

impl Project<RunConfig> {
    /// The objective.
    ///
    /// # Errors
    /// When a plugin or the distance's networks cannot be loaded.
    pub fn loss(&mut self, device: Device) -> Result<Loss, AssembleError> {
        let loss = self.loaded.config.loss.clone();
        let distance = match (loss.distance, &loss.lpips) {
            (Distance::L2, _) => RowDistance::L2,
            (Distance::L1, _) => RowDistance::L1,
            (Distance::Lpips, Some(networks)) => RowDistance::Lpips {
                lpips: Box::new(lpips(networks, Place::Device(device))?),
                is_weighted: loss.weighted_lpips,
            },
            (Distance::Lpips, None) => {
                let help = "add lpips = { weights = \"..\" }";
                return Err(Problems(vec![self.loaded.problem("/loss/lpips", "is missing", help)]).into());
            }
        };
        let mut weighting = self.registry.weighting(&loss.weighting)?;
        try_weighting(&mut weighting, &loss.weighting.plugin, &self.registry)?;
        if let Some(problem) = learns_nothing(&self.loaded, &weighting) {
            return Err(Problems(vec![problem]).into());
        }
        Ok(Loss {
            distance,
            sigma_per: loss.sigma_per,
            offset_noise_level: loss.offset_noise_level,
            sigma_sampler: self.registry.sigma_sampler(&loss.sigma_sampling)?,
            weighting,
        })
    }

    /// How samples are made.
    ///
    /// # Errors
    /// When a plugin cannot be loaded.
    pub fn sampling(&mut self) -> Result<Sampling, AssembleError> {
        let sampling = self.loaded.config.sampling.clone();
        let guidance = sampling.guidance.as_ref().map(|used| self.registry.guidance(used)).transpose()?;
        Ok(Sampling {
            num_steps: sampling.num_steps,
            sampler: self.registry.sampler(&sampling.sampler)?,
            discretization: self.registry.discretization(&sampling.discretization)?,
            guidance,
            force_uc_zero: sampling.force_uc_zero,
            additional_cond_keys: sampling.additional_cond_keys,
        })
    }

    /// Everything a run needs.
    ///
    /// # Errors
    /// When something that the config names cannot be loaded, does not fit the rest, or the folder of a new run already
    /// holds one.
    pub fn trainer(&mut self, start: Start<'_>) -> Result<(Trainer, Loader), AssembleError> {
        let config = self.loaded.config.clone();
        let Begun { device, source, preview } = self.begin(config.logging.preview_scenes, start.is_saved())?;
        self.dry_run(&preview)?;
        let mut loss = self.loss(device)?;
        let sampling = self.sampling()?;
        let rates = Rates { model: self.schedule(&config.optimizer)?, adversary: None };

        let (mut built, mut state) = self.model_and_state(device, start.is_saved(), Some(&mut loss.weighting))?;
        let preview = preview.to_device(device);
        self.check_widths(&built.model, &preview)?;
        if let Some(dir) = &config.model.cache {
            self.keep_in(&Arc::new(Store::new(dir, false)), &mut built);
        }
        // After the weights are loaded, so that the average starts from them.
        state.ema = config
            .ema
            .as_ref()
            .map(|ema| Ema::new(state.optimizer.params(), built.num_network, ema.decay, ema.warm_up));
        let preview = config.logging.preview_every_steps.map(|_| Preview {
            batch: preview,
            sampling,
            use_ema: config.sampling.use_ema,
            format: config.logging.clip_format,
            fps: config.logging.clip_fps,
        });
        let validate_every_steps = config.validation.as_ref().map(|validation| validation.every_steps);
        let validation = config.validation.as_ref();
        let validation = validation.map(|settings| self.validation(settings, &source, device)).transpose()?;
        let objective = Box::new(DiffusionObjective { model: built.model, loss, preview, validation });
        let RunConfig { train, logging, .. } = config;
        self.trainer_of(
            BuiltRun { objective, state, rates, train, logging, validate_every_steps, source, device },
            start,
        )
    }

    /// The model and its state, at the start of the run or, with `resume`, before a checkpoint is read. The weighting of
    /// the loss, where one is given, gets its parameters.
    pub(super) fn model_and_state(
        &mut self,
        device: Device,
        resume: bool,
        weighting: Option<&mut LossWeighting>,
    ) -> Result<(Built, TrainState), AssembleError> {
        let config = self.loaded.config.clone();
        let mut built = build_model(&config, &mut self.registry, Place::Device(device))?;
        if let Some(weighting) = weighting {
            own_weighting(weighting, &mut built, Place::Device(device), config.run.seed)?;
        }
        if !resume {
            load_embedders(&self.loaded, &built.weights)?;
            load_first_stage(&config, &built.weights)?;
        }
        self.check_patterns(&built)?;
        let shallow = |named: &[Named]| named.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        let trained: Vec<Named> = shallow(&built.trained);
        let mut state = TrainState {
            position: Default::default(),
            weights: shallow(&built.weights),
            optimizer: self.optimizer("/optimizer", &config.optimizer, trained, built.num_network)?,
            adversary: None,
            ema: None,
        };
        if let Some(path) = config.train.init_from.as_ref().filter(|_| !resume) {
            start_from(&mut state, NETWORK_PREFIX, path)?;
        }
        if let Some(lora) = config.model.lora.as_ref().filter(|_| !resume) {
            start_adapters(lora, config.train.init_from.as_deref(), &state.weights)?;
        }
        Ok((built, state))
    }

    /// The validation of training that `settings` describe.
    fn validation(
        &mut self,
        settings: &ValidationConfig,
        source: &Arc<dyn Source>,
        device: Device,
    ) -> Result<Validation, AssembleError> {
        let (scoring, scenes) = self.scoring(settings, source, device)?;
        scoring.frechet.as_ref().inspect(|frechet| name_protocol(frechet.protocol()));
        Ok(Validation { scenes: scenes.collect::<Result<_, _>>()?, scoring })
    }

    /// What `settings` score a model by, and on which scenes.
    ///
    /// # Errors
    /// When its data cannot be read or lacks entries, or a plugin, the networks of LPIPS or the encoder of clips cannot be
    /// loaded.
    pub(super) fn scoring(
        &mut self,
        settings: &ValidationConfig,
        source: &Arc<dyn Source>,
        device: Device,
    ) -> Result<(Scoring, Scenes), AssembleError> {
        let config = self.config().clone();
        let (seed, mean_scenes) = (config.run.seed, if settings.sample { settings.mean_scenes } else { 0 });
        let seen = data::single_scenes(source.clone(), &config.data, seed, mean_scenes);
        let mean = mean_pictures(seen, &config.model.input_key)?;
        let scenes = self.validation_scenes(settings.source.as_ref(), source, settings.scenes, device)?;
        let frechet = match &settings.frechet {
            Some(used) => self.frechet(used, &scenes, settings.scenes, &config.model.input_key, device)?,
            None => None,
        };
        let scoring = Scoring {
            sigmas: settings.sigmas.clone(),
            sampling: if settings.sample { Some(self.sampling()?) } else { None },
            use_ema: config.sampling.use_ema,
            copied_key: settings.copied_key.clone(),
            mean: mean.map(|mean| mean.to_device(device)),
            lpips: settings.lpips.as_ref().map(|networks| lpips(networks, Place::Device(device))).transpose()?,
            frechet,
            seed,
        };
        Ok((scoring, scenes))
    }

    fn check_widths(&self, model: &crate::diffusion::Model, batch: &data::Batch) -> Result<(), AssembleError> {
        let seed = self.config().run.seed;
        let conditions = model.conditioner.embed(batch, Pass { seed, training: false, force_zero: &[] })?;
        let size = model.input(batch)?.size();
        let [_, c, h, w] = size[..] else {
            let message = format!("`{}` is {size:?}; it must be [n, c, h, w]", model.input_key);
            return Err(
                Problems(vec![self.loaded.problem("/model/input_key", message, "name an entry of images")]).into()
            );
        };
        let problems =
            check_widths(&self.loaded, model.first_stage.latent_shape([c, h, w]), &conditions, &BTreeMap::new());
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
    }
}
