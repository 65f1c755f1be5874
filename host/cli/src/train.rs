//! `anneal train`: from a config to checkpoints, pictures and metrics.

use std::time::{Duration, Instant};

use anneal::assemble::{AnyProject, Start};
use anneal::cache;
use anneal::plugin::wasm;
use anneal::trainer::Outcome;
use clap::Args;

use crate::ConfigArgs;
use crate::exit::{Exit, Failure};
use crate::out_of_memory;
use crate::plugin;
use crate::progress::Progress;
use crate::signals::{Signals, exit_of};

/// Train a model from a config.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal train configs/demo.toml
  anneal train configs/demo.toml --set run.dir=runs/blue --set optimizer.learning_rate=5e-4
  anneal train configs/demo.toml --resume --steps 1200

Ctrl-C and SIGTERM finish the step, save and stop (130 and 143); --resume goes on from there. SIGUSR1 saves and goes
on. A second Ctrl-C or SIGTERM ends the process at once, and no half-written checkpoint is ever taken for one.")]
pub struct Train {
    #[command(flatten)]
    config: ConfigArgs,
    /// Go on from the newest checkpoint in the run's folder.
    #[arg(long)]
    resume: bool,
    /// With `--resume`, go on although this key, or a table, has changed so that the run takes another course; more than once
    /// for several. `data` and `plugins` stand for what the source holds and for the plugins' code.
    #[arg(long, value_name = "KEY", requires = "resume")]
    allow: Vec<String>,
    /// Train up to this step (short for `--set train.steps=N`).
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Stop unless the plugins are those of `anneal.lock` beside the config.
    #[arg(long)]
    locked: bool,
    /// Seconds after Ctrl-C or SIGTERM to finish the step and to save; then the process ends. A batch system's should be
    /// longer: Slurm's is 30 s, if `--signal` does not say otherwise.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    grace: u64,
    /// No progress bar.
    #[arg(long)]
    quiet: bool,
}

impl Train {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let sets: Vec<String> = self.steps.iter().map(|steps| format!("train.steps={steps}")).collect();
        let mut project = self.config.open(&sets)?;
        if self.locked {
            plugin::hold(&project, &self.config.config)?;
        }
        out_of_memory::told(&mut project, |project| self.train(project))
    }

    fn train(&self, project: &mut AnyProject) -> Result<Exit, Failure> {
        let signals = Signals::listen(Duration::from_secs(self.grace))?;
        let (mut trainer, mut loader) =
            project.trainer(if self.resume { Start::Resume(&self.allow) } else { Start::New })?;
        let start = trainer.state.position.step;
        if self.resume {
            println!("resuming {} at step {start}", trainer.dir.display());
        }
        let mut progress = Progress::new(trainer.settings.steps, start, self.quiet, signals);
        let (clock, calls) = (Instant::now(), wasm::stats());
        let outcome = trainer.run(&mut loader, &mut progress);
        progress.finish();
        let outcome = outcome?;
        if let (Some(first), Some(last)) = (&progress.first, &progress.last) {
            let (steps, seconds) = (last.step - start, clock.elapsed().as_secs_f64());
            println!("loss {:.4} at step {}, {:.4} at step {}", first.loss, first.step, last.loss, last.step);
            println!("{steps} steps in {seconds:.1} s, {:.2} steps/s", steps as f64 / seconds);
            let after = wasm::stats();
            let spent = (after.time - calls.time).as_secs_f64();
            let (count, micros, share) =
                (after.calls - calls.calls, spent * 1e6 / steps.max(1) as f64, spent / seconds * 100.0);
            println!("WASM plugins: {count} calls, {micros:.1} us a step, {share:.4} % of the time");
        }
        let cache::Counts { found, missed, .. } = cache::counts();
        if found + missed > 0 {
            println!("cache: {found} of {} moments and embeddings were found", found + missed);
        }
        println!("run: {}", trainer.dir.display());
        Ok(match outcome {
            Outcome::Finished => Exit::Done,
            Outcome::Stopped(signal) => exit_of(signal),
        })
    }
}
