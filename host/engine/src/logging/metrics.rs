//! The metrics of a run: one JSON object a line, whole lines only.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LogError;
use super::file::write_whole;

/// What a step did, as a line of the metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The step, counted from 1 when it is done.
    pub step: u64,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Means of the loss's terms, each a key of the line, where it has several.
    #[serde(flatten)]
    pub terms: BTreeMap<String, f64>,
    /// Learning rate it used.
    pub learning_rate: f64,
    /// L2 norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Scenes seen so far.
    pub samples_seen: u64,
    /// Steps that the guards have left out so far; their scenes count as seen.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Time it took, waiting for data included.
    pub seconds: f64,
    /// Of that, time spent waiting for data.
    pub data_seconds: f64,
    /// Most that tensors held of the GPU at once since the line before, MiB; none on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_peak_mib: Option<u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a validation gave, as a line of its own file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Optimizer steps before it.
    pub step: u64,
    /// Scores, each a key of the line.
    #[serde(flatten)]
    pub scores: BTreeMap<String, f64>,
    /// Time it took.
    pub seconds: f64,
}

/// A line of a metrics file.
pub trait Line: Serialize + DeserializeOwned + std::fmt::Debug {
    /// The step it is of.
    fn step(&self) -> u64;

    /// All of its numbers that might not be finite.
    fn numbers(&self) -> Vec<f64>;
}

impl Line for Record {
    fn step(&self) -> u64 {
        self.step
    }

    fn numbers(&self) -> Vec<f64> {
        let own = [self.loss, self.learning_rate, self.grad_norm, self.seconds, self.data_seconds];
        own.into_iter().chain(self.terms.values().copied()).collect()
    }
}

impl Line for ValidationRecord {
    fn step(&self) -> u64 {
        self.step
    }

    fn numbers(&self) -> Vec<f64> {
        self.scores.values().copied().chain([self.seconds]).collect()
    }
}

/// A metrics file, open for more.
#[derive(Debug)]
pub struct Metrics<L = Record> {
    path: PathBuf,
    file: File,
    line: PhantomData<L>,
}

impl<L: Line> Metrics<L> {
    /// Opens the file at its end; it and its folder are made if they are missing.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let open = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            OpenOptions::new().create(true).append(true).open(path)
        };
        let file = open().map_err(|source| LogError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, line: PhantomData })
    }

    /// The whole lines of a file; none if there is no file.
    ///
    /// # Errors
    /// When it cannot be read, or a line that is not the last is not a record.
    pub fn read(path: &Path) -> Result<Vec<L>, LogError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            bytes => bytes.map_err(|source| LogError::Read { path: path.to_owned(), source })?,
        };
        let whole = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let record = |(i, line): (usize, &[u8])| {
            serde_json::from_slice(line).map_err(|source| LogError::Record {
                path: path.to_owned(),
                line: i + 1,
                source,
            })
        };
        whole.enumerate().map(record).collect()
    }

    /// Drops what is after `step`, and a last line that was torn by a crash, so that a resumed run goes on as if it
    /// had never stopped. The file is replaced in one move, or not touched when there is nothing to drop.
    ///
    /// # Errors
    /// When the file cannot be read or replaced, or a line that is not the last is not a record.
    pub fn rewind(&mut self, step: u64) -> Result<(), LogError> {
        let read = |source| LogError::Read { path: self.path.clone(), source };
        let text = fs::read(&self.path).map_err(read)?;
        let mut kept = Vec::with_capacity(text.len());
        for (i, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if !line.ends_with(b"\n") {
                // Only a crash in the middle of an append leaves a line without its end.
                continue;
            }
            let record: L = serde_json::from_slice(line).map_err(|source| LogError::Record {
                path: self.path.clone(),
                line: i + 1,
                source,
            })?;
            if record.step() <= step {
                kept.extend_from_slice(line);
            }
        }
        if kept.len() < text.len() {
            write_whole(&self.path, &kept)?;
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }

    /// Adds a line, whole: one write, so that a reader or a crash sees all of it or nothing.
    ///
    /// # Errors
    /// When a number is not finite, which JSON cannot hold, or the disk is full.
    pub fn append(&mut self, record: &L) -> Result<(), LogError> {
        let encode = |reason: String| LogError::Encode { path: self.path.clone(), reason };
        if !record.numbers().iter().all(|number| number.is_finite()) {
            return Err(encode(format!("a number of step {} is not finite: {record:?}", record.step())));
        }
        let mut line = serde_json::to_vec(record).map_err(|error| encode(error.to_string()))?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.flush());
        written.map_err(|source| LogError::Write { path: self.path.clone(), source })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn record(step: u64) -> Record {
        Record {
            step,
            loss: 0.5,
            terms: BTreeMap::from([("kl_loss".to_owned(), 3.5)]),
            learning_rate: 1e-3,
            grad_norm: 2.0,
            samples_seen: 2 * step,
            skipped: 0,
            seconds: 0.25,
            data_seconds: 0.0,
            gpu_peak_mib: None,
        }
    }

    fn steps(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap().step).collect()
    }

    #[test]
    fn a_resumed_run_goes_on_after_the_step_it_resumes_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/metrics.jsonl");
        let mut metrics = Metrics::open(&path).unwrap();
        for step in 1..=5 {
            metrics.append(&record(step)).unwrap();
        }
        drop(metrics);
        let mut metrics = Metrics::open(&path).unwrap();
        metrics.rewind(3).unwrap();
        assert_eq!(steps(&path), [1, 2, 3]);
        metrics.append(&record(4)).unwrap();
        assert_eq!(steps(&path), [1, 2, 3, 4]);
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_a_broken_one_before_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::open(&path).unwrap();
        metrics.append(&record(1)).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
        metrics.rewind(9).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);

        fs::write(&path, [&whole[..], b"{\"step\": \n", &whole].concat()).unwrap();
        let error = metrics.rewind(9).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl:2: not a metrics record"), "{error}");
        assert_eq!(fs::read(&path).unwrap().len(), 2 * whole.len() + 10, "the file is left as it was");
    }

    #[test]
    fn numbers_json_cannot_hold_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let error = Metrics::open(&path).unwrap().append(&Record { loss: f64::NAN, ..record(4) }).unwrap_err();
        assert!(error.to_string().contains("a number of step 4 is not finite"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn left_out_steps_are_counted_where_there_are_any() {
        let line = |record: &Record| serde_json::to_string(record).unwrap();
        let without = line(&record(4));
        assert!(!without.contains("skipped"), "{without}");
        assert_eq!(serde_json::from_str::<Record>(&without).unwrap(), record(4));
        let some = Record { skipped: 3, ..record(4) };
        assert!(line(&some).contains("\"skipped\":3"));
        assert_eq!(serde_json::from_str::<Record>(&line(&some)).unwrap(), some);
    }

    #[test]
    fn a_full_disk_is_an_error_with_the_path() {
        let full = Path::new("/dev/full");
        if full.exists() {
            let mut metrics = Metrics {
                path: full.to_owned(),
                file: OpenOptions::new().write(true).open(full).unwrap(),
                line: PhantomData,
            };
            let error = metrics.append(&record(1)).unwrap_err().to_string();
            assert!(error.starts_with("/dev/full: cannot be written"), "{error}");
        }
    }
}
