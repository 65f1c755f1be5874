//! A checked config to a runnable model and trainer.

mod activations;
mod any;
mod autoencoder;
mod autoencoder_activations;
mod cache;
mod check;
mod device;
mod diffusion;
mod dry_run;
mod embedder_weights;
mod evaluate;
mod first_stage;
mod given;
mod inspection;
mod lora;
mod model;
mod patterns;
mod plan;
mod project;
mod run;
mod scenes;
mod shared_weights;
mod weighting;
mod weights_file;

pub use activations::Activations;
pub use any::AnyProject;
pub use check::{check_entries, check_frames, check_plugins, check_widths};
pub use device::device;
pub use evaluate::{EvaluateSettings, Evaluation, evaluate};
pub use given::{GivenScene, GivenValues, GivenVideo};
pub use inspection::Fits;
pub use model::{Built, FIRST_STAGE_PREFIX, NETWORK_PREFIX, Place, build_model};
pub use plan::{Plan, PlannedPart};
pub use project::{Project, Start, plugins, schema};
pub use run::{SampleSettings, SavedRun, TrainedRun};
pub use weighting::WEIGHTING_PREFIX;

use thiserror::Error;

use crate::cache::CacheError;
use crate::config::Problems;
use crate::data::DataError;
use crate::data::given::GivenError;
use crate::error::ComponentError;
use crate::generation::TooShort;
use crate::plugin::PluginError;
use crate::trainer::checkpoint::CheckpointError;

/// What keeps a config from becoming a run.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// The config is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// Plugins cannot be found or loaded.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A component refuses its settings.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The data cannot be opened.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data cannot be read, and nothing else is wrong.
    #[error(transparent)]
    DataAt(Problems),
    /// Plugins cannot be found, and nothing else is wrong.
    #[error(transparent)]
    PluginsAt(Problems),
    /// What is to be sampled from cannot be.
    #[error(transparent)]
    Given(#[from] GivenError),
    /// A video is shorter than the model's windows.
    #[error(transparent)]
    TooShort(#[from] TooShort),
    /// A checkpoint or weights file cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The cache cannot be written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The device is not there.
    #[error("run.device = {wanted:?}: {reason}")]
    Device {
        /// The device the config names.
        wanted: String,
        /// Why it cannot be used.
        reason: String,
    },
}
