//! A trained run, opened to be sampled from.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anneal_torch::random::Stream;
use serde_json::Value;
use tch::{Device, Tensor};

use super::{AssembleError, Place, Project, build_model, device};
use crate::config::{
    EmbedderConfig, Environment, Files, KindOfRun, PluginKind, PluginUse, RunConfig, SourceConfig, kind_of_run,
};
use crate::data::given::{GivenError, Layout};
use crate::data::{self, Batch};
use crate::diffusion::{Model, Progress, Sampling};
use crate::error::ComponentError;
use crate::trainer::assign;
use crate::trainer::checkpoint::{self, CheckpointDir, CheckpointError, Snapshot};
use crate::weights::Named;

/// What sampling may change of a run's settings.
#[derive(Debug, Clone, Default)]
pub struct SampleSettings {
    /// Steps of the solver.
    pub num_steps: Option<u32>,
    /// The solver, with its default settings.
    pub sampler: Option<String>,
    /// Seed of data and noise; the run's own if not given.
    pub seed: Option<u64>,
    /// Step of the checkpoint; the newest if not given.
    pub checkpoint: Option<u64>,
    /// Whether the moving average of the weights is sampled; as the config says if not given.
    pub use_ema: Option<bool>,
    /// Rows that are decoded at a time; as the config says if not given.
    pub decode_at_a_time: Option<i64>,
    /// Standard deviation of the noise on conditioning pictures; as the config says if not given.
    pub cond_aug: Option<f64>,
}

/// A run on disk, its config and plugins checked. Nothing of its model is built yet, so what is to be sampled can be found
/// wrong early.
pub struct SavedRun {
    project: Project<RunConfig>,
    path: PathBuf,
    snapshot: Snapshot,
    seed: u64,
}

/// A run with its weights, ready to sample.
pub struct TrainedRun {
    /// The model, with averaged weights where the run has them and wants them.
    pub model: Model,
    /// How samples are made.
    pub sampling: Sampling,
    /// Seed of the noise.
    pub seed: u64,
    /// Steps that the weights were trained for.
    pub step: u64,
    /// Where the model is.
    pub device: Device,
    /// The run's config.
    pub config: RunConfig,
}

impl SavedRun {
    /// Opens the run in `dir`.
    ///
    /// # Errors
    /// When there is no intact checkpoint, what its config names is not there, or the run has nothing that a setting could
    /// change.
    pub fn open(
        dir: &Path,
        settings: &SampleSettings,
        plugin_dirs: &[PathBuf],
        env: &Environment,
    ) -> Result<Self, AssembleError> {
        let path = checkpoint_of(dir, settings.checkpoint)?;
        let snapshot = checkpoint::load(&path)?;
        let config = path.join(checkpoint::CONFIG);
        if kind_of_run(&config, &[])? == KindOfRun::Autoencoder {
            let reason = "an autoencoder was trained, of which nothing can be sampled; its pictures are in `previews`";
            return Err(CheckpointError::Misfit { path: dir.to_owned(), reason: reason.to_owned() }.into());
        }
        // What the weights started from is not needed any more.
        let mut project = Project::<RunConfig>::open(&config, &[], Files::MayLack, plugin_dirs, env)?;
        if let Some(sigma) = settings.cond_aug {
            set_cond_aug(&mut project, sigma)?;
        }
        let config = &mut project.loaded.config;
        if let Some(num_steps) = settings.num_steps {
            config.sampling.num_steps = num_steps;
        }
        if let Some(name) = &settings.sampler {
            config.sampling.sampler = PluginUse { plugin: name.clone(), params: Default::default() };
        }
        if let Some(use_ema) = settings.use_ema {
            if use_ema && snapshot.ema.is_empty() {
                let reason = "the run keeps no moving average of its weights; sample without --ema".to_owned();
                return Err(CheckpointError::Misfit { path, reason }.into());
            }
            config.sampling.use_ema = use_ema;
        }
        if settings.decode_at_a_time.is_some() {
            config.model.en_and_decode_n_samples_a_time = settings.decode_at_a_time;
        }
        let seed = settings.seed.unwrap_or(config.run.seed);
        Ok(Self { project, path, snapshot, seed })
    }

    /// The run's config, with what the settings changed.
    pub fn config(&self) -> &RunConfig {
        self.project.config()
    }

    /// Whether an embedder reads the batch entry.
    pub fn reads(&self, entry: &str) -> bool {
        self.config().model.embedders.iter().any(|used| used.keys().any(|key| key == entry))
    }

    /// Seed of data and noise.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What the run's scenes are. Tar shards are opened to see it, where the settings do not say it.
    ///
    /// # Errors
    /// When pictures cannot be brought into the form of its data source's scenes.
    pub fn layout(&self) -> Result<Layout, AssembleError> {
        let source = &self.config().data.source;
        match source {
            SourceConfig::Webdataset(shards) if shards.clip.is_none() => {
                let opened = data::open(&self.config().data)?;
                let sample =
                    opened.sample(0, &mut Stream::new(self.seed, "augment", 0, 0)).map_err(GivenError::from)?;
                Ok(Layout::of_sample("webdataset", &sample)?)
            }
            source => Ok(Layout::of(source)?),
        }
    }

    /// Scenes of the run's data source, whose conditions can be sampled under.
    ///
    /// # Errors
    /// When the source cannot be opened or read.
    pub fn source_batch(&self, num_scenes: usize) -> Result<Batch, AssembleError> {
        let source = self.project.source()?;
        let batch = data::preview_batch(source, &self.config().data, self.seed, num_scenes.max(1))?;
        Ok(batch.to_device(device(&self.config().run)?))
    }

    /// Builds the model and fills it with the checkpoint's weights.
    ///
    /// # Errors
    /// When a plugin cannot be loaded, the device is not there, or the weights do not fit.
    pub fn build(mut self) -> Result<TrainedRun, AssembleError> {
        let config = self.project.config().clone();
        let device = device(&config.run)?;
        let sampling = self.project.sampling()?;
        let built = build_model(&config, &mut self.project.registry, Place::Device(device))?;
        load_weights(&built.weights, &self.snapshot, config.sampling.use_ema, &self.path)?;
        let step = self.snapshot.position.step;
        Ok(TrainedRun { model: built.model, sampling, seed: self.seed, step, device, config })
    }
}

impl TrainedRun {
    /// Samples the scenes of a batch without the conditions of the entries `absent`, as pictures.
    ///
    /// # Shapes
    /// - result: `[b*t, 3, h, w]`
    ///
    /// # Errors
    /// When a component fails, or `progress` stops the solver.
    pub fn sample(
        &mut self,
        batch: &Batch,
        absent: &[String],
        progress: &mut Progress<'_>,
    ) -> Result<Tensor, ComponentError> {
        let latents = self.sampling.run_without(&self.model, batch, self.seed, absent, progress)?;
        Ok(self.model.first_stage.decode(&latents, batch.frames_per_scene))
    }
}

/// Sets the noise on conditioning pictures where an embedder adds it.
fn set_cond_aug(project: &mut Project<RunConfig>, sigma: f64) -> Result<(), AssembleError> {
    let wrong = |what, got, expected| Err(GivenError::Number { what, got, expected }.into());
    if !(sigma.is_finite() && sigma >= 0.0) {
        return wrong("the noise on the conditioning picture", sigma, "a number from 0 up");
    }
    let registry = &project.registry;
    let takes_noise = |plugin: &str| {
        let entry = registry.find(PluginKind::Embedder, plugin).ok();
        entry.is_some_and(|entry| entry.schema().pointer("/properties/noise_sigma").is_some())
    };
    let embedders = &mut project.loaded.config.model.embedders;
    let known: BTreeSet<String> = embedders.iter().flat_map(EmbedderConfig::keys).cloned().collect();
    let mut noised = known.contains("cond_aug");
    for used in embedders.iter_mut().filter(|used| takes_noise(&used.plugin)) {
        // An embedder that was trained without noise is told of none.
        if used.params.iter().any(|(key, value)| key.starts_with("noise_") && !value.is_null()) {
            used.params.insert("noise_sigma".to_owned(), Value::from(sigma));
            noised = true;
        }
    }
    if noised {
        return Ok(());
    }
    Err(GivenError::UnknownEntry { entry: "cond_aug".to_owned(), known: known.into_iter().collect() }.into())
}

/// The checkpoint of the run in `dir` at `step`, or its newest.
pub(super) fn checkpoint_of(dir: &Path, step: Option<u64>) -> Result<PathBuf, CheckpointError> {
    let checkpoints = CheckpointDir::of_run(dir);
    let Some(step) = step else { return checkpoints.latest() };
    let found = checkpoints.list()?.into_iter().find(|(s, _)| *s == step).map(|(_, path)| path);
    let reason = || format!("there is no checkpoint of step {step}");
    found.ok_or_else(|| CheckpointError::Misfit { path: checkpoints.path().to_owned(), reason: reason() })
}

/// Copies a checkpoint's weights into a model's: averaged ones where there are any and they are wanted.
pub(super) fn load_weights(
    weights: &[Named],
    snapshot: &Snapshot,
    use_ema: bool,
    path: &Path,
) -> Result<(), CheckpointError> {
    let by_key = |named: &'_ [Named]| -> HashMap<String, Tensor> {
        named.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    };
    let (model, ema) = (by_key(&snapshot.model), by_key(&snapshot.ema));
    let value_of = |name: &str| {
        let averaged = ema.get(name).filter(|_| use_ema);
        averaged.or_else(|| model.get(name))
    };
    for (name, tensor) in weights {
        let Some(value) = value_of(name) else {
            return Err(CheckpointError::Misfit { path: path.to_owned(), reason: format!("`{name}` is missing") });
        };
        if value.size() != tensor.size() {
            let reason = format!("`{name}` has shape {:?}; this model's has {:?}", value.size(), tensor.size());
            return Err(CheckpointError::Misfit { path: path.to_owned(), reason });
        }
    }
    assign(weights, value_of);
    Ok(())
}
