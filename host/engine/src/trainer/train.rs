//! The loop around the steps: data in, metrics, previews and checkpoints out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anneal_torch::cuda;
use tch::Device;

use super::checkpoint::{self, Best, CheckpointDir, CheckpointError, Kept, Lineage, Position, Saver, Snapshot};
use super::lineage::{Origins, check_drift};
use super::replay;
use super::step::{StepSettings, train_step};
use super::{Guard, Objective, Rates, Refused, StepReport, TrainError, TrainState};
use crate::config::{BestMode, Drift, Policy, TrainConfig};
use crate::data::{DataError, Loader};
use crate::logging::{Record, RunLog, ValidationRecord};

/// Told what happens, and asked whether to go on.
pub trait Watcher {
    /// A step is done.
    fn on_step(&mut self, _report: &StepReport) {}
    /// A checkpoint is on disk.
    fn on_saved(&mut self, _path: &Path) {}
    /// A step was left out, or the run went back to a checkpoint.
    fn on_guarded(&mut self, _what: &str) {}
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
    /// What looks at steps before they move anything.
    pub guard: Guard,
    /// A metrics line every so many steps.
    pub metrics_every_steps: u64,
    /// Whether event files are written, too.
    pub tensorboard: bool,
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
        self.guard.set_losses(&snapshot.losses);
        self.origins.go_on_from(checkpoint::parent(&path)?);
        Ok(Resumed { path, drifts, damaged })
    }

    /// Which checkpoints are kept, by the scores that validations have given so far.
    fn kept(&self) -> Kept {
        let settings = &self.settings;
        let best = settings.keep_best.as_ref().map(|best| {
            // Scores are a file for people, too: one that cannot be read loses no checkpoint but those it would keep.
            let records = RunLog::validations(&self.dir).unwrap_or_default();
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
        let mut log = RunLog::open(&self.dir, self.tensorboard, self.state.position.step)?;
        let step_settings = self.step_settings();
        // Without its lineage, which waits for the program's sum.
        let checkpoint_bytes = self.state.snapshot(self.seed, "", &[], &Lineage::default()).bytes();
        if self.state.position.step < self.settings.steps {
            self.checkpoints().check_room(checkpoint_bytes)?;
        }
        let mut saver = Saver::new(self.checkpoints(), self.settings.background_saves);
        while self.state.position.step < self.settings.steps {
            let (rates, objective) = (&mut self.rates, self.objective.as_mut());
            let mut next = || loader.next_batch_unless(&mut || watcher.stop().is_some());
            let report = match train_step(&mut self.state, objective, rates, &step_settings, &self.guard, &mut next) {
                Err(TrainError::Refused(refused)) => {
                    saver.wait()?.iter().for_each(|path| watcher.on_saved(path));
                    let what = self.leave_out(refused, loader, &mut log)?;
                    watcher.on_guarded(&what);
                    match watcher.stop() {
                        None => continue,
                        Some(signal) => return self.stop(signal, saver, watcher),
                    }
                }
                // Nothing of the step has moved anything yet.
                Err(TrainError::Data(DataError::Interrupted)) => match watcher.stop() {
                    None => continue,
                    Some(signal) => return self.stop(signal, saver, watcher),
                },
                made => made?,
            };
            self.guard.accept(report.loss);
            let last = report.step == self.settings.steps;
            if last || report.step % self.metrics_every_steps == 0 {
                log.step(&self.record(&report))?;
            }
            watcher.on_step(&report);
            if let Some(signal) = watcher.stop() {
                return self.stop(signal, saver, watcher);
            }
            if last || watcher.save() || report.step % self.settings.checkpoint_every_steps == 0 {
                self.save(&mut saver, watcher)?;
            }
            saver.take_done()?.iter().for_each(|path| watcher.on_saved(path));
            if let Some(error) = saver.lacks_room(checkpoint_bytes, Instant::now()) {
                tracing::warn!("the next checkpoint will not fit onto the disk: {error}");
            }
            self.previews(report.step, last, &mut log, watcher)?;
            self.validate(report.step, last, &mut log, watcher)?;
        }
        Self::end(Outcome::Finished, saver, watcher)
    }

    /// Saves the state as it is, beside what comes next if it can.
    fn save(&self, saver: &mut Saver, watcher: &mut dyn Watcher) -> Result<(), CheckpointError> {
        let done = saver.begin(&self.snapshot(), &self.kept())?;
        done.iter().for_each(|path| watcher.on_saved(path));
        Ok(())
    }

    /// Saves what is done, and ends the run.
    fn stop(&self, signal: i32, mut saver: Saver, watcher: &mut dyn Watcher) -> Result<Outcome, TrainError> {
        self.save(&mut saver, watcher)?;
        Self::end(Outcome::Stopped(signal), saver, watcher)
    }

    /// Ends a run when what it has begun to save is on disk.
    fn end(outcome: Outcome, mut saver: Saver, watcher: &mut dyn Watcher) -> Result<Outcome, TrainError> {
        saver.wait()?.iter().for_each(|path| watcher.on_saved(path));
        Ok(outcome)
    }

    /// The state for a checkpoint, as views.
    fn snapshot(&self) -> Snapshot {
        let state = self.state.snapshot(self.seed, &self.config, &self.plugins, &self.origins.lineage());
        Snapshot { losses: self.guard.losses(), ..state }
    }

    /// What does not change from step to step.
    pub(super) fn step_settings(&self) -> StepSettings {
        StepSettings {
            seed: self.seed,
            accumulate_batches: self.settings.accumulate_batches,
            clip_grad_norm: self.settings.clip_grad_norm,
        }
    }

    /// Does what the guards say about a step that moved nothing, and says what that was.
    ///
    /// # Errors
    /// When they say that the run ends.
    fn leave_out(
        &mut self,
        refused: Box<Refused>,
        loader: &mut Loader,
        log: &mut RunLog,
    ) -> Result<String, TrainError> {
        let replay = self.save_replay(&refused, loader);
        let (policy, settings) = (self.guard.policy(refused.trouble), self.guard.settings());
        let limit = match policy {
            Policy::Stop => Some(String::new()),
            Policy::Skip if self.guard.skipped >= settings.skips_max => {
                Some(format!(", after {} that were left out", self.guard.skipped))
            }
            Policy::RollBack if self.guard.rolled_back >= settings.roll_backs_max => {
                Some(format!(", after going back {} times", self.guard.rolled_back))
            }
            _ => None,
        };
        if let Some(limit) = limit {
            return Err(TrainError::Guarded { refused, limit, replay });
        }
        let again = |dir: &PathBuf| format!("; `anneal replay {}` makes it again", dir.display());
        let saved = replay.as_ref().map_or(String::new(), again);
        let (text, mut position) = (refused.to_string(), refused.position);
        let what = if policy == Policy::RollBack {
            self.guard.rolled_back += 1;
            let (path, snapshot, _) = match self.checkpoints().newest_whole() {
                Err(CheckpointError::None { .. }) => {
                    let limit = ", and there is no checkpoint yet to go back to".to_owned();
                    return Err(TrainError::Guarded { refused, limit, replay });
                }
                whole => whole?,
            };
            self.state.restore(&snapshot, &path)?;
            self.guard.set_losses(&snapshot.losses);
            log.rewind(snapshot.position.step)?;
            format!("the run goes on from {} with the batches that come next", path.display())
        } else {
            self.guard.skipped += 1;
            position.skipped += 1;
            "its batches are left out".to_owned()
        };
        // What has been read is not read again.
        let Position { batches, samples_seen, skipped, .. } = position;
        self.state.position = Position { batches, samples_seen, skipped, ..self.state.position };
        Ok(format!("{text}: {what}{saved}"))
    }

    /// Saves a step that was refused. That it cannot be saved does not end the run.
    fn save_replay(&mut self, refused: &Refused, loader: &mut Loader) -> Option<PathBuf> {
        if self.guard.replays >= self.guard.settings().replays_max {
            return None;
        }
        self.guard.replays += 1;
        let numbers = self.state.position.batches..refused.position.batches;
        let mut batches = numbers.map(|number| loader.read_again(number).map_err(TrainError::from));
        match replay::save(&self.dir, refused, &self.snapshot(), &mut batches) {
            Ok(dir) => Some(dir),
            Err(error) => {
                tracing::warn!("step {} cannot be saved to be made again: {error}", refused.step);
                None
            }
        }
    }

    /// Most that the run's GPU held since the last call, MiB.
    fn gpu_peak_mib(&self) -> Option<u64> {
        let Device::Cuda(index) = self.state.optimizer.params().values().device() else { return None };
        let peak = cuda::memory(index).ok()?.peak;
        cuda::reset_peak(index).ok()?;
        Some(peak >> 20)
    }

    fn validate(
        &mut self,
        step: u64,
        last: bool,
        log: &mut RunLog,
        watcher: &mut dyn Watcher,
    ) -> Result<(), TrainError> {
        if !is_due(self.validate_every_steps, step, last) {
            return Ok(());
        }
        let start = Instant::now();
        let scores = self.objective.validate(self.state.ema.as_mut())?;
        let record = ValidationRecord { step, scores, seconds: start.elapsed().as_secs_f64() };
        log.validation(&record)?;
        watcher.on_validation(&record);
        Ok(())
    }

    fn previews(
        &mut self,
        step: u64,
        last: bool,
        log: &mut RunLog,
        watcher: &mut dyn Watcher,
    ) -> Result<(), TrainError> {
        if !is_due(self.preview_every_steps, step, last) {
            return Ok(());
        }
        let dir = self.dir.join("previews").join(format!("step-{step:08}"));
        self.objective.preview(self.state.ema.as_mut(), self.seed, &dir)?;
        log.preview(&dir, step)?;
        watcher.on_preview(&dir);
        Ok(())
    }

    /// A step as a line of the metrics.
    fn record(&self, report: &StepReport) -> Record {
        Record {
            step: report.step,
            loss: report.loss,
            terms: report.terms.iter().cloned().collect(),
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm,
            samples_seen: report.samples_seen,
            skipped: self.state.position.skipped,
            seconds: report.seconds,
            data_seconds: report.data_seconds,
            gpu_peak_mib: self.gpu_peak_mib(),
        }
    }
}

/// Whether what is done every so many steps, if at all, and after the last one, is done after this step.
fn is_due(every: Option<u64>, step: u64, last: bool) -> bool {
    every.is_some_and(|every| last || step.is_multiple_of(every))
}
