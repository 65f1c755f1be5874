//! `anneal evaluate`: how well a trained run does on scenes that it was not trained on.

use std::path::PathBuf;

use anneal::assemble::{EvaluateSettings, evaluate};
use anneal::config::Environment;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use crate::PluginArgs;
use crate::exit::{Exit, Failure};

/// Score a trained run on scenes that it was not trained on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal evaluate runs/demo
  anneal evaluate runs/demo --scenes 16 --steps 50 --json
  anneal evaluate runs/svd --scenes 2048 --frechet i3d_torchscript.pt \\
      --set validation.frechet.flags=[false,false,true] --set validation.frechet.size=[224,224]

The config's [validation] says which scenes and noise levels. `loss` is the mean over fixed noise levels under fixed noise;
`psnr`, `ssim` and `lpips` are of samples beside what they should be; `_copy` is the baseline that repeats the conditioning
picture, `_mean` the one that shows the mean of training pictures, frame by frame. `frechet_frames`, `frechet_views`,
`frechet_diagonals` and `frechet_scan` are distances between the sets of all clips that are made and all true ones.")]
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
    /// Take Fréchet distances, too, on features of this TorchScript file, a program that is run; further settings are those of
    /// [validation.frechet] (short for `--set validation.frechet.encoder=FILE`).
    #[arg(long, value_name = "FILE")]
    frechet: Option<PathBuf>,
    /// Overrides a key of the run's config. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print one JSON object instead of lines for people.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Evaluate {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        // Quoted as TOML, whatever is in a file's name.
        let encoder = self.frechet.iter().map(|path| format!("validation.frechet.encoder={}", json!(path)));
        let settings = EvaluateSettings {
            scenes: self.scenes,
            num_steps: self.steps,
            sampler: self.sampler.clone(),
            checkpoint: self.checkpoint,
            sets: encoder.chain(self.sets.iter().cloned()).collect(),
        };
        // Seen on a terminal only.
        let bar = ProgressBar::new(0);
        let given = evaluate(&self.run, &settings, &self.plugins.plugin_dirs, &Environment::read(), &mut |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        let given = given?;
        if self.json {
            let mut all = json!({
                "step": given.step, "scenes": given.scenes, "held_out": given.is_held_out, "scores": given.scores,
            });
            if let Some(protocol) = &given.protocol {
                all["protocol"] = json!(protocol);
            }
            println!("{all}");
            return Ok(Exit::Done);
        }
        let from = if given.is_held_out { "held-out scenes" } else { "scenes of the training source" };
        println!("step {}, {} {from}", given.step, given.scenes);
        for (name, value) in &given.scores {
            println!("{name:<22} {}", shown(*value));
        }
        if let Some(protocol) = &given.protocol {
            println!("\n{protocol}");
            if let Some(warning) = protocol.warning() {
                println!("warning: {warning}");
            }
        }
        Ok(Exit::Done)
    }
}

/// Four places, or as many digits of what would be nothing then.
fn shown(value: f64) -> String {
    match value.abs() {
        tiny if tiny > 0.0 && tiny < 0.001 => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}
