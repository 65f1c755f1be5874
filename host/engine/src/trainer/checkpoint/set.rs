//! The files of one checkpoint: written, checked, read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CONFIG, CheckpointError, Lineage, Position, Snapshot};
use crate::bounded::{self, LIST_MAX};
use crate::digest::{hex, in_shares, sha256};
use crate::weights::{self, WeightsFile};

const MANIFEST: &str = "manifest.json";
const PROGRESS: &str = "progress.json";
const TENSORS: [&str; 3] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"];
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    format: u32,
    #[serde(flatten)]
    position: Position,
    seed: u64,
    plugins: Vec<String>,
    /// Bits of numbers, which text might round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    losses: Vec<u64>,
    #[serde(default)]
    lineage: Lineage,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileEntry {
    bytes: u64,
    /// SHA-256 of the file; of a file of tensors, of what is outside of them.
    sha256: String,
    /// SHA-256 of each tensor's bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tensors: BTreeMap<String, String>,
}

/// Writes the files of a set, and reads them back: what is on disk is what was in memory.
pub(super) fn write_set(dir: &Path, snapshot: &Snapshot) -> Result<(), CheckpointError> {
    let progress = Progress {
        format: FORMAT,
        position: snapshot.position,
        seed: snapshot.seed,
        plugins: snapshot.plugins.clone(),
        losses: snapshot.losses.iter().map(|loss| loss.to_bits()).collect(),
        lineage: snapshot.lineage.clone(),
    };
    let mut manifest = BTreeMap::new();
    for (name, text) in [(PROGRESS, &to_json(&progress)), (CONFIG, &snapshot.config)] {
        write_text(dir, name, text)?;
        manifest.insert(name.to_owned(), digest(&dir.join(name))?);
    }
    for (name, tensors) in TENSORS.iter().zip([&snapshot.model, &snapshot.ema, &snapshot.optimizer]) {
        let path = dir.join(name);
        let wanted = weights::write(&path, tensors, [("format".to_owned(), "pt".to_owned())].into())?;
        sync_file(&path)?;
        let entry = digest(&path)?;
        if entry.tensors != wanted {
            let what = differing(&wanted, &entry.tensors);
            return Err(damaged(dir, name, format!("{what}: {NOT_AS_IN_MEMORY}")));
        }
        manifest.insert((*name).to_owned(), entry);
    }
    write_text(dir, MANIFEST, &to_json(&manifest))?;
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
    bounded::read_text(&path, LIST_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => damaged(checkpoint, name, "it is no text".to_owned()),
        io::ErrorKind::FileTooLarge => damaged(checkpoint, name, error.to_string()),
        _ => missing(&path)(error),
    })
}

/// Checks every file of a checkpoint against its manifest.
///
/// # Errors
/// When one is missing or damaged, with the tensors that are.
pub fn verify(checkpoint: &Path) -> Result<(), CheckpointError> {
    let manifest: BTreeMap<String, FileEntry> = serde_json::from_str(&text(checkpoint, MANIFEST)?)
        .map_err(|error| damaged(checkpoint, MANIFEST, error.to_string()))?;
    for name in [PROGRESS, CONFIG].iter().chain(&TENSORS) {
        let Some(expected) = manifest.get(*name) else {
            return Err(damaged(checkpoint, MANIFEST, format!("it does not list {name}")));
        };
        let path = checkpoint.join(name);
        let bytes = fs::metadata(&path).map_err(missing(&path))?.len();
        if bytes != expected.bytes {
            return Err(damaged(checkpoint, name, format!("{bytes} bytes instead of {}", expected.bytes)));
        }
        let got = digest(&path)?;
        if got.sha256 != expected.sha256 {
            return Err(damaged(checkpoint, name, "its SHA-256 differs from the manifest's".to_owned()));
        }
        if got.tensors != expected.tensors {
            let what = differing(&expected.tensors, &got.tensors);
            return Err(damaged(checkpoint, name, format!("{what}: the SHA-256 differs from the manifest's")));
        }
    }
    Ok(())
}

/// The first tensors whose sums differ, and how many more.
fn differing(wanted: &BTreeMap<String, String>, got: &BTreeMap<String, String>) -> String {
    let names: Vec<&str> =
        wanted.iter().filter(|(name, sum)| got.get(*name) != Some(sum)).map(|(name, _)| name.as_str()).collect();
    let more = names.len().saturating_sub(3);
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn damaged(checkpoint: &Path, name: &str, reason: String) -> CheckpointError {
    CheckpointError::Damaged { path: checkpoint.join(name), reason }
}

/// A file that is not there is damage of its checkpoint.
fn missing(path: &Path) -> impl Fn(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => CheckpointError::Damaged { path: path.clone(), reason: "it is missing".to_owned() },
        _ => CheckpointError::Io { path: path.clone(), source },
    }
}

/// The SHA-256 of a checkpoint's manifest.
pub(super) fn manifest_sha256(checkpoint: &Path) -> Result<String, CheckpointError> {
    Ok(sha256(text(checkpoint, MANIFEST)?))
}

/// Reads a checkpoint after checking every file against the manifest.
///
/// # Errors
/// When a file is missing, damaged or of a newer format.
pub fn load(checkpoint: &Path) -> Result<Snapshot, CheckpointError> {
    verify(checkpoint)?;
    let progress: Progress = serde_json::from_str(&text(checkpoint, PROGRESS)?)
        .map_err(|error| damaged(checkpoint, PROGRESS, error.to_string()))?;
    if progress.format != FORMAT {
        let reason = format!(
            "format {} was written by anneal {}; this one reads {FORMAT}",
            progress.format, progress.lineage.anneal
        );
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
        losses: progress.losses.into_iter().map(f64::from_bits).collect(),
        lineage: progress.lineage,
    })
}

fn to_json<T: Serialize>(value: &T) -> String {
    // Maps with string keys and plain numbers always serialise.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Why what has just been written is no good.
const NOT_AS_IN_MEMORY: &str = "it was not written as it is in memory";

/// Writes a text, and reads it back.
fn write_text(dir: &Path, name: &str, text: &str) -> Result<(), CheckpointError> {
    let path = dir.join(name);
    let write = || -> io::Result<Vec<u8>> {
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::read(&path)
    };
    let written = write().map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
    if written == text.as_bytes() { Ok(()) } else { Err(damaged(dir, name, NOT_AS_IN_MEMORY.to_owned())) }
}

fn sync_file(path: &Path) -> Result<(), CheckpointError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

pub(super) fn sync_dir(path: &Path) -> Result<(), CheckpointError> {
    sync_file(path)
}

/// What a manifest says of a file.
fn digest(path: &Path) -> Result<FileEntry, CheckpointError> {
    let is_tensors = path.extension().is_some_and(|extension| extension == "safetensors");
    let mut spans: Vec<(Range<u64>, String)> = match is_tensors {
        true => {
            let file = WeightsFile::open(path)?;
            file.entries().iter().map(|entry| (entry.range(), entry.name.clone())).collect()
        }
        false => Vec::new(),
    };
    spans.sort_by_key(|(range, _)| (range.start, range.end));
    sums(path, spans).map_err(missing(path))
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    Ok(sums(path, Vec::new())?.sha256)
}

/// The sums of a file and of spans of it, in order, which do not overlap.
fn sums(path: &Path, spans: Vec<(Range<u64>, String)>) -> io::Result<FileEntry> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let (mut outside, mut at) = (Sha256::new(), 0);
    for (range, _) in &spans {
        hash(&mut file, at..range.start, &mut outside)?;
        at = range.end;
    }
    hash(&mut file, at..bytes, &mut outside)?;
    let of_share = |share: Vec<(Range<u64>, String)>| -> io::Result<Vec<(String, String)>> {
        let mut file = File::open(path)?;
        let sum = |(range, name)| {
            let mut inside = Sha256::new();
            hash(&mut file, range, &mut inside)?;
            Ok((name, hex(&inside.finalize())))
        };
        share.into_iter().map(sum).collect()
    };
    let shares = in_shares(spans, |(range, _)| range.end - range.start, of_share);
    let tensors: Vec<Vec<(String, String)>> = shares.into_iter().collect::<io::Result<_>>()?;
    Ok(FileEntry { bytes, sha256: hex(&outside.finalize()), tensors: tensors.into_iter().flatten().collect() })
}

/// Adds the bytes of a range of a file.
fn hash(file: &mut File, range: Range<u64>, hasher: &mut Sha256) -> io::Result<()> {
    file.seek(io::SeekFrom::Start(range.start))?;
    let mut left = range.end.saturating_sub(range.start);
    let mut buffer = vec![0; usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER))];
    while left > 0 {
        let wanted = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
        file.read_exact(&mut buffer[..wanted])?;
        hasher.update(&buffer[..wanted]);
        left -= wanted as u64;
    }
    Ok(())
}

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;
