//! Checkpoints: sets of files that appear whole or not at all.
//!
//! A set is written to a temporary folder, each file and the folder are fsynced, and the folder is renamed. Its
//! manifest holds the size and SHA-256 of every file and is checked on load.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::weights::{self, Named, WeightsError};

const MANIFEST: &str = "manifest.json";
const PROGRESS: &str = "progress.json";
/// The resolved config in a checkpoint.
pub const CONFIG: &str = "config.toml";
const TENSORS: [&str; 3] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"];
const FORMAT: u32 = 1;

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
}

#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    format: u32,
    anneal: String,
    #[serde(flatten)]
    position: Position,
    seed: u64,
    plugins: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ManifestEntry {
    bytes: u64,
    sha256: String,
}

/// The folder of a run's checkpoints.
#[derive(Debug, Clone)]
pub struct CheckpointDir {
    dir: PathBuf,
}

impl CheckpointDir {
    /// The checkpoints below a run's folder.
    pub fn of_run(run: &Path) -> Self {
        Self { dir: run.join("checkpoints") }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Checkpoints by step, oldest first. Unfinished ones are not among them.
    ///
    /// # Errors
    /// When the folder exists and cannot be read.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(CheckpointError::Io { path: self.dir.clone(), source }),
        };
        let mut found: Vec<(u64, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name();
                let step = name.to_str()?.strip_prefix("step-")?.parse().ok()?;
                Some((step, entry.path()))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// When there is none.
    pub fn latest(&self) -> Result<PathBuf, CheckpointError> {
        self.list()?.pop().map(|(_, path)| path).ok_or_else(|| CheckpointError::None { dir: self.dir.clone() })
    }

    /// Writes a checkpoint and then removes all but the newest `keep_last`.
    ///
    /// # Errors
    /// When something cannot be written: then no checkpoint appears and the older ones are untouched.
    pub fn save(&self, snapshot: &Snapshot, keep_last: Option<usize>) -> Result<PathBuf, CheckpointError> {
        let name = format!("step-{:08}", snapshot.position.step);
        let done = self.dir.join(&name);
        let partial = self.dir.join(format!(".partial-{name}-{}", std::process::id()));
        self.remove_partial()?;
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| CheckpointError::Io { path, source }
        };
        fs::create_dir_all(&partial).map_err(io(&partial))?;
        let written = write_set(&partial, snapshot).and_then(|()| {
            if done.exists() {
                fs::remove_dir_all(&done).map_err(io(&done))?;
            }
            fs::rename(&partial, &done).map_err(io(&done))?;
            sync_dir(&self.dir)
        });
        if let Err(error) = written {
            // The write's own error matters more than one of the clean-up.
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        if let Some(keep) = keep_last {
            let all = self.list()?;
            for (_, old) in all.iter().take(all.len().saturating_sub(keep)) {
                fs::remove_dir_all(old).map_err(io(old))?;
            }
        }
        Ok(done)
    }

    /// Removes what an interrupted save left.
    fn remove_partial(&self) -> Result<(), CheckpointError> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Ok(()) };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(".partial-") {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(|source| CheckpointError::Io { path, source })?;
            }
        }
        Ok(())
    }
}

fn write_set(dir: &Path, snapshot: &Snapshot) -> Result<(), CheckpointError> {
    let progress = Progress {
        format: FORMAT,
        anneal: env!("CARGO_PKG_VERSION").to_owned(),
        position: snapshot.position,
        seed: snapshot.seed,
        plugins: snapshot.plugins.clone(),
    };
    write_text(&dir.join(PROGRESS), &to_json(&progress))?;
    write_text(&dir.join(CONFIG), &snapshot.config)?;
    for (name, tensors) in TENSORS.iter().zip([&snapshot.model, &snapshot.ema, &snapshot.optimizer]) {
        let path = dir.join(name);
        weights::write(&path, tensors, [("format".to_owned(), "pt".to_owned())].into())?;
        sync_file(&path)?;
    }
    let mut manifest = BTreeMap::new();
    for name in [PROGRESS, CONFIG].iter().chain(&TENSORS) {
        manifest.insert((*name).to_owned(), digest(&dir.join(name))?);
    }
    write_text(&dir.join(MANIFEST), &to_json(&manifest))?;
    sync_dir(dir)
}

/// Whether `path` is the folder of a checkpoint.
pub fn is_checkpoint(path: &Path) -> bool {
    path.join(MANIFEST).is_file()
}

/// The files of a checkpoint's weights and of their moving averages.
pub fn weights_files(checkpoint: &Path) -> [PathBuf; 2] {
    [TENSORS[0], TENSORS[1]].map(|name| checkpoint.join(name))
}

fn text(checkpoint: &Path, name: &str) -> Result<String, CheckpointError> {
    let path = checkpoint.join(name);
    fs::read_to_string(&path).map_err(|source| CheckpointError::Io { path, source })
}

/// Checks every file of a checkpoint against its manifest.
///
/// # Errors
/// When one is missing or damaged.
pub fn verify(checkpoint: &Path) -> Result<(), CheckpointError> {
    let damaged = |name: &str, reason: String| CheckpointError::Damaged { path: checkpoint.join(name), reason };
    let manifest: BTreeMap<String, ManifestEntry> =
        serde_json::from_str(&text(checkpoint, MANIFEST)?).map_err(|error| damaged(MANIFEST, error.to_string()))?;
    for name in [PROGRESS, CONFIG].iter().chain(&TENSORS) {
        let Some(expected) = manifest.get(*name) else {
            return Err(damaged(MANIFEST, format!("it does not list {name}")));
        };
        let got = digest(&checkpoint.join(name))?;
        if got.bytes != expected.bytes {
            return Err(damaged(name, format!("{} bytes instead of {}", got.bytes, expected.bytes)));
        }
        if got.sha256 != expected.sha256 {
            return Err(damaged(name, "its SHA-256 differs from the manifest's".to_owned()));
        }
    }
    Ok(())
}

/// Reads a checkpoint after checking every file against the manifest.
///
/// # Errors
/// When a file is missing, damaged or of a newer format.
pub fn load(checkpoint: &Path) -> Result<Snapshot, CheckpointError> {
    verify(checkpoint)?;
    let damaged = |name: &str, reason: String| CheckpointError::Damaged { path: checkpoint.join(name), reason };
    let progress: Progress =
        serde_json::from_str(&text(checkpoint, PROGRESS)?).map_err(|error| damaged(PROGRESS, error.to_string()))?;
    if progress.format != FORMAT {
        let reason =
            format!("format {} was written by anneal {}; this one reads {FORMAT}", progress.format, progress.anneal);
        return Err(CheckpointError::Misfit { path: checkpoint.to_owned(), reason });
    }
    let [model, ema, optimizer] = TENSORS.map(|name| weights::read(&checkpoint.join(name)));
    Ok(Snapshot {
        position: progress.position,
        seed: progress.seed,
        config: text(checkpoint, CONFIG)?,
        plugins: progress.plugins,
        model: model?,
        ema: ema?,
        optimizer: optimizer?,
    })
}

fn to_json<T: Serialize>(value: &T) -> String {
    // Maps with string keys and plain numbers always serialise.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn write_text(path: &Path, text: &str) -> Result<(), CheckpointError> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

fn sync_file(path: &Path) -> Result<(), CheckpointError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

fn sync_dir(path: &Path) -> Result<(), CheckpointError> {
    sync_file(path)
}

fn digest(path: &Path) -> Result<ManifestEntry, CheckpointError> {
    let hash = || -> io::Result<ManifestEntry> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            bytes += n as u64;
        }
        let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(ManifestEntry { bytes, sha256 })
    };
    hash().map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    fn snapshot(step: u64) -> Snapshot {
        let tensor = |name: &str| vec![(name.to_owned(), Tensor::from_slice(&[step as f32, 2.0]))];
        Snapshot {
            position: Position { step, batches: 2 * step, samples_seen: 8 * step, ema_updates: step },
            seed: 1,
            config: "a = 1\n".to_owned(),
            plugins: vec!["anneal.samplers 0.1.0 ab".to_owned()],
            model: tensor("model.diffusion_model.w"),
            ema: Vec::new(),
            optimizer: tensor("exp_avg"),
        }
    }

    #[test]
    fn a_saved_checkpoint_is_loaded_and_old_ones_are_pruned() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDir::of_run(run.path());
        assert!(matches!(checkpoints.latest(), Err(CheckpointError::None { .. })));
        for step in [10, 20, 30] {
            checkpoints.save(&snapshot(step), Some(2)).unwrap();
        }
        let steps: Vec<u64> = checkpoints.list().unwrap().iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [20, 30]);
        let loaded = load(&checkpoints.latest().unwrap()).unwrap();
        assert_eq!(loaded.position, snapshot(30).position);
        assert!(loaded.model[0].1.equal(&snapshot(30).model[0].1) && loaded.ema.is_empty());
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let run = tempfile::tempdir().unwrap();
        let checkpoint = CheckpointDir::of_run(run.path()).save(&snapshot(5), None).unwrap();
        for name in [PROGRESS, CONFIG].iter().chain(&TENSORS) {
            let path = checkpoint.join(name);
            let good = fs::read(&path).unwrap();
            let mut flipped = good.clone();
            let last = flipped.len() - 1;
            flipped[last] ^= 1;
            for bad in [&flipped[..], &good[..last]] {
                fs::write(&path, bad).unwrap();
                let error = load(&checkpoint).unwrap_err();
                assert!(
                    matches!(error, CheckpointError::Damaged { .. }) && error.to_string().contains(name),
                    "{error}"
                );
            }
            fs::write(&path, good).unwrap();
        }
        assert!(load(&checkpoint).is_ok());
    }

    #[test]
    fn what_an_interrupted_save_left_is_never_loaded_and_is_removed() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDir::of_run(run.path());
        let left = checkpoints.path().join(".partial-step-00000009-1");
        fs::create_dir_all(&left).unwrap();
        assert!(checkpoints.list().unwrap().is_empty());
        checkpoints.save(&snapshot(10), None).unwrap();
        assert!(!left.exists());
    }
}
