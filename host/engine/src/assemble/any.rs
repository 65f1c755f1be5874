//! A project of either kind, for verbs that do the same with both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{AssembleError, Plan, Project, Start};
use crate::config::{
    AutoencoderRunConfig, DataConfig, Environment, Files, KindOfRun, PluginRef, RunConfig, RunKind, RunSection,
    kind_of_run,
};
use crate::data::{Loader, Source};
use crate::plugin::{Lock, PluginError};
use crate::trainer::Trainer;

/// A project of the kind that its config is of.
pub enum AnyProject {
    /// A diffusion model's.
    Diffusion(Box<Project<RunConfig>>),
    /// An autoencoder's.
    Autoencoder(Box<Project<AutoencoderRunConfig>>),
}

/// The same expression for a project of either kind.
macro_rules! each {
    ($any:expr, $project:ident => $do:expr) => {
        match $any {
            AnyProject::Diffusion($project) => $do,
            AnyProject::Autoencoder($project) => $do,
        }
    };
}

impl AnyProject {
    /// As [`Project::open`], for a config of either kind.
    ///
    /// # Errors
    /// As [`Project::open`].
    pub fn open(
        path: &Path,
        sets: &[String],
        files: Files,
        plugin_dirs: &[PathBuf],
        env: &Environment,
    ) -> Result<Self, AssembleError> {
        Ok(match kind_of_run(path, sets)? {
            KindOfRun::Diffusion => Self::Diffusion(Box::new(Project::open(path, sets, files, plugin_dirs, env)?)),
            KindOfRun::Autoencoder => Self::Autoencoder(Box::new(Project::open(path, sets, files, plugin_dirs, env)?)),
        })
    }

    /// As [`Project::inspect`], for a config of either kind.
    ///
    /// # Errors
    /// As [`Project::inspect`].
    pub fn inspect(
        path: &Path,
        sets: &[String],
        plugin_dirs: &[PathBuf],
        env: &Environment,
    ) -> Result<Self, AssembleError> {
        Ok(match kind_of_run(path, sets)? {
            KindOfRun::Diffusion => Self::Diffusion(Box::new(Project::inspect(path, sets, plugin_dirs, env)?)),
            KindOfRun::Autoencoder => Self::Autoencoder(Box::new(Project::inspect(path, sets, plugin_dirs, env)?)),
        })
    }

    /// As [`Project::source`].
    ///
    /// # Errors
    /// As [`Project::source`].
    pub fn source(&self) -> Result<Arc<dyn Source>, AssembleError> {
        each!(self, project => project.source())
    }

    /// As [`Project::resolved`].
    ///
    /// # Errors
    /// As [`Project::resolved`].
    pub fn resolved(&self) -> Result<String, AssembleError> {
        each!(self, project => project.resolved())
    }

    /// Everything a run needs.
    ///
    /// # Errors
    /// When something that the config names cannot be loaded, does not fit the rest, or the folder of a new run already
    /// holds one.
    pub fn trainer(&mut self, start: Start<'_>) -> Result<(Trainer, Loader), AssembleError> {
        each!(self, project => project.trainer(start))
    }

    /// What the run will hold in memory and on disk.
    ///
    /// # Errors
    /// When a plugin cannot be loaded or refuses its settings.
    pub fn plan(&mut self) -> Result<Plan, AssembleError> {
        each!(self, project => project.plan())
    }

    /// Every plugin that the config names.
    pub fn plugin_refs(&self) -> Vec<PluginRef<'_>> {
        each!(self, project => project.config().plugin_refs())
    }

    /// Exactly which plugins the config names.
    ///
    /// # Errors
    /// When one is not found.
    pub fn lock(&self) -> Result<Lock, PluginError> {
        each!(self, project => Lock::of(&project.registry, &project.config().plugin_refs()))
    }

    /// Where and how the run happens.
    pub fn run(&self) -> &RunSection {
        each!(self, project => project.config().run())
    }

    /// Where batches come from.
    pub fn data(&self) -> &DataConfig {
        each!(self, project => project.config().data())
    }
}
