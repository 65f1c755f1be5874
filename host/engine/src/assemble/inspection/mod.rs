//! All that can be found wrong with a config before its run, at once and without its weights in memory.

use std::path::{Path, PathBuf};

mod faults;
mod fits;
mod headers;
mod tried;

pub use faults::Faults;
use faults::{Area, of_component, of_data, of_plugins};

use super::weighting::try_weighting;
use super::{AssembleError, Project, check_entries, check_plugins};
use crate::config::{
    AutoencoderRunConfig, DataConfig, DenoiserConfig, Environment, Files, Loaded, PluginKind, PluginRef, PluginUse,
    Problem, Problems, RunConfig, RunKind, load_with,
};
use crate::data::{self, Batch};
use crate::error::ComponentError;
use crate::plugin::{Registry, SearchPath};

/// A kind of run whose model can be compared with what the config names.
pub trait Fits: RunKind {
    /// Adds what of the model does not fit the data, the embedders, and the weights that are there. `batch` is a sample of
    /// the data, where it could be read. Nothing of the model's size is allocated.
    fn misfits(project: &mut Project<Self>, batch: Option<&Batch>, faults: &mut Faults);

    /// How many sigmas a run asks the discretization at `pointer` for.
    fn num_sigmas(&self, pointer: &str) -> u32;
}

impl<C: Fits> Project<C> {
    /// Reads the config at `path` with `sets` on top and finds all that is wrong with it: as [`Project::open`], and what the
    /// plugins say to their settings, the data to what is asked of it, and the headers of weights to the model.
    ///
    /// Where a section is wrong by itself, what depends on it is not looked at.
    ///
    /// # Errors
    /// All of it.
    pub fn inspect(
        path: &Path,
        sets: &[String],
        plugin_dirs: &[PathBuf],
        env: &Environment,
    ) -> Result<Self, AssembleError> {
        let mut faults = Faults::default();
        let mut opened = None;
        // Files that lack keep nothing else from being found.
        let lenient = load_with(path, sets, Files::MayLack, |loaded: &mut Loaded<C>, known| {
            let search = SearchPath::new(&loaded.config.plugins().dirs, plugin_dirs, env);
            let mut problems = Vec::new();
            match Registry::discover(&search, &loaded.config.plugins().require) {
                Ok(registry) => {
                    problems = check_plugins(loaded, &registry);
                    let known = [known, &problems].concat();
                    let mut project = Self { loaded: loaded.clone(), registry };
                    project.look(&known, &mut faults);
                    opened = Some(project);
                }
                Err(error) => faults.add(Area::Plugins, of_plugins(loaded, &error)),
            }
            problems
        });
        if let Err(Problems(problems)) = lenient {
            problems.into_iter().for_each(|problem| faults.add(Area::Config, problem));
        }
        let strict = load_with(path, sets, Files::Needed, |loaded: &mut Loaded<C>, _| match &opened {
            Some(project) => check_plugins(loaded, &project.registry),
            None => Vec::new(),
        });
        if let Err(Problems(problems)) = strict {
            problems.into_iter().for_each(|problem| faults.add(Area::Config, problem));
        }
        match (faults.into_error(), opened) {
            (Some(error), _) => Err(error),
            (None, Some(project)) => Ok(project),
            // Without a fault the config could be read.
            (None, None) => Project::open(path, sets, Files::Needed, plugin_dirs, env),
        }
    }

    /// Looks at what the settings name, as far as they are not among the `known` problems.
    fn look(&mut self, known: &[Problem], faults: &mut Faults) {
        let is_sound = |section: &str| {
            !known.iter().any(|problem| problem.key == section || problem.key.starts_with(&format!("{section}.")))
        };
        let sections = ["model", "autoencoder"];
        let mut batch = None;
        if is_sound("data") {
            match self.sample("/data/source", self.config().data()) {
                Ok(sample) => {
                    let problems = check_entries(&self.loaded, &sample);
                    problems.into_iter().for_each(|problem| faults.add(Area::Config, problem));
                    batch = Some(sample);
                }
                Err(problem) => faults.add_following(Area::Data, problem),
            }
            if let Some(held_out) = self.config().held_out().filter(|_| is_sound("validation")) {
                let held_out = DataConfig { source: held_out.clone(), ..self.config().data().clone() };
                match self.sample("/validation/source", &held_out) {
                    Ok(sample) if batch.is_some() => {
                        let problems = check_entries(&self.loaded, &sample);
                        problems.into_iter().for_each(|problem| faults.add(Area::Config, problem));
                    }
                    Ok(_) => {}
                    Err(problem) => faults.add_following(Area::Data, problem),
                }
            }
        }
        let frames = batch.as_ref().map(|batch| {
            let views = batch.integers.get("num_views").copied().unwrap_or(1).max(1);
            (batch.frames_per_scene, views)
        });
        self.refused_settings(is_sound, frames, faults);
        if sections.into_iter().all(is_sound) && faults.is_empty_of(Area::Plugins) {
            C::misfits(self, batch.as_ref(), faults);
        }
    }

    /// A sample of the source that is set at `pointer`, or what is wrong with it.
    fn sample(&self, pointer: &str, config: &DataConfig) -> Result<Batch, Problem> {
        let source = data::open(config);
        let sample = source.and_then(|source| data::preview_batch(source, config, self.config().run().seed, 1));
        sample.map_err(|error| of_data(&self.loaded, pointer, &error))
    }

    /// What components say to their settings when they are started with them, and asked once what a run asks them.
    fn refused_settings(&mut self, is_sound: impl Fn(&str) -> bool, frames: Option<(i64, i64)>, faults: &mut Faults) {
        let owned = |used: PluginRef<'_>| {
            let plugin = PluginUse { plugin: used.name.to_owned(), params: used.params.clone() };
            (used.pointer, used.kind, plugin)
        };
        let named: Vec<(String, PluginKind, PluginUse)> = self.config().plugin_refs().into_iter().map(owned).collect();
        for (pointer, kind, used) in named {
            if !is_sound(&pointer[1..].replace('/', ".")) {
                continue;
            }
            if let Err(error) = self.ask(&pointer, kind, &used, frames) {
                let help = "`anneal plugin info` shows what the settings mean";
                faults.add_following(Area::Config, of_component(&self.loaded, &pointer, &error, help));
            }
        }
    }

    fn ask(
        &mut self,
        pointer: &str,
        kind: PluginKind,
        used: &PluginUse,
        frames: Option<(i64, i64)>,
    ) -> Result<(), ComponentError> {
        let num_sigmas = self.config().num_sigmas(pointer);
        let registry = &mut self.registry;
        match kind {
            // Embedders are called with a batch.
            PluginKind::Embedder => {}
            PluginKind::Weighting => try_weighting(&mut registry.weighting(used)?, &used.plugin, registry)?,
            PluginKind::SigmaSampling => drop(registry.sigma_sampler(used)?),
            PluginKind::Discretization => drop(registry.discretization(used)?.sigmas(num_sigmas)?),
            PluginKind::LearningRate => drop(registry.learning_rate(used)?.factors(0, 1)?),
            PluginKind::Sampler => drop(registry.sampler(used)?),
            PluginKind::Guidance => {
                let mut guidance = registry.guidance(used)?;
                if let Some((frames, views)) = frames {
                    guidance.scales(&[1.0], frames as u32, views as u32)?;
                }
            }
        }
        Ok(())
    }
}

impl Fits for RunConfig {
    fn misfits(project: &mut Project<Self>, batch: Option<&Batch>, faults: &mut Faults) {
        fits::of_diffusion(project, batch, faults);
    }

    fn num_sigmas(&self, pointer: &str) -> u32 {
        match &self.model.denoiser {
            DenoiserConfig::Discrete { num_idx, .. } if pointer.starts_with("/model") => *num_idx,
            _ => self.sampling.num_steps,
        }
    }
}

impl Fits for AutoencoderRunConfig {
    fn misfits(project: &mut Project<Self>, _: Option<&Batch>, faults: &mut Faults) {
        fits::of_autoencoder(project, faults);
    }

    fn num_sigmas(&self, _: &str) -> u32 {
        1
    }
}
