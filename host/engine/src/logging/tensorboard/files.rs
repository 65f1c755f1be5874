//! The event files of a run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::message::{FILE_VERSION, START};
use super::record::{Events, record};
use super::{Event, SessionLog, Summary, SummaryValue, What};
use crate::logging::LogError;

/// What the names of event files begin with; the seconds since 1970 follow, so that later files have later names.
const PREFIX: &str = "events.out.tfevents.";

/// The event files of a run, of which the last is written to.
#[derive(Debug)]
pub struct EventFiles {
    dir: PathBuf,
    /// Made when there is something to write.
    file: Option<(PathBuf, File)>,
    /// The first step that the next file has.
    start: u64,
}

impl EventFiles {
    /// The event files in a folder, which is made with the first of them.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, file: None, start: 0 }
    }

    /// The whole events of a folder, in the order in which they were written; none if there is no folder.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn read(dir: &Path) -> Result<Vec<Event>, LogError> {
        let mut all = Vec::new();
        for path in paths(dir)? {
            let read = |source| LogError::Read { path: path.clone(), source };
            let mut events = Events::open(&path).map_err(read)?;
            while let Some(event) = events.next().map_err(read)? {
                all.push(event);
            }
        }
        Ok(all)
    }

    /// Drops what is after `step`, and a last record that was torn by a crash. What is written then goes to another file.
    ///
    /// # Errors
    /// When the folder or a file cannot be read or cut.
    pub fn rewind(&mut self, step: u64) -> Result<(), LogError> {
        self.file = None;
        self.start = step + 1;
        paths(&self.dir)?.iter().try_for_each(|path| cut(path, step))
    }

    /// Adds values of a step, whole: one write, so that a reader or a crash sees all of it or nothing.
    ///
    /// # Errors
    /// When a file cannot be made or written.
    pub fn append(&mut self, step: u64, value: Vec<SummaryValue>) -> Result<(), LogError> {
        let mut bytes = record(&event(step, What::Summary(Summary { value })));
        let (path, file) = match &mut self.file {
            Some(open) => open,
            none => {
                let version = record(&event(0, What::FileVersion(FILE_VERSION.to_owned())));
                let start = record(&event(self.start, What::SessionLog(SessionLog { status: START })));
                bytes = [version, start, bytes].concat();
                none.insert(begin(&self.dir)?)
            }
        };
        file.write_all(&bytes).map_err(|source| LogError::Write { path: path.clone(), source })
    }

    /// Writes to a file that is there.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, path: &Path) {
        let file = OpenOptions::new().append(true).open(path).unwrap();
        self.file = Some((path.to_owned(), file));
    }
}

fn event(step: u64, what: What) -> Event {
    Event { wall_time: since_1970().as_secs_f64(), step: step as i64, what: Some(what) }
}

fn since_1970() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// The event files in a folder, oldest first.
fn paths(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let read = |source| LogError::Read { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(read)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Makes the file that comes after those in a folder, whatever the clock says: readers go by names.
fn begin(dir: &Path) -> Result<(PathBuf, File), LogError> {
    let seconds_of = |path: &PathBuf| -> Option<u64> {
        path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
    };
    let last = paths(dir)?.iter().filter_map(seconds_of).max();
    let seconds = since_1970().as_secs().max(last.map_or(0, |last| last + 1));
    let path = dir.join(format!("{PREFIX}{seconds:010}.anneal"));
    let open = || {
        fs::create_dir_all(dir)?;
        OpenOptions::new().append(true).create_new(true).open(&path)
    };
    match open() {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(LogError::Write { path, source }),
    }
}

/// Cuts off a file what is after `step`. Steps only grow within a file, so that is its end.
fn cut(path: &Path, step: u64) -> Result<(), LogError> {
    let end = || -> io::Result<Option<u64>> {
        let mut events = Events::open(path)?;
        let mut end = 0;
        while let Some(event) = events.next()? {
            if event.step > step as i64 {
                return Ok(Some(end));
            }
            end = events.end();
        }
        if end < events.length() {
            tracing::warn!("{}: no whole record follows byte {end}; what stands there is dropped", path.display());
        }
        Ok((end < events.length()).then_some(end))
    };
    let Some(end) = end().map_err(|source| LogError::Read { path: path.to_owned(), source })? else { return Ok(()) };
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(end)?;
        file.sync_all()
    };
    cut().map_err(|source| LogError::Write { path: path.to_owned(), source })
}
