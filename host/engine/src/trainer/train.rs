//! The loop around the steps: data in, metrics, previews and checkpoints out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anneal_torch::cuda;
use tch::Device;
use thiserror::Error;

use super::checkpoint::{self, Best, CheckpointDir, CheckpointError, Kept};
use super::lineage::{Origins, check_drift};
use super::step::{StepSettings, train_step};
use super::{Objective, Rates, StepReport, TrainState};
use crate::config::{BestMode, Drift, TrainConfig};
use crate::data::{DataError, Loader};
use crate::error::ComponentError;
use crate::logging::{LogError, Metrics, Record, ValidationRecord};

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
    /// The loss or the gradient is not finite; no weight was touched.
    #[error(
        "step {step}: the loss is {loss} and the gradient's norm {grad_norm}; the weights are those of the step before"
    )]
    NonFinite {
        /// The step that failed.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Its gradient's norm.
        grad_norm: f64,
    },
}

/// Told what happens, and asked whether to go on.
pub trait Watcher {
    /// A step is done.
    fn on_step(&mut self, _report: &StepReport) {}
    /// A checkpoint is on disk.
    fn on_saved(&mut self, _path: &Path) {}
    /// A validation is done.
    fn on_validation(&mut self, _record: &ValidationRecord) {}
    /// Pictures are on disk.
    fn on_preview(&mut self, _dir: &Path) {}
    /// Whether a checkpoint is asked for, since the last time.
    fn save(&mut self) -> bool {
        false
    }
    /// A signal that asks the run to save and stop.
    fn stop(&mut self) -> Option<i32> {
        None
    }
}

/// What a run went on from.
#[derive(Debug)]
pub struct Resumed {
    /// The checkpoint.
    pub path: PathBuf,
    /// What has changed since.
    pub drifts: Vec<Drift>,
    /// What is wrong with newer checkpoints.
    pub damaged: Vec<CheckpointError>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// A signal stopped it after a step; its state is saved.
    Stopped(i32),
}

/// A run.
pub struct Trainer {
    /// What is trained.
    pub objective: Box<dyn Objective>,
    /// Everything a step changes.
    pub state: TrainState,
    /// The learning rates.
    pub rates: Rates,
    /// How long, and when to save.
    pub settings: TrainConfig,
    /// Seed of the run's random streams.
    pub seed: u64,
    /// The run's folder.
    pub dir: PathBuf,
    /// The resolved config, TOML.
    pub config: String,
    /// Plugins that take part, `id version sha256`.
    pub plugins: Vec<String>,
    /// Where the run's checkpoints come from.
    pub origins: Origins,
    /// A metrics line every so many steps.
    pub metrics_every_steps: u64,
    /// Validation every so many steps.
    pub validate_every_steps: Option<u64>,
    /// Pictures every so many steps.
    pub preview_every_steps: Option<u64>,
}

impl Trainer {
    /// The folder of the run's checkpoints.
    pub fn checkpoints(&self) -> CheckpointDir {
        CheckpointDir::of_run(&self.dir)
    }

    /// Goes on from the newest checkpoint of the run's folder that is whole. Newer ones that are damaged are named, and
    /// stay.
    ///
    /// # Errors
    /// When there is none, or none is whole, it belongs to another model, or the config has changed in a way that is not
    /// among `allowed`.
    pub fn resume(&mut self, allowed: &[String]) -> Result<Resumed, CheckpointError> {
        let (path, snapshot, damaged) = self.checkpoints().newest_whole()?;
        let now = (self.config.as_str(), self.plugins.as_slice());
        let drifts = check_drift(&self.origins, now, &snapshot, &path, allowed)?;
        self.state.restore(&snapshot, &path)?;
        self.origins.go_on_from(checkpoint::parent(&path)?);
        Ok(Resumed { path, drifts, damaged })
    }

    /// Which checkpoints are kept, by the scores that validations have given so far.
    fn kept(&self) -> Kept {
        let settings = &self.settings;
        let best = settings.keep_best.as_ref().map(|best| {
            // Scores are a file for people, too: one that cannot be read loses no checkpoint but those it would keep.
            let records = Metrics::<ValidationRecord>::read(&self.dir.join(VALIDATION)).unwrap_or_default();
            let scores = records.into_iter().filter_map(|record| Some((record.step, *record.scores.get(&best.score)?)));
            Best { count: best.count, highest: best.mode == BestMode::Max, scores: scores.collect() }
        });
        Kept { last: settings.keep_last, every_steps: settings.keep_every_steps, best }
    }

    /// Trains to the last step, or to the next one after a signal.
    ///
    /// # Errors
    /// When a component, the data or the disk fails, or a step is not finite. The newest checkpoint stays as it was.
    pub fn run(&mut self, loader: &mut Loader, watcher: &mut dyn Watcher) -> Result<Outcome, TrainError> {
        let mut metrics = Metrics::<Record>::open(&self.dir.join("metrics.jsonl"))?;
        metrics.rewind(self.state.position.step)?;
        if self.validate_every_steps.is_some() {
            Metrics::<ValidationRecord>::open(&self.dir.join(VALIDATION))?.rewind(self.state.position.step)?;
        }
        let step_settings = StepSettings {
            seed: self.seed,
            accumulate_batches: self.settings.accumulate_batches,
            clip_grad_norm: self.settings.clip_grad_norm,
        };
        if self.state.position.step < self.settings.steps {
            let snapshot = self.state.snapshot(self.seed, &self.config, &self.plugins, &Default::default());
            self.checkpoints().check_room(snapshot.bytes())?;
        }
        while self.state.position.step < self.settings.steps {
            let report =
                train_step(&mut self.state, self.objective.as_mut(), &mut self.rates, &step_settings, &mut || {
                    loader.next_batch()
                })?;
            let last = report.step == self.settings.steps;
            if last || report.step % self.metrics_every_steps == 0 {
                metrics.append(&record(&report, self.gpu_peak_mib()))?;
            }
            watcher.on_step(&report);
            let stop = watcher.stop();
            if last || stop.is_some() || watcher.save() || report.step % self.settings.checkpoint_every_steps == 0 {
                let path = self.save()?;
                watcher.on_saved(&path);
            }
            if let Some(signal) = stop {
                return Ok(Outcome::Stopped(signal));
            }
            self.previews(report.step, last, watcher)?;
            self.validate(report.step, last, watcher)?;
        }
        Ok(Outcome::Finished)
    }

    /// Writes a checkpoint of the state as it is.
    ///
    /// # Errors
    /// When it cannot be written; the older ones are untouched.
    pub fn save(&self) -> Result<PathBuf, CheckpointError> {
        let snapshot = self.state.snapshot(self.seed, &self.config, &self.plugins, &self.origins.lineage());
        let saved = self.checkpoints().save(&snapshot, &self.kept())?;
        if let Err(error) = self.checkpoints().check_room(snapshot.bytes()) {
            tracing::warn!("the next checkpoint will not fit onto the disk: {error}");
        }
        Ok(saved)
    }

    /// Most that the run's GPU held since the last call, MiB.
    fn gpu_peak_mib(&self) -> Option<u64> {
        let Device::Cuda(index) = self.state.optimizer.params().values().device() else { return None };
        let peak = cuda::memory(index).ok()?.peak;
        cuda::reset_peak(index).ok()?;
        Some(peak >> 20)
    }

    fn validate(&mut self, step: u64, last: bool, watcher: &mut dyn Watcher) -> Result<(), TrainError> {
        let Some(every) = self.validate_every_steps else { return Ok(()) };
        if !last && !step.is_multiple_of(every) {
            return Ok(());
        }
        let start = Instant::now();
        let scores = self.objective.validate(self.state.ema.as_mut())?;
        let record = ValidationRecord { step, scores, seconds: start.elapsed().as_secs_f64() };
        Metrics::open(&self.dir.join(VALIDATION))?.append(&record)?;
        watcher.on_validation(&record);
        Ok(())
    }

    fn previews(&mut self, step: u64, last: bool, watcher: &mut dyn Watcher) -> Result<(), TrainError> {
        let Some(every) = self.preview_every_steps else { return Ok(()) };
        if !last && !step.is_multiple_of(every) {
            return Ok(());
        }
        let dir = self.dir.join("previews").join(format!("step-{step:08}"));
        self.objective.preview(self.state.ema.as_mut(), self.seed, &dir)?;
        watcher.on_preview(&dir);
        Ok(())
    }
}

/// The file with the scores of validations.
const VALIDATION: &str = "validation.jsonl";

fn record(report: &StepReport, gpu_peak_mib: Option<u64>) -> Record {
    Record {
        step: report.step,
        loss: report.loss,
        terms: report.terms.iter().cloned().collect(),
        learning_rate: report.learning_rate,
        grad_norm: report.grad_norm,
        samples_seen: report.samples_seen,
        seconds: report.seconds,
        data_seconds: report.data_seconds,
        gpu_peak_mib,
    }
}
