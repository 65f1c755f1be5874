//! The progress bar of a run: rate, time left, loss.

use std::path::Path;

use anneal::trainer::{StepReport, Watcher};
use indicatif::{ProgressBar, ProgressStyle};

use crate::signals::Signals;

/// Shows the steps of a run and passes signals on to it.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    signals: Signals,
    /// The first step's report.
    pub first: Option<StepReport>,
    /// The last step's report.
    pub last: Option<StepReport>,
}

impl Progress {
    /// A bar over `steps`, of which `done` are behind; invisible if `quiet` or where stderr is no terminal.
    pub fn new(steps: u64, done: u64, quiet: bool, signals: Signals) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(steps) };
        let template = "{bar:30} {pos}/{len} {per_sec} {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        bar.reset_eta();
        Self { bar, signals, first: None, last: None }
    }

    /// Leaves the bar as it is and goes to the next line.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

impl Watcher for Progress {
    fn on_step(&mut self, report: &StepReport) {
        self.first.get_or_insert(*report);
        self.last = Some(*report);
        self.bar.set_position(report.step);
        self.bar.set_message(format!("loss {:.4}  lr {:.2e}", report.loss, report.learning_rate));
    }

    fn on_saved(&mut self, path: &Path) {
        self.bar.println(format!("saved {}", path.display()));
    }

    fn on_preview(&mut self, dir: &Path) {
        self.bar.println(format!("pictures in {}", dir.display()));
    }

    fn stop(&mut self) -> Option<i32> {
        self.signals.received()
    }
}
