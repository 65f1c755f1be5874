//! All that a run writes about its steps while it goes on.

use std::fs;
use std::path::{Path, PathBuf};

use super::metrics::Line;
use super::tensorboard::{EventFiles, picture, scalars};
use super::{LogError, Metrics, Record, ValidationRecord};

const METRICS: &str = "metrics.jsonl";
const VALIDATION: &str = "validation.jsonl";
const EVENTS: &str = "tensorboard";

/// Formats that TensorBoard shows, of which previews are: it knows no WebP.
const SHOWN: [&str; 2] = ["gif", "png"];
/// Larger pictures are not copied into event files, which readers hold in memory.
const PICTURE_BYTES_MAX: u64 = 64 << 20;

/// Metrics, scores and events of a run: no step stands in them twice, however often the run goes on.
#[derive(Debug)]
pub struct RunLog {
    dir: PathBuf,
    metrics: Metrics<Record>,
    events: EventFiles,
    tensorboard: bool,
}

impl RunLog {
    /// Opens the files of the run in `dir`, which goes on after `step`; event files are written with `tensorboard`.
    ///
    /// # Errors
    /// When a file cannot be made, read or replaced, or holds what is no record.
    pub fn open(dir: &Path, tensorboard: bool, step: u64) -> Result<Self, LogError> {
        let metrics = Metrics::open(&dir.join(METRICS))?;
        let mut log = Self { dir: dir.to_owned(), metrics, events: EventFiles::new(dir.join(EVENTS)), tensorboard };
        log.rewind(step)?;
        Ok(log)
    }

    /// The scores of a run's validations.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn validations(dir: &Path) -> Result<Vec<ValidationRecord>, LogError> {
        Metrics::read(&dir.join(VALIDATION))
    }

    /// Drops what is after `step`, and what was torn by a crash, of what is not written at the moment, too: it may be
    /// again.
    ///
    /// # Errors
    /// When a file cannot be read, replaced or cut, or holds what is no record.
    pub fn rewind(&mut self, step: u64) -> Result<(), LogError> {
        self.metrics.rewind(step)?;
        let validation = self.dir.join(VALIDATION);
        if validation.exists() {
            Metrics::<ValidationRecord>::open(&validation)?.rewind(step)?;
        }
        self.events.rewind(step)
    }

    /// Adds what a step did.
    ///
    /// # Errors
    /// When a number is not finite, or a file cannot be written.
    pub fn step(&mut self, record: &Record) -> Result<(), LogError> {
        self.metrics.append(record)?;
        self.add_numbers("train", record)
    }

    /// Adds what a validation gave.
    ///
    /// # Errors
    /// When a number is not finite, or a file cannot be written.
    pub fn validation(&mut self, record: &ValidationRecord) -> Result<(), LogError> {
        Metrics::open(&self.dir.join(VALIDATION))?.append(record)?;
        self.add_numbers("validation", record)
    }

    /// Adds the pictures that the preview of a step wrote into `dir`.
    ///
    /// # Errors
    /// When one of them cannot be read, or an event file not written.
    pub fn preview(&mut self, dir: &Path, step: u64) -> Result<(), LogError> {
        if !self.tensorboard {
            return Ok(());
        }
        for path in pictures(dir)? {
            self.events.append(step, vec![picture("preview", &path)?])?;
        }
        Ok(())
    }

    fn add_numbers(&mut self, prefix: &str, line: &impl Line) -> Result<(), LogError> {
        if !self.tensorboard {
            return Ok(());
        }
        let encode =
            |error: serde_json::Error| LogError::Encode { path: self.dir.join(EVENTS), reason: error.to_string() };
        self.events.append(line.step(), scalars(prefix, line).map_err(encode)?)
    }
}

/// The pictures in a folder that TensorBoard shows, by name.
fn pictures(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let read = |source| LogError::Read { path: dir.to_owned(), source };
    let mut pictures = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if !path.extension().is_some_and(|extension| SHOWN.iter().any(|shown| extension == *shown)) {
            continue;
        }
        let bytes = fs::metadata(&path).map_err(read)?.len();
        if bytes > PICTURE_BYTES_MAX {
            tracing::warn!("{}: {} MiB are too many to be shown in TensorBoard", path.display(), bytes >> 20);
            continue;
        }
        pictures.push(path);
    }
    pictures.sort();
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tensorboard::{Event, Value, What};
    use super::*;

    fn record(step: u64) -> Record {
        Record {
            skipped: 1,
            data_seconds: 0.125,
            gpu_peak_mib: Some(512),
            ..super::super::metrics::tests::record(step)
        }
    }

    fn validation(step: u64) -> ValidationRecord {
        ValidationRecord { step, scores: BTreeMap::from([("psnr".to_owned(), 20.0)]), seconds: 1.5 }
    }

    /// Step, name and number of what is in event files; the number of a picture is its width.
    fn events(dir: &Path) -> Vec<(i64, String, f32)> {
        let values = |event: Event| match event.what {
            Some(What::Summary(summary)) => summary.value.into_iter().map(|value| (event.step, value)).collect(),
            _ => Vec::new(),
        };
        let number = |value: Option<Value>| match value {
            Some(Value::SimpleValue(number)) => number,
            Some(Value::Image(image)) => image.width as f32,
            None => f32::NAN,
        };
        let values = EventFiles::read(&dir.join(EVENTS)).unwrap().into_iter().flat_map(values);
        values.map(|(step, value)| (step, value.tag, number(value.value))).collect()
    }

    #[test]
    fn every_number_and_the_previews_pictures_are_events() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RunLog::open(dir.path(), true, 0).unwrap();
        log.step(&record(3)).unwrap();
        log.validation(&validation(3)).unwrap();
        let preview = dir.path().join("previews/step-00000003");
        fs::create_dir_all(&preview).unwrap();
        for (name, width) in [("sheet.png", 8), ("clip.gif", 4)] {
            image::RgbImage::new(width, 2).save(preview.join(name)).unwrap();
        }
        fs::write(preview.join("clip.webp"), b"which TensorBoard does not show").unwrap();
        log.preview(&preview, 3).unwrap();
        let train = [
            ("loss", 0.5),
            ("kl_loss", 3.5),
            ("learning_rate", 1e-3),
            ("grad_norm", 2.0),
            ("samples_seen", 6.0),
            ("skipped", 1.0),
            ("seconds", 0.25),
            ("data_seconds", 0.125),
            ("gpu_peak_mib", 512.0),
        ];
        let mut wanted: Vec<(i64, String, f32)> = train.map(|(key, number)| (3, format!("train/{key}"), number)).into();
        wanted.extend([("validation/psnr", 20.0), ("validation/seconds", 1.5)].map(|(tag, n)| (3, tag.to_owned(), n)));
        wanted.extend([("preview/clip", 4.0), ("preview/sheet", 8.0)].map(|(tag, n)| (3, tag.to_owned(), n)));
        assert_eq!(events(dir.path()), wanted);
    }

    #[test]
    fn all_files_go_back_together_also_those_that_are_not_written_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RunLog::open(dir.path(), true, 0).unwrap();
        for step in 1..=4 {
            log.step(&record(step)).unwrap();
            log.validation(&validation(step)).unwrap();
        }
        drop(log);
        let mut log = RunLog::open(dir.path(), false, 2).unwrap();
        log.step(&record(3)).unwrap();
        let of = |tag: &str| -> Vec<i64> {
            events(dir.path()).into_iter().filter(|(_, name, _)| name == tag).map(|(step, _, _)| step).collect()
        };
        assert_eq!((of("train/loss"), of("validation/psnr")), (vec![1, 2], vec![1, 2]));
        let steps = |records: Vec<ValidationRecord>| records.iter().map(|record| record.step).collect::<Vec<_>>();
        assert_eq!(steps(RunLog::validations(dir.path()).unwrap()), [1, 2]);
        let metrics = Metrics::<Record>::read(&dir.path().join(METRICS)).unwrap();
        assert_eq!(metrics.iter().map(|record| record.step).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn without_event_files_there_is_no_folder_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RunLog::open(dir.path(), false, 0).unwrap();
        log.step(&record(1)).unwrap();
        log.validation(&validation(1)).unwrap();
        log.preview(&dir.path().join("no folder"), 1).unwrap();
        assert!(!dir.path().join(EVENTS).exists());
    }

    #[test]
    fn pictures_that_are_too_large_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a.png", PICTURE_BYTES_MAX), ("b.png", PICTURE_BYTES_MAX + 1)] {
            fs::File::create(dir.path().join(name)).unwrap().set_len(bytes).unwrap();
        }
        assert_eq!(pictures(dir.path()).unwrap(), [dir.path().join("a.png")]);
    }
}
