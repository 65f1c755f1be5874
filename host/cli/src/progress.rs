//! The progress bar of a run: rate, time left, loss.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Instant;

use anneal::logging::ValidationRecord;
use anneal::trainer::{StepReport, Watcher};
use indicatif::{ProgressBar, ProgressStyle};

use crate::signals::Signals;

/// Shows the steps of a run and passes signals on to it.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// Where no terminal shows a bar, a line is printed every so many steps; never if 0.
    line_every: u64,
    start: Instant,
    done: u64,
    steps: u64,
    signals: Signals,
    /// The first step's report.
    pub first: Option<StepReport>,
    /// The last step's report.
    pub last: Option<StepReport>,
}

impl Progress {
    /// A bar over `steps`, of which `done` are behind; where stderr is no terminal, a line now and then; nothing if
    /// `quiet`.
    pub fn new(steps: u64, done: u64, quiet: bool, signals: Signals) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(steps) };
        let template = "{bar:30} {pos}/{len} {per_sec} {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        bar.reset_eta();
        let lines = !quiet && !std::io::stderr().is_terminal();
        let line_every = if lines { (steps / 20).max(1) } else { 0 };
        Self { bar, line_every, start: Instant::now(), done, steps, signals, first: None, last: None }
    }

    fn say(&self, line: &str) {
        if self.line_every > 0 {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Leaves the bar as it is and goes to the next line.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

impl Watcher for Progress {
    fn on_validation(&mut self, record: &ValidationRecord) {
        let scores: Vec<String> = record.scores.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        self.say(&format!("validation at step {}: {}", record.step, scores.join(", ")));
    }

    fn on_step(&mut self, report: &StepReport) {
        self.first.get_or_insert_with(|| report.clone());
        self.last = Some(report.clone());
        self.bar.set_position(report.step);
        self.bar.set_message(format!("loss {:.4}  lr {:.2e}", report.loss, report.learning_rate));
        if self.line_every > 0 && report.step.is_multiple_of(self.line_every) {
            let rate = (report.step - self.done) as f64 / self.start.elapsed().as_secs_f64();
            eprintln!("step {}/{}  loss {:.4}  {rate:.2} steps/s", report.step, self.steps, report.loss);
        }
    }

    fn on_guarded(&mut self, what: &str) {
        // Also where no progress is shown: a run that leaves out steps is another than its config says.
        tracing::warn!("{what}");
    }

    fn on_saved(&mut self, path: &Path) {
        self.say(&format!("saved {}", path.display()));
    }

    fn on_preview(&mut self, dir: &Path) {
        self.say(&format!("pictures in {}", dir.display()));
    }

    fn save(&mut self) -> bool {
        self.signals.take_save()
    }

    fn stop(&mut self) -> Option<i32> {
        self.signals.received()
    }
}
