//! Checkpoints: sets of files that appear whole or not at all.
//!
//! A set is written to a temporary folder, each file and the folder are fsynced, and the folder is renamed. Its
//! manifest holds the size and SHA-256 of every file and of every tensor, and is checked on load.

mod dir;
mod saver;
mod set;

pub use dir::{Best, CheckpointDir, Kept, parent};
pub use saver::Saver;
pub use set::{is_checkpoint, load, sha256_of, verify, weights_files};

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::weights::{Named, WeightsError, num_bytes};

/// The resolved config in a checkpoint.
pub const CONFIG: &str = "config.toml";

/// What can go wrong with a checkpoint.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// A file cannot be read or written; the disk may be full.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what the manifest says.
    #[error("{}: damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// It would not fit onto the disk.
    #[error("{}: a checkpoint takes {} MiB, {} MiB are free", path.display(), needed >> 20, free >> 20)]
    Full {
        /// The folder.
        path: PathBuf,
        /// Bytes of the checkpoint.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// There is none.
    #[error("{}: no checkpoint", dir.display())]
    None {
        /// The folder that was looked into.
        dir: PathBuf,
    },
    /// It belongs to another model or run.
    #[error("{}: {reason}", path.display())]
    Misfit {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl CheckpointError {
    /// Whether a file is not what it was when it was written, so that an older checkpoint may serve.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

impl From<WeightsError> for CheckpointError {
    fn from(error: WeightsError) -> Self {
        match error {
            WeightsError::Io { path, source } => Self::Io { path, source },
            WeightsError::Format { path, reason } => Self::Damaged { path, reason },
        }
    }
}

/// Where a run is: its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Optimizer steps done.
    pub step: u64,
    /// Batches taken from the loader: the data position.
    pub batches: u64,
    /// Scenes seen.
    pub samples_seen: u64,
    /// Updates of the moving average.
    pub ema_updates: u64,
    /// Steps that the guards left out.
    #[serde(default)]
    pub skipped: u64,
}

/// Everything a run needs to go on.
#[derive(Debug)]
pub struct Snapshot {
    /// The counters.
    pub position: Position,
    /// Seed of the run.
    pub seed: u64,
    /// The resolved config, TOML.
    pub config: String,
    /// Plugins that took part, `id version sha256`.
    pub plugins: Vec<String>,
    /// Weights by checkpoint key.
    pub model: Vec<Named>,
    /// Shadows of the moving average by checkpoint key; empty without one.
    pub ema: Vec<Named>,
    /// State of the optimizer.
    pub optimizer: Vec<Named>,
    /// Losses of the last steps, oldest first, where spikes are told by them.
    pub losses: Vec<f64>,
    /// Where it comes from.
    pub lineage: Lineage,
}

impl Snapshot {
    /// Bytes of its tensors.
    pub fn bytes(&self) -> u64 {
        let all = [&self.model, &self.ema, &self.optimizer].into_iter().flatten();
        all.map(|(_, tensor)| num_bytes(tensor) as u64).sum()
    }
}

/// What a checkpoint is the work of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// The checkpoint that the run went on from: its name, and the SHA-256 of its manifest.
    pub parent: Option<Parent>,
    /// Version of anneal.
    pub anneal: String,
    /// SHA-256 of the program.
    pub program: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// SHA-256 of what the data source says of itself.
    pub data: String,
}

/// The checkpoint that a run went on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// `step-00000100`.
    pub name: String,
    /// SHA-256 of its manifest, which holds those of its files.
    pub sha256: String,
}

#[cfg(test)]
mod tests;
