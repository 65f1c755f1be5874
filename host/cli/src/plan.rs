//! `anneal plan`: what a run will hold, before anything is allocated.

use anneal::config::Files;
use clap::Args;
use serde_json::json;

use crate::ConfigArgs;
use crate::exit::{Exit, Failure};

/// Say what a run will hold in memory and on disk: parameters by part, weights, gradients, moments, checkpoints.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal plan configs/svd.toml
  anneal plan configs/svd.toml --set model.trainable='[\"temporal\"]' --json

Needs neither the memory, nor the data, nor the files of weights that the config names. Activations are those of the
network, found by running it on tensors without values.")]
pub struct Plan {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let plan = self.config.open_with(&[], Files::MayLack)?.plan()?;
        let step = plan.activations.as_ref().ok();
        if self.json {
            let parts = plan
                .parts
                .iter()
                .map(|part| json!({ "name": part.name, "parameters": part.parameters, "trained": part.trained }));
            let all = json!({
                "parts": parts.collect::<Vec<_>>(),
                "bytes": {
                    "weights": plan.weights, "gradients": plan.gradients, "moments": plan.moments, "ema": plan.ema,
                    "state": plan.state(), "checkpoint": plan.checkpoint,
                    "activations": step.map(|counted| counted.step), "sampling": step.map(|counted| counted.sampling),
                },
                "flops_a_step": step.map(|counted| counted.flops),
                "steps": plan.steps, "scenes": plan.scenes, "checkpoints": plan.checkpoints,
            });
            println!("{all}");
            return Ok(Exit::Done);
        }
        println!("{:<44} {:>16} {:>16}", "part", "parameters", "trained");
        for part in &plan.parts {
            println!("{:<44} {:>16} {:>16}", part.name, thousands(part.parameters), thousands(part.trained));
        }
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        println!("\nmemory, GiB");
        for (name, bytes) in [
            ("weights", plan.weights),
            ("gradients", plan.gradients),
            ("moments of the optimizer", plan.moments),
            ("moving average", plan.ema),
            ("together", plan.state()),
        ] {
            println!("{name:<44} {:>16.3}", gib(bytes));
        }
        match &plan.activations {
            Ok(counted) => {
                for (name, bytes) in [
                    ("on top: activations of a step", counted.step),
                    ("or, while sampling", counted.sampling),
                    ("or, while a checkpoint is written", plan.checkpoint),
                ] {
                    println!("{name:<44} {:>16.3}", gib(bytes));
                }
                println!("\n{:.3} TFLOP a step", counted.flops as f64 / 1e12);
            }
            Err(reason) => println!("activations on top: {reason}"),
        }
        let kept = plan.checkpoint * plan.checkpoints;
        println!("\n{} steps over {} scenes", thousands(plan.steps), thousands(plan.scenes));
        println!(
            "a checkpoint is {:.3} GiB; {} of them at the end are {:.3} GiB",
            gib(plan.checkpoint),
            plan.checkpoints,
            gib(kept)
        );
        Ok(Exit::Done)
    }
}

/// `1524623082` as `1,524,623,082`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}
