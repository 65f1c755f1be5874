//! `anneal checkpoint merge-lora`: low-rank adapters merged into the weights they belong to.

use std::path::PathBuf;

use anneal::layouts::Source;
use anneal::weights::{Named, merge_adapters, split_adapters};
use clap::Args;

use super::convert::{format, write_file};
use super::wanted;
use crate::exit::{Exit, Failure};

/// Arguments of `checkpoint merge-lora`.
#[derive(Debug, Args)]
pub struct MergeLora {
    /// The weights: a run or its checkpoint with adapters, or a file of safetensors or torch.save.
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// The file to write.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The adapters, if they are not among the weights: a file, or a run or its checkpoint.
    #[arg(long, value_name = "WEIGHTS")]
    adapters: Option<PathBuf>,
    /// Their strength, if their file does not say: `lora_alpha` of peft's adapter_config.json.
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f64>,
    /// Of a run: the moving averages in place of the weights they follow.
    #[arg(long)]
    ema: bool,
    /// Replace what is at OUT.
    #[arg(long)]
    force: bool,
}

impl MergeLora {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        if self.out.exists() && !self.force {
            let message = format!("{} exists; add --force to replace it", self.out.display());
            return Err(Failure::new(Exit::Usage, message));
        }
        // Where adapters come by themselves, averages are theirs.
        let mut base = Source::open(&self.from, wanted(self.ema && self.adapters.is_none()))?;
        let mut said = base.lora_alpha();
        let (weights, mut adapters) = split_adapters(base.read()?);
        let mut holds = &self.from;
        if let Some(path) = &self.adapters {
            if !adapters.is_empty() {
                let message = format!("{}: it has adapters of its own; merge those first", self.from.display());
                return Err(Failure::new(Exit::Checkpoint, message));
            }
            let mut source = Source::open(path, wanted(self.ema))?;
            (said, holds) = (source.lora_alpha(), path);
            adapters = split_adapters(source.read()?).1;
        }
        let wrong = |reason: String| Failure::new(Exit::Checkpoint, format!("{}: {reason}", holds.display()));
        if adapters.is_empty() {
            let help = "--adapters names a file that has some";
            return Err(wrong(format!("it has no low-rank adapters; {help}")));
        }
        let Some(alpha) = self.alpha.or(said) else {
            return Err(wrong("it does not say the adapters' strength; give --alpha".to_owned()));
        };
        let merged: Vec<Named> = merge_adapters(weights, &adapters, alpha).map_err(wrong)?;
        write_file(&self.out, &merged, format(None))?;
        println!(
            "{}: {} tensors, {} adapters merged at alpha = {alpha}",
            self.out.display(),
            merged.len(),
            adapters.len() / 2
        );
        Ok(Exit::Done)
    }
}
