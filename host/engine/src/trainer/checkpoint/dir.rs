//! The folder of a run's checkpoints: finding, saving, and removing those that are not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};

use super::set::{load, manifest_sha256, sync_dir, write_set};
use super::{CheckpointError, Parent, Snapshot};

/// What a checkpoint takes beside its tensors, bytes: headers, manifest, config.
const OVERHEAD: u64 = 8 << 20;

/// Which checkpoints are kept. Those that nothing is said of are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// So many of the latest; all if not given, whatever the other rules say.
    pub last: Option<usize>,
    /// Those whose step is a multiple.
    pub every_steps: Option<u64>,
    /// Those with the best scores of validation.
    pub best: Option<Best>,
}

/// Checkpoints by a score of validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// How many.
    pub count: usize,
    /// Whether more is better.
    pub highest: bool,
    /// Scores by step, of the steps that have one.
    pub scores: BTreeMap<u64, f64>,
}

impl Kept {
    /// Those of `steps`, oldest first, that go. The newest always stays.
    fn goes(&self, steps: &[u64]) -> BTreeSet<u64> {
        let Some(last) = self.last else { return BTreeSet::new() };
        let mut stays: BTreeSet<u64> = steps.iter().rev().take(last.max(1)).copied().collect();
        if let Some(every) = self.every_steps {
            stays.extend(steps.iter().filter(|step| step.is_multiple_of(every)));
        }
        if let Some(best) = &self.best {
            let mut scored: Vec<(u64, f64)> =
                steps.iter().filter_map(|step| Some((*step, *best.scores.get(step)?))).collect();
            scored.sort_by(|a, b| if best.highest { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
            stays.extend(scored.iter().take(best.count).map(|(step, _)| *step));
        }
        steps.iter().copied().filter(|step| !stays.contains(step)).collect()
    }
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

    /// Checkpoints right in a folder.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
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

    /// The newest checkpoint that is whole, read, and what was wrong with newer ones.
    ///
    /// # Errors
    /// When there is none, or none is whole: then with what is wrong with the newest. A file that cannot be read for
    /// another reason than damage is an error at once.
    pub fn newest_whole(&self) -> Result<(PathBuf, Snapshot, Vec<CheckpointError>), CheckpointError> {
        let mut damaged = Vec::new();
        for (_, path) in self.list()?.into_iter().rev() {
            match load(&path) {
                Ok(snapshot) => return Ok((path, snapshot, damaged)),
                Err(error) if error.is_damage() => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Err(damaged.into_iter().next().unwrap_or_else(|| CheckpointError::None { dir: self.dir.clone() }))
    }

    /// Writes a checkpoint, and then removes those that are not kept.
    ///
    /// # Errors
    /// When it does not fit onto the disk, or something cannot be written: then no checkpoint appears and the older ones
    /// are untouched.
    pub fn save(&self, snapshot: &Snapshot, kept: &Kept) -> Result<PathBuf, CheckpointError> {
        let name = format!("step-{:08}", snapshot.position.step);
        let done = self.dir.join(&name);
        let partial = self.dir.join(format!("{PARTIAL}{name}-{}", std::process::id()));
        self.remove_partial()?;
        self.check_room(snapshot.bytes())?;
        fs::create_dir_all(&partial).map_err(io_error(&partial))?;
        let written = write_set(&partial, snapshot).and_then(|()| self.publish(&partial, &done));
        if let Err(error) = written {
            // The write's own error matters more than one of the clean-up.
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        self.prune(kept, &done)?;
        Ok(done)
    }

    /// Gives a written set its name in one move; one that had it before goes.
    fn publish(&self, partial: &Path, done: &Path) -> Result<(), CheckpointError> {
        if !done.exists() {
            fs::rename(partial, done).map_err(io_error(done))?;
            return sync_dir(&self.dir);
        }
        let old = match renameat_with(CWD, partial, CWD, done, RenameFlags::EXCHANGE) {
            Ok(()) => partial.to_owned(),
            // Not every file system can; then for a moment neither has the name, and the older checkpoints are there.
            Err(_) => {
                let old = self.put_aside(done)?;
                fs::rename(partial, done).map_err(io_error(done))?;
                old
            }
        };
        sync_dir(&self.dir)?;
        fs::remove_dir_all(&old).map_err(io_error(&old))
    }

    /// Gives a checkpoint that goes another name: what is half removed never has that of a whole one.
    fn put_aside(&self, checkpoint: &Path) -> Result<PathBuf, CheckpointError> {
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.dir.join(format!("{PARTIAL}{name}-old"));
        fs::rename(checkpoint, &aside).map_err(io_error(checkpoint))?;
        Ok(aside)
    }

    /// Removes checkpoints that are not kept, the oldest first. `newest` has just been read back.
    fn prune(&self, kept: &Kept, newest: &Path) -> Result<(), CheckpointError> {
        let all = self.list()?;
        let steps: Vec<u64> = all.iter().map(|(step, _)| *step).collect();
        let goes = kept.goes(&steps);
        for (_, old) in all.iter().filter(|(step, path)| goes.contains(step) && path != newest) {
            let aside = self.put_aside(old)?;
            fs::remove_dir_all(&aside).map_err(io_error(&aside))?;
        }
        Ok(())
    }

    /// Whether a checkpoint of so many bytes of tensors fits onto the disk.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_room(&self, bytes: u64) -> Result<(), CheckpointError> {
        let needed = bytes + OVERHEAD;
        let existing = self.dir.ancestors().find(|dir| dir.exists() && !dir.as_os_str().is_empty());
        // Where the disk does not say what is free, the write will.
        let Ok(disk) = statvfs(existing.unwrap_or(Path::new("."))) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < needed {
            return Err(CheckpointError::Full { path: self.dir.clone(), needed, free });
        }
        Ok(())
    }

    /// Removes what an interrupted save left.
    fn remove_partial(&self) -> Result<(), CheckpointError> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Ok(()) };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(|source| CheckpointError::Io { path, source })?;
            }
        }
        Ok(())
    }
}

/// What the names of sets begin with that are half written, or half removed.
const PARTIAL: &str = ".partial-";

fn io_error(path: &Path) -> impl Fn(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Io { path: path.clone(), source }
}

/// What a checkpoint is called in the lineage of those that come after it.
///
/// # Errors
/// When its manifest cannot be read.
pub fn parent(checkpoint: &Path) -> Result<Parent, CheckpointError> {
    let name = checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Parent { name, sha256: manifest_sha256(checkpoint)? })
}
