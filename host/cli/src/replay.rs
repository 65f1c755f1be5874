//! `anneal replay`: a step that went wrong, made again.

use std::path::PathBuf;

use anneal::assemble::{AnyProject, Start};
use anneal::config::{Environment, Files};
use anneal::trainer;
use anneal::trainer::checkpoint::CONFIG;
use clap::Args;

use crate::PluginArgs;
use crate::exit::{Exit, Failure};

/// Parameters that are listed; the rest is counted.
const LISTED: usize = 12;

/// Make a step again that went wrong.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal replay runs/blue/replays/step-00001234-batch-00001233
  anneal replay runs/blue/replays/step-00001234-batch-00001233 --set run.precision=f32

Says the loss and the gradient's norm, then and now, and which inputs and gradients are not finite. Nothing is trained or
written. On a CPU the numbers are the same to the last bit.")]
pub struct Replay {
    /// A folder below a run's `replays`.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Overrides a key of the run's config: `--set run.device=cpu`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Replay {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let replay = trainer::Replay::open(&self.dir)?;
        let config = replay.state.join(CONFIG);
        let env = Environment::read();
        // What the weights started from is not needed any more.
        let mut project = AnyProject::open(&config, &self.sets, Files::MayLack, &self.plugins.plugin_dirs, &env)?;
        let (mut trainer, _) = project.trainer(Start::At(&replay.state))?;
        let made = trainer.replay(&replay)?;
        let about = &replay.about;
        println!("step {}: {}", about.step, about.trouble);
        println!("then: loss {}, gradient's norm {}", about.loss(), about.grad_norm());
        println!("now:  loss {}, gradient's norm {}", made.loss, made.grad_norm);
        for (batch, key) in &made.bad_inputs {
            println!("batch {batch}: `{key}` is not finite");
        }
        for (name, bad, all) in made.not_finite.iter().take(LISTED) {
            println!("gradient of {name}: {bad} of {all} are not finite");
        }
        if let Some(more) = made.not_finite.len().checked_sub(LISTED).filter(|more| *more > 0) {
            println!("and of {more} parameters more");
        }
        Ok(Exit::Done)
    }
}
