//! A step that went wrong, saved so that it can be made again: the state before it, and its batches.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::checkpoint::{CheckpointDir, CheckpointError, Kept, Snapshot};
use super::{Refused, TrainError};
use crate::data::Batch;
use crate::weights::{self, Named};

const ABOUT: &str = "replay.json";

/// What a replay says of its step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The step, counted from 1.
    pub step: u64,
    /// What was wrong with it.
    pub trouble: String,
    /// Its loss, as bits, because text holds no number that is not finite.
    loss: u64,
    grad_norm: u64,
    /// Its batches, beside their tensors.
    batches: Vec<AboutBatch>,
}

impl About {
    /// Mean loss of the batches, as it was.
    pub fn loss(&self) -> f64 {
        f64::from_bits(self.loss)
    }

    /// The gradient's norm, as it was.
    pub fn grad_norm(&self) -> f64 {
        f64::from_bits(self.grad_norm)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AboutBatch {
    texts: BTreeMap<String, Vec<String>>,
    integers: BTreeMap<String, i64>,
    sample_ids: Vec<u64>,
    frames_per_scene: i64,
}

/// A replay on disk.
#[derive(Debug)]
pub struct Replay {
    /// What it says of its step.
    pub about: About,
    /// The checkpoint of the state before the step.
    pub state: PathBuf,
    dir: PathBuf,
}

fn batch_file(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("batch-{number:03}.safetensors"))
}

/// Saves a step that was refused in a folder of the run, which appears whole or not at all.
///
/// # Errors
/// When something cannot be written, or a batch cannot be read again.
pub(super) fn save(
    run: &Path,
    refused: &Refused,
    snapshot: &Snapshot,
    batches: &mut dyn Iterator<Item = Result<Batch, TrainError>>,
) -> Result<PathBuf, TrainError> {
    // Several may be left out before one step is made.
    let name = format!("step-{:08}-batch-{:08}", refused.step, snapshot.position.batches);
    let replays = run.join("replays");
    let (partial, done) = (replays.join(format!(".partial-{name}")), replays.join(&name));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| CheckpointError::Io { path, source }
    };
    for old in [&partial, &done] {
        match fs::remove_dir_all(old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(old)(error).into()),
            _ => {}
        }
    }
    CheckpointDir::at(&partial).save(snapshot, &Kept::default())?;
    let mut about = Vec::new();
    for (number, batch) in batches.enumerate() {
        let Batch { tensors, texts, integers, sample_ids, frames_per_scene } = batch?;
        let named: Vec<Named> = tensors.into_iter().collect();
        weights::write(&batch_file(&partial, number), &named, Default::default()).map_err(CheckpointError::from)?;
        about.push(AboutBatch { texts, integers, sample_ids, frames_per_scene });
    }
    let about = About {
        step: refused.step,
        trouble: refused.trouble.to_string(),
        loss: refused.loss.to_bits(),
        grad_norm: refused.grad_norm.to_bits(),
        batches: about,
    };
    let path = partial.join(ABOUT);
    // Maps with string keys and plain numbers always serialise.
    fs::write(&path, serde_json::to_vec_pretty(&about).unwrap_or_default()).map_err(io(&path))?;
    fs::rename(&partial, &done).map_err(io(&done))?;
    Ok(done)
}

impl Replay {
    /// Opens a replay.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let path = dir.join(ABOUT);
        let text = fs::read(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
        let about = serde_json::from_slice(&text)
            .map_err(|error| CheckpointError::Damaged { path: path.clone(), reason: error.to_string() })?;
        Ok(Self { about, state: CheckpointDir::at(dir).latest()?, dir: dir.to_owned() })
    }

    /// The batches, on a device.
    pub(super) fn batches(&self, device: tch::Device) -> Result<Vec<Batch>, CheckpointError> {
        let batch = |(number, about): (usize, &AboutBatch)| {
            let tensors: BTreeMap<String, Tensor> =
                weights::read(&batch_file(&self.dir, number))?.into_iter().collect();
            let AboutBatch { texts, integers, sample_ids, frames_per_scene } = about.clone();
            Ok(Batch { tensors, texts, integers, sample_ids, frames_per_scene }.to_device(device))
        };
        self.about.batches.iter().enumerate().map(batch).collect()
    }
}
