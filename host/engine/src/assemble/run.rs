//! A trained run, opened to be sampled from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tch::Tensor;

use super::{AssembleError, Place, Project, build_model, device};
use crate::config::{Environment, Files, KindOfRun, PluginUse, RunConfig, kind_of_run};
use crate::data::{self, Batch};
use crate::diffusion::{Model, Sampling};
use crate::trainer::assign;
use crate::trainer::checkpoint::{self, CheckpointDir, CheckpointError, Snapshot};
use crate::weights::Named;

/// What sampling may change of a run's settings.
#[derive(Debug, Clone, Default)]
pub struct SampleSettings {
    /// Scenes to sample.
    pub num: usize,
    /// Steps of the solver.
    pub num_steps: Option<u32>,
    /// The solver, with its default settings.
    pub sampler: Option<String>,
    /// Seed of data and noise; the run's own if not given.
    pub seed: Option<u64>,
    /// Step of the checkpoint; the newest if not given.
    pub checkpoint: Option<u64>,
}

/// A run with its weights, ready to sample.
pub struct TrainedRun {
    /// The model, with averaged weights where the run has them and wants them.
    pub model: Model,
    /// How samples are made.
    pub sampling: Sampling,
    /// The scenes whose conditions are sampled under.
    pub batch: Batch,
    /// Seed of the noise.
    pub seed: u64,
    /// Steps that the weights were trained for.
    pub step: u64,
    /// The run's config.
    pub config: RunConfig,
}

impl TrainedRun {
    /// Opens the run in `dir`.
    ///
    /// # Errors
    /// When there is no intact checkpoint, or what its config names is not there.
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
        if let Some(num_steps) = settings.num_steps {
            project.loaded.config.sampling.num_steps = num_steps;
        }
        if let Some(name) = &settings.sampler {
            project.loaded.config.sampling.sampler = PluginUse { plugin: name.clone(), params: Default::default() };
        }
        let config = project.config().clone();
        let seed = settings.seed.unwrap_or(config.run.seed);
        let device = device(&config.run)?;
        let batch = data::preview_batch(project.source()?, &config.data, seed, settings.num.max(1))?;
        let num_views = batch.integers.get("num_views").map_or(1, |views| *views as u32);
        let sampling = project.sampling(num_views)?;
        let built = build_model(&config, &mut project.registry, Place::Device(device))?;
        load_weights(&built.weights, &snapshot, config.sampling.use_ema, &path)?;
        Ok(Self {
            model: built.model,
            sampling,
            batch: batch.to_device(device),
            seed,
            step: snapshot.position.step,
            config,
        })
    }
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
