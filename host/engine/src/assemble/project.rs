//! A config with the plugins and the data it names, checked before anything is allocated.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tch::Device;

use super::weights_file::read_weights;
use super::{AssembleError, check_entries, check_plugins, device};
use crate::config::{
    Environment, Files, Loaded, LoggingConfig, OptimizerConfig, PluginKind, Problems, RunConfig, RunKind, TrainConfig,
    load_with, schema_with_plugins,
};
use crate::data::{self, Batch, Loader, Source};
use crate::plugin::{PluginError, Registry, SearchPath};
use crate::trainer::checkpoint::{self, CheckpointDir, CheckpointError};
use crate::trainer::{Guard, Objective, Origins, Rates, Resumed, Schedule, TrainState, Trainer};
use crate::weights::KeyReport;

/// Where a run begins.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// At its start.
    New,
    /// At the newest checkpoint of its folder that is whole; the keys are given that may have changed since although the run
    /// takes another course.
    Resume(&'a [String]),
    /// At a checkpoint anywhere, to look at it: nothing of it goes on.
    At(&'a Path),
}

impl Start<'_> {
    /// Whether weights come from a checkpoint.
    pub(super) fn is_saved(self) -> bool {
        !matches!(self, Self::New)
    }
}

/// A checked config and its plugins.
pub struct Project<C = RunConfig> {
    /// The config.
    pub loaded: Loaded<C>,
    /// The plugins that were found.
    pub registry: Registry,
}

/// What every run begins with.
pub(super) struct Begun {
    pub(super) device: Device,
    pub(super) source: Arc<dyn Source>,
    /// Scenes to draw while it trains.
    pub(super) preview: Batch,
}

/// What a trainer is made of beyond what all kinds of run have in their configs.
pub(super) struct BuiltRun {
    pub(super) objective: Box<dyn Objective>,
    pub(super) state: TrainState,
    pub(super) rates: Rates,
    pub(super) train: TrainConfig,
    pub(super) logging: LoggingConfig,
    pub(super) validate_every_steps: Option<u64>,
    pub(super) source: Arc<dyn Source>,
    pub(super) device: Device,
}

impl<C: RunKind> Project<C> {
    /// Reads the config at `path` with `sets` on top, finds plugins, and checks that all fits.
    ///
    /// # Errors
    /// All that is wrong, at once; or that a plugin directory cannot be used.
    pub fn open(
        path: &Path,
        sets: &[String],
        files: Files,
        plugin_dirs: &[PathBuf],
        env: &Environment,
    ) -> Result<Self, AssembleError> {
        let mut found = None;
        let loaded = load_with(path, sets, files, |loaded: &mut Loaded<C>, _| {
            let search = SearchPath::new(&loaded.config.plugins().dirs, plugin_dirs, env);
            match Registry::discover(&search, &loaded.config.plugins().require) {
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
    pub fn config(&self) -> &C {
        &self.loaded.config
    }

    /// Opens the data source and checks that it gives the entries that the config names.
    ///
    /// # Errors
    /// When it cannot be opened, its first sample cannot be read, or entries are missing.
    pub fn source(&self) -> Result<Arc<dyn Source>, AssembleError> {
        let source = data::open(self.config().data())?;
        let first = data::preview_batch(source.clone(), self.config().data(), self.config().run().seed, 1)?;
        let problems = check_entries(&self.loaded, &first);
        if problems.is_empty() { Ok(source) } else { Err(Problems(problems).into()) }
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

    /// Refuses a folder that already holds a run.
    fn refuse_used_folder(&self) -> Result<(), AssembleError> {
        let checkpoints = CheckpointDir::of_run(&self.config().run().dir);
        match checkpoints.list()?.pop() {
            None => Ok(()),
            Some((step, path)) => {
                let reason = format!(
                    "the folder already holds a run, at step {step}; add --resume, or set run.dir to another folder"
                );
                Err(CheckpointError::Misfit { path, reason }.into())
            }
        }
    }

    /// What every run begins with.
    ///
    /// # Errors
    /// When the device is not there, the run's folder already holds a run and `resume` is not given, or the data cannot be
    /// read or lacks entries.
    pub(super) fn begin(&self, preview_scenes: usize, resume: bool) -> Result<Begun, AssembleError> {
        let (run, data) = (self.config().run(), self.config().data());
        let device = device(run)?;
        if let Some(threads) = run.threads {
            tch::set_num_threads(threads);
        }
        if !resume {
            self.refuse_used_folder()?;
        }
        let source = self.source()?;
        let preview = data::preview_batch(source.clone(), data, run.seed, preview_scenes)?;
        Ok(Begun { device, source, preview })
    }

    /// The trainer of what has been built, at its start or, with `resume`, at its newest checkpoint, and its batches.
    pub(super) fn trainer_of(&self, built: BuiltRun, start: Start<'_>) -> Result<(Trainer, Loader), AssembleError> {
        let BuiltRun { objective, state, rates, train, logging, validate_every_steps, source, device } = built;
        let (run, data) = (self.config().run(), self.config().data());
        let guards = train.guards.clone();
        let mut trainer = Trainer {
            objective,
            state,
            rates,
            settings: train,
            seed: run.seed,
            dir: run.dir.clone(),
            config: self.resolved()?,
            plugins: self.registry.used(),
            origins: Origins::new(data::fingerprint(source.as_ref())),
            guard: Guard::new(guards),
            metrics_every_steps: logging.metrics_every_steps,
            tensorboard: logging.tensorboard,
            preview_every_steps: logging.preview_every_steps,
            validate_every_steps,
        };
        if let Start::At(path) = start {
            let snapshot = checkpoint::load(path)?;
            trainer.state.restore(&snapshot, path)?;
        }
        if let Start::Resume(allowed) = start {
            let Resumed { path, drifts, damaged } = trainer.resume(allowed)?;
            damaged.iter().for_each(|error| tracing::warn!("{error}; the run goes on from {}", path.display()));
            drifts.iter().for_each(|drift| tracing::warn!("{drift}"));
        }
        let loader = Loader::new(source, data, run.seed, device, trainer.state.position.batches)?;
        Ok((trainer, loader))
    }

    /// The learning rate that an optimizer's settings give.
    pub(super) fn schedule(&mut self, settings: &OptimizerConfig) -> Result<Schedule, AssembleError> {
        let schedule = settings.schedule().map(|used| self.registry.learning_rate(used)).transpose()?;
        Ok(Schedule::new(settings.learning_rate(), schedule))
    }
}

/// Starts `state` from the weights at `path`, and warns of keys that do not meet.
pub(super) fn start_from(state: &mut TrainState, network: &str, path: &Path) -> Result<(), AssembleError> {
    let given = read_weights(path)?;
    let report = state.start_from(&given, network, path)?;
    warn_of_start(&report, path);
    Ok(())
}

/// Tells which keys a model that starts from the file at `path` does not find there, and which it does not use.
pub(super) fn warn_of_start(report: &KeyReport, path: &Path) {
    if !report.is_empty() {
        tracing::warn!("{}: what is missing keeps its initial values\n{report}", path.display());
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
pub fn schema<C: RunKind>(plugin_dirs: &[PathBuf], env: &Environment) -> Result<Value, PluginError> {
    let registry = plugins(plugin_dirs, env)?;
    let entries: Vec<(PluginKind, String, Value)> =
        registry.entries().map(|entry| (entry.kind(), entry.name().to_owned(), entry.schema().clone())).collect();
    Ok(schema_with_plugins::<C>(&entries))
}
