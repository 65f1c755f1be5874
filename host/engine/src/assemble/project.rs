//! A config with the plugins and the data it names, checked before anything is allocated.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::embedder_weights::load_embedders;
use super::first_stage::load_first_stage;
use super::{AssembleError, build_model, check_entries, check_plugins, check_widths, device};
use crate::conditioner::Pass;
use crate::config::{Environment, Loaded, PluginKind, Problems, RunConfig, load_with, schema_with_plugins};
use crate::data::{self, Loader, Source};
use crate::diffusion::{Loss, Sampling};
use crate::plugin::{PluginError, Registry, SearchPath};
use crate::trainer::checkpoint::{CheckpointDir, CheckpointError};
use crate::trainer::{Ema, FlatParams, Optimizer, Preview, Schedule, TrainState, Trainer, weights};

/// A checked config and its plugins.
pub struct Project {
    /// The config.
    pub loaded: Loaded,
    /// The plugins that were found.
    pub registry: Registry,
}

impl Project {
    /// Reads the config at `path` with `sets` on top, finds plugins, and checks that all fits.
    ///
    /// # Errors
    /// All that is wrong, at once; or that a plugin directory cannot be used.
    pub fn open(
        path: &Path,
        sets: &[String],
        plugin_dirs: &[PathBuf],
        env: &Environment,
    ) -> Result<Self, AssembleError> {
        let mut found = None;
        let loaded = load_with(path, sets, |loaded| {
            let search = SearchPath::new(&loaded.config.plugins.dirs, plugin_dirs, env);
            match Registry::discover(&search, &loaded.config.plugins.require) {
                Ok(registry) => {
                    let problems = check_plugins(loaded, &registry);
                    found = Some(Ok(registry));
                    problems
                }
                Err(error) => {
                    found = Some(Err(error));
                    Vec::new()
                }
            }
        })?;
        let registry = match found {
            Some(registry) => registry?,
            None => plugins(plugin_dirs, env)?,
        };
        Ok(Self { loaded, registry })
    }

    /// The config.
    pub fn config(&self) -> &RunConfig {
        &self.loaded.config
    }

    /// Opens the data source and checks that it gives the entries that the config names.
    ///
    /// # Errors
    /// When it cannot be opened, its first sample cannot be read, or entries are missing.
    pub fn source(&self) -> Result<Arc<dyn Source>, AssembleError> {
        let source = data::open(&self.config().data)?;
        let first = data::preview_batch(source.clone(), &self.config().data, self.config().run.seed, 1)?;
        let problems = check_entries(&self.loaded, &first);
        if problems.is_empty() { Ok(source) } else { Err(Problems(problems).into()) }
    }

    /// The objective.
    ///
    /// # Errors
    /// When a plugin cannot be loaded.
    pub fn loss(&mut self) -> Result<Loss, AssembleError> {
        let loss = self.loaded.config.loss.clone();
        Ok(Loss {
            distance: loss.distance,
            sigma_per: loss.sigma_per,
            offset_noise_level: loss.offset_noise_level,
            sigma_sampler: self.registry.sigma_sampler(&loss.sigma_sampling)?,
            weighting: self.registry.weighting(&loss.weighting)?,
        })
    }

    /// How samples are made; `num_views` views lie beside each other in a scene's frames.
    ///
    /// # Errors
    /// When a plugin cannot be loaded.
    pub fn sampling(&mut self, num_views: u32) -> Result<Sampling, AssembleError> {
        let sampling = self.loaded.config.sampling.clone();
        let guidance = sampling.guidance.as_ref().map(|used| self.registry.guidance(used)).transpose()?;
        Ok(Sampling {
            num_steps: sampling.num_steps,
            sampler: self.registry.sampler(&sampling.sampler)?,
            discretization: self.registry.discretization(&sampling.discretization)?,
            guidance,
            force_uc_zero: sampling.force_uc_zero,
            additional_cond_keys: sampling.additional_cond_keys,
            num_views,
        })
    }

    /// Everything a run needs, at its start or, with `resume`, at its newest checkpoint.
    ///
    /// # Errors
    /// When something that the config names cannot be loaded, does not fit the rest, or the run's folder already
    /// holds a run and `resume` is not given.
    pub fn trainer(&mut self, resume: bool) -> Result<(Trainer, Loader), AssembleError> {
        let config = self.loaded.config.clone();
        let device = device(&config.run)?;
        if let Some(threads) = config.run.threads {
            tch::set_num_threads(threads);
        }
        let checkpoints = CheckpointDir::of_run(&config.run.dir);
        if !resume && let Some((step, path)) = checkpoints.list()?.pop() {
            let reason = format!(
                "the folder already holds a run, at step {step}; add --resume, or set run.dir to another folder"
            );
            return Err(CheckpointError::Misfit { path, reason }.into());
        }
        let source = self.source()?;
        let preview =
            data::preview_batch(source.clone(), &config.data, config.run.seed, config.logging.preview_scenes)?;
        let num_views = preview.integers.get("num_views").map_or(1, |views| *views as u32);
        let loss = self.loss()?;
        let sampling = self.sampling(num_views)?;
        let schedule = config.optimizer.schedule().map(|used| self.registry.learning_rate(used)).transpose()?;

        let built = build_model(&config, &mut self.registry, device)?;
        if !resume {
            load_embedders(&self.loaded, &built.weights)?;
            load_first_stage(&config, &built.weights)?;
        }
        let preview = preview.to_device(device);
        self.check_widths(&built.model, &preview)?;
        let optimizer = Optimizer::new(FlatParams::new(built.trained), (&config.optimizer).into());
        let mut state = TrainState { position: Default::default(), weights: built.weights, optimizer, ema: None };
        if let Some(path) = config.train.init_from.as_ref().filter(|_| !resume) {
            let given = weights::read(path).map_err(CheckpointError::from)?;
            let (missing, unused) = state.start_from(&given, path)?;
            for (what, keys) in
                [("are not in the file and keep their initial values", missing), ("of the file are not used", unused)]
            {
                if !keys.is_empty() {
                    tracing::warn!("{}: {} keys {what}: {}", path.display(), keys.len(), keys.join(", "));
                }
            }
        }
        // After the weights are loaded, so that the average starts from them.
        state.ema = config
            .ema
            .as_ref()
            .map(|ema| Ema::new(state.optimizer.params(), built.num_network, ema.decay, ema.warm_up));

        let previews = config.logging.preview_every_steps.map(|every| {
            (
                every,
                Preview {
                    batch: preview,
                    sampling,
                    use_ema: config.sampling.use_ema,
                    format: config.logging.clip_format,
                    fps: config.logging.clip_fps,
                },
            )
        });
        let mut trainer = Trainer {
            model: built.model,
            loss,
            state,
            schedule: Schedule::new(config.optimizer.learning_rate(), schedule),
            settings: config.train.clone(),
            seed: config.run.seed,
            dir: config.run.dir.clone(),
            config: self.resolved()?,
            plugins: self.registry.used(),
            metrics_every_steps: config.logging.metrics_every_steps,
            preview: previews,
        };
        if resume {
            trainer.resume()?;
        }
        let loader = Loader::new(source, &config.data, config.run.seed, device, trainer.state.position.batches)?;
        Ok((trainer, loader))
    }

    /// The resolved config as TOML.
    ///
    /// # Errors
    /// When a plugin's setting has no form in TOML.
    pub fn resolved(&self) -> Result<String, AssembleError> {
        self.loaded.to_toml().map_err(|error| {
            Problems(vec![self.loaded.problem("", error.to_string(), "write the plugin's setting out in the config")])
                .into()
        })
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
        let problems = check_widths(&self.loaded, model.first_stage.latent_shape([c, h, w]), &conditions);
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
    }
}

/// The plugins that are found without a config.
///
/// # Errors
/// When a plugin directory cannot be used.
pub fn plugins(plugin_dirs: &[PathBuf], env: &Environment) -> Result<Registry, PluginError> {
    Registry::discover(&SearchPath::new(&[], plugin_dirs, env), &Default::default())
}

/// The JSON Schema of configs with the settings of all plugins that are found.
///
/// # Errors
/// As [`plugins`].
pub fn schema(plugin_dirs: &[PathBuf], env: &Environment) -> Result<Value, PluginError> {
    let registry = plugins(plugin_dirs, env)?;
    let entries: Vec<(PluginKind, String, Value)> =
        registry.entries().map(|entry| (entry.kind(), entry.name().to_owned(), entry.schema().clone())).collect();
    Ok(schema_with_plugins(&entries))
}
