//! What ends a run before its last step.

use std::path::PathBuf;

use thiserror::Error;

use super::Refused;
use super::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::error::ComponentError;
use crate::logging::LogError;

/// What ends a run before its last step.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A component failed.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The data failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A picture or the metrics could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// libtorch refused the optimizer's step.
    #[error(transparent)]
    Optimizer(#[from] anneal_torch::TorchError),
    /// A step that moved nothing, and may be left out.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// A step that moved nothing, where the run ends.
    #[error("{refused}{limit}; the weights are those of the step before{}", replay.as_ref().map_or(String::new(), |dir| format!("\nhelp: `anneal replay {}` makes the step again", dir.display())))]
    Guarded {
        /// The step.
        refused: Box<Refused>,
        /// The limit that ended the run, if one did.
        limit: String,
        /// Where it is saved.
        replay: Option<PathBuf>,
    },
}
