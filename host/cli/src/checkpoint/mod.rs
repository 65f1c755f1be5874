//! `anneal checkpoint`: weights of runs, of the reference and of diffusers, looked at, converted and compared.

mod convert;
mod diff;
mod inspect;
mod merge_lora;

use anneal::layouts::Averages;
use clap::Subcommand;

use crate::exit::{Exit, Failure};

/// Look at, convert or compare weights.
#[derive(Debug, Subcommand)]
pub enum Checkpoint {
    /// List what weights hold: keys, shapes, kinds, parameters by part.
    #[command(after_help = "Examples:
  anneal checkpoint inspect runs/demo
  anneal checkpoint inspect svd.safetensors --depth 3
  anneal checkpoint inspect model.ckpt --keys")]
    Inspect(inspect::Inspect),
    /// Write weights in another layout.
    #[command(after_help = "Examples:
  anneal checkpoint convert runs/demo demo.safetensors --ema
  anneal checkpoint convert runs/tuned adapters.safetensors --adapters
  anneal checkpoint convert model.ckpt model.safetensors
  anneal checkpoint convert svd.safetensors svd-diffusers --to diffusers --num-frames 14
  anneal checkpoint convert svd-diffusers svd.safetensors")]
    Convert(convert::Convert),
    /// Merge low-rank adapters into the weights they belong to.
    #[command(after_help = "Examples:
  anneal checkpoint merge-lora runs/tuned tuned.safetensors --ema
  anneal checkpoint merge-lora svd.safetensors tuned.safetensors --adapters adapters.safetensors")]
    MergeLora(merge_lora::MergeLora),
    /// Compare two sets of weights: keys, shapes, and the largest differences.
    #[command(after_help = "Example: anneal checkpoint diff svd.safetensors runs/svd

Ends with 1 if they differ.")]
    Diff(diff::Diff),
}

/// What `--ema` asks for.
fn wanted(ema: bool) -> Averages {
    if ema { Averages::Wanted } else { Averages::Off }
}

impl Checkpoint {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        match self {
            Self::Inspect(args) => args.run(),
            Self::Convert(args) => args.run(),
            Self::MergeLora(args) => args.run(),
            Self::Diff(args) => args.run(),
        }
    }
}
