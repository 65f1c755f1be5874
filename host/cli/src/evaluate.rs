//! `anneal evaluate`: how well a trained run does on scenes that it was not trained on.

use std::path::PathBuf;

use anneal::assemble::{EvaluateSettings, evaluate};
use anneal::config::Environment;
use clap::Args;
use serde_json::json;

use crate::PluginArgs;
use crate::exit::{Exit, Failure};

/// Score a trained run on scenes that it was not trained on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal evaluate runs/demo
  anneal evaluate runs/demo --scenes 16 --steps 50 --json

The config's [validation] says which scenes and noise levels. `loss` is the mean over fixed noise levels under fixed noise;
`psnr`, `ssim` and `lpips` are of samples beside what they should be; `_copy` is the baseline that repeats the conditioning
picture, `_mean` the one that shows the mean of training pictures, frame by frame.")]
pub struct Evaluate {
    /// The run's folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Scenes to score; the config's if not given.
    #[arg(long, value_name = "N")]
    scenes: Option<usize>,
    /// Steps of the solver; the config's if not given.
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// The solver, by plugin name, with its default settings; the config's if not given.
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// Step of the checkpoint; the newest if not given.
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// Print one JSON object instead of lines for people.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Evaluate {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let settings = EvaluateSettings {
            scenes: self.scenes,
            num_steps: self.steps,
            sampler: self.sampler.clone(),
            checkpoint: self.checkpoint,
        };
        let given = evaluate(&self.run, &settings, &self.plugins.plugin_dirs, &Environment::read())?;
        if self.json {
            let all = json!({
                "step": given.step, "scenes": given.scenes, "held_out": given.is_held_out, "scores": given.scores,
            });
            println!("{all}");
            return Ok(Exit::Done);
        }
        let from = if given.is_held_out { "held-out scenes" } else { "scenes of the training source" };
        println!("step {}, {} {from}", given.step, given.scenes);
        for (name, value) in &given.scores {
            println!("{name:<16} {value:.4}");
        }
        Ok(Exit::Done)
    }
}
