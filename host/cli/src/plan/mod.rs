//! `anneal plan`: what a run will hold, before anything is allocated.

mod measure;

use anneal::assemble::{AnyProject, Plan as Planned};
use anneal::config::Files;
use clap::Args;
use serde_json::json;

use crate::ConfigArgs;
use crate::exit::{Exit, Failure};
use measure::{ADVERSARY_SETS, Measured, SAMPLING_SETS, SETS, measure};

/// Say what a run will hold in memory and on disk, and what a step costs: parameters by part, the state that stays, what a step
/// and pictures take on top, operations, checkpoints.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal plan configs/svd.toml
  anneal plan configs/svd.toml --set model.trainable='[\"temporal\"]' --json
  anneal plan configs/svd_tiny.toml --measure

Needs neither the memory, nor the data, nor the files of weights that the config names. What comes on top of the state is
found by running the network and the first stage, or an autoencoder with its loss and its adversary, on tensors without
values, in f32 (autocast to bf16 mostly takes less). Of embedders only the encoding of frames counts, as what the first stage needs
for it. Tensors are counted, not what libtorch and the system take beside them.")]
pub struct Plan {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also trains two steps on the run's device, in a temporary folder, and says what they held.
    #[arg(long)]
    measure: bool,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let mut project = self.config.open_with(&[], Files::MayLack)?;
        let plan = project.plan()?;
        let measured = if self.measure { Some(self.measured(&project)?) } else { None };
        match self.json {
            true => println!("{}", as_json(&plan, measured)),
            false => print_tables(&plan, measured),
        }
        Ok(Exit::Done)
    }

    fn measured(&self, planned: &AnyProject) -> Result<Measured, Failure> {
        let folder = tempfile::TempDir::new().map_err(internal)?;
        let mut sets = vec![format!("run.dir={}", folder.path().join("run").display())];
        sets.extend(SETS.map(str::to_owned));
        match planned {
            AnyProject::Diffusion(_) => sets.extend(SAMPLING_SETS.map(str::to_owned)),
            AnyProject::Autoencoder(project) if project.config().loss.discriminator.is_some() => {
                sets.extend(ADVERSARY_SETS.map(str::to_owned));
            }
            AnyProject::Autoencoder(_) => {}
        }
        measure(&mut self.config.open_with(&sets, Files::Needed)?)
    }
}

fn as_json(plan: &Planned, measured: Option<Measured>) -> serde_json::Value {
    let parts = plan
        .parts
        .iter()
        .map(|part| json!({ "name": part.name, "parameters": part.parameters, "trained": part.trained }));
    let on_top = plan.activations.as_ref().ok();
    json!({
        "parts": parts.collect::<Vec<_>>(),
        "bytes": {
            "weights": plan.weights, "gradients": plan.gradients, "moments": plan.moments, "ema": plan.ema,
            "state": plan.state(), "checkpoint": plan.checkpoint, "checkpoint_peak": plan.checkpoint_peak,
            "step": on_top.map(|counted| counted.step), "preview": on_top.and_then(|counted| counted.preview),
            "peak": plan.peak(),
        },
        "measured_bytes": measured.map(|counted| json!({
            "state": counted.state, "step": counted.step, "preview": counted.preview,
        })),
        "flops_a_step": on_top.map(|counted| counted.flops),
        "steps": plan.steps, "scenes": plan.scenes, "checkpoints": plan.checkpoints,
    })
}

fn print_tables(plan: &Planned, measured: Option<Measured>) {
    println!("{:<44} {:>16} {:>16}", "part", "parameters", "trained");
    for part in &plan.parts {
        println!("{:<44} {:>16} {:>16}", part.name, thousands(part.parameters), thousands(part.trained));
    }
    println!(
        "\n{:<46} {:>14}{}",
        "memory, GiB, in f32",
        "planned",
        if measured.is_some() { "         measured" } else { "" }
    );
    let line = |name: &str, planned: u64, measured: Option<u64>| {
        let measured = measured.map(|bytes| format!(" {:>16.3}", gib(bytes))).unwrap_or_default();
        println!("{name:<46} {:>14.3}{measured}", gib(planned));
    };
    line("weights", plan.weights, None);
    line("gradients", plan.gradients, None);
    line("moments of the optimizer", plan.moments, None);
    line("moving average", plan.ema, None);
    line("together", plan.state(), measured.map(|counted| counted.state));
    match &plan.activations {
        Ok(counted) => {
            line("on top, in a step", counted.step, measured.map(|counted| counted.step));
            if let Some(preview) = counted.preview {
                line("on top, while pictures are made", preview, measured.and_then(|counted| counted.preview));
            }
        }
        Err(reason) => println!("on top, in a step: not known; {reason}"),
    }
    if let Some(peak) = plan.peak() {
        line(
            "at most, beside checkpoints",
            peak,
            measured.map(|counted| counted.state + counted.step.max(counted.preview.unwrap_or(0))),
        );
    }
    line("while a checkpoint is written, in main memory", plan.checkpoint_peak, None);
    if let Ok(counted) = &plan.activations {
        println!("\n{:.3} TFLOP a step", counted.flops as f64 / 1e12);
    }
    println!("\n{} steps over {} scenes", thousands(plan.steps), thousands(plan.scenes));
    println!(
        "a checkpoint is {:.3} GiB; {} of them at the end are {:.3} GiB",
        gib(plan.checkpoint),
        plan.checkpoints,
        gib(plan.checkpoint * plan.checkpoints)
    );
}

/// What should not happen.
fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, error.to_string())
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// `1524623082` as `1,524,623,082`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}
