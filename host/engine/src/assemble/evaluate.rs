//! A trained run, scored on scenes that it was not trained on.

use std::path::{Path, PathBuf};

use super::run::{checkpoint_of, load_weights};
use super::scenes::Scenes;
use super::weighting::own_weighting;
use super::{AssembleError, Place, Project, build_model, device};
use crate::config::{AutoencoderRunConfig, Environment, Files, KindOfRun, PluginUse, RunConfig, kind_of_run};
use crate::evaluation::{Frechet, Protocol};
use crate::trainer::Scores;
use crate::trainer::checkpoint::{self, Snapshot};

/// What an evaluation may change of a run's settings.
#[derive(Debug, Clone, Default)]
pub struct EvaluateSettings {
    /// Scenes; as many as the config's validation has, or 4, if not given.
    pub scenes: Option<usize>,
    /// Steps of the solver.
    pub num_steps: Option<u32>,
    /// The solver, with its default settings.
    pub sampler: Option<String>,
    /// Step of the checkpoint; the newest if not given.
    pub checkpoint: Option<u64>,
    /// Overrides of the run's config, `a.b.c=value`.
    pub sets: Vec<String>,
}

/// What an evaluation gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Steps that the weights were trained for.
    pub step: u64,
    /// Scenes that the scores are means over.
    pub scenes: usize,
    /// Whether they come from a source of their own, or from that of training.
    pub is_held_out: bool,
    /// The scores.
    pub scores: Scores,
    /// How Fréchet distances were taken, if they were.
    pub protocol: Option<Protocol>,
}

/// Scores the run in `dir` as its config's `[validation]` says, or as that is by default. `on_scene` is told before each scene how
/// many are done, and of how many.
///
/// # Errors
/// When there is no intact checkpoint, or what its config names is not there.
pub fn evaluate(
    dir: &Path,
    settings: &EvaluateSettings,
    plugin_dirs: &[PathBuf],
    env: &Environment,
    on_scene: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, AssembleError> {
    let path = checkpoint_of(dir, settings.checkpoint)?;
    let snapshot = checkpoint::load(&path)?;
    let config = path.join(checkpoint::CONFIG);
    match kind_of_run(&config, &settings.sets)? {
        KindOfRun::Diffusion => {
            let project = Project::<RunConfig>::open(&config, &settings.sets, Files::MayLack, plugin_dirs, env)?;
            diffusion(project, &path, &snapshot, settings, on_scene)
        }
        KindOfRun::Autoencoder => {
            let project =
                Project::<AutoencoderRunConfig>::open(&config, &settings.sets, Files::MayLack, plugin_dirs, env)?;
            autoencoder(&project, &path, &snapshot, settings, on_scene)
        }
    }
}

fn diffusion(
    mut project: Project<RunConfig>,
    path: &Path,
    snapshot: &Snapshot,
    settings: &EvaluateSettings,
    on_scene: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, AssembleError> {
    let sampling = &mut project.loaded.config.sampling;
    if let Some(num_steps) = settings.num_steps {
        sampling.num_steps = num_steps;
    }
    if let Some(name) = &settings.sampler {
        sampling.sampler = PluginUse { plugin: name.clone(), params: Default::default() };
    }
    let config = project.config().clone();
    let mut validation = config.validation.clone().unwrap_or_default();
    validation.scenes = settings.scenes.unwrap_or(validation.scenes);
    let device = device(&config.run)?;
    let source = project.source()?;
    let (mut scoring, scenes) = project.scoring(&validation, &source, device)?;
    let mut loss = project.loss(device)?;
    let mut built = build_model(&config, &mut project.registry, Place::Device(device))?;
    own_weighting(&mut loss.weighting, &mut built, Place::Device(device), config.run.seed)?;
    load_weights(&built.weights, snapshot, config.sampling.use_ema, path)?;
    let scores = scoring.run(counted(scenes, validation.scenes, on_scene), &built.model, &mut loss)?;
    Ok(Evaluation {
        step: snapshot.position.step,
        scenes: validation.scenes,
        is_held_out: validation.source.is_some(),
        scores,
        protocol: protocol_of(scoring.frechet.as_ref()),
    })
}

fn autoencoder(
    project: &Project<AutoencoderRunConfig>,
    path: &Path,
    snapshot: &Snapshot,
    settings: &EvaluateSettings,
    on_scene: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, AssembleError> {
    let mut validation = project.config().validation.clone().unwrap_or_default();
    validation.scenes = settings.scenes.unwrap_or(validation.scenes);
    let device = device(&project.config().run)?;
    let (scoring, scenes) = project.scoring(&validation, &project.source()?, device)?;
    let (model, weights) = project.model(device)?;
    load_weights(&weights, snapshot, true, path)?;
    let scores = scoring.run(counted(scenes, validation.scenes, on_scene), &model)?;
    Ok(Evaluation {
        step: snapshot.position.step,
        scenes: validation.scenes,
        is_held_out: validation.source.is_some(),
        scores,
        protocol: protocol_of(scoring.frechet.as_ref()),
    })
}

fn counted(
    scenes: Scenes,
    of: usize,
    on_scene: &mut dyn FnMut(usize, usize),
) -> impl Iterator<Item = <Scenes as Iterator>::Item> {
    scenes.enumerate().map(move |(done, scene)| {
        on_scene(done, of);
        scene
    })
}

fn protocol_of(frechet: Option<&Frechet>) -> Option<Protocol> {
    frechet.map(|frechet| frechet.protocol().clone())
}
