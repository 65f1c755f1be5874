//! `anneal checkpoint inspect`: what weights hold, without reading values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anneal::layouts::{Layout, Source};
use clap::Args;

use super::wanted;
use crate::exit::{Exit, Failure};

/// Arguments of `checkpoint inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// A file of safetensors or torch.save, a run or its checkpoint, or a diffusers folder.
    #[arg(value_name = "WEIGHTS")]
    path: PathBuf,
    /// Of a run, or a file with `model_ema.*`: the moving averages in place of the weights they follow.
    #[arg(long)]
    ema: bool,
    /// Names of a key, counted from its start, that make up a part.
    #[arg(long, default_value_t = 2, value_name = "N")]
    depth: usize,
    /// List every key with its kind and shape.
    #[arg(long)]
    keys: bool,
    /// Only keys that begin with this.
    #[arg(long, default_value = "", value_name = "PREFIX")]
    prefix: String,
}

/// What a part adds up to.
#[derive(Default)]
struct Part {
    tensors: u64,
    values: u64,
    bytes: u64,
}

impl Part {
    fn add(&mut self, values: u64, bytes: u64) {
        self.tensors += 1;
        self.values += values;
        self.bytes += bytes;
    }
}

impl Inspect {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let source = Source::open(&self.path, wanted(self.ema))?;
        let layout = match source.layout {
            Layout::File => "file",
            Layout::Checkpoint => "checkpoint of a run",
            Layout::Diffusers => "diffusers pipeline",
        };
        println!("{}: {layout}", source.path.display());
        for (key, value) in &source.metadata {
            println!("  {key} = {value}");
        }
        let (mut parts, mut kinds, mut all) =
            (BTreeMap::<String, Part>::new(), BTreeMap::<String, Part>::new(), Part::default());
        let entries = || source.entries().filter(|(key, _)| key.starts_with(&self.prefix));
        for (key, entry) in entries() {
            let part: Vec<&str> = key.split('.').take(self.depth.max(1)).collect();
            let (values, bytes) = (entry.numel(), entry.bytes());
            parts.entry(part.join(".")).or_default().add(values, bytes);
            kinds.entry(format!("{:?}", entry.kind)).or_default().add(values, bytes);
            all.add(values, bytes);
        }
        if all.tensors == 0 {
            let first = source.entries().next().map_or("there are none", |(key, _)| key);
            let message = format!("no key begins with `{}`; the first key: {first}", self.prefix);
            return Err(Failure::new(Exit::Checkpoint, message));
        }
        println!();
        let rows: Vec<(&String, &Part)> = parts.iter().chain(&kinds).collect();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("part".len());
        println!("{:width$}  {:>8}  {:>15}  {:>10}", "part", "tensors", "parameters", "MiB");
        let row = |name: &str, part: &Part| {
            let mib = part.bytes as f64 / f64::from(1 << 20);
            println!("{name:width$}  {:>8}  {:>15}  {mib:>10.1}", part.tensors, part.values);
        };
        parts.iter().for_each(|(name, part)| row(name, part));
        println!();
        kinds.iter().for_each(|(name, part)| row(name, part));
        row("all", &all);
        if self.keys {
            println!();
            let width = entries().map(|(key, _)| key.len()).max().unwrap_or(0);
            for (key, entry) in entries() {
                println!("{key:width$}  {:<8}  {:?}", format!("{:?}", entry.kind), entry.shape);
            }
        }
        Ok(Exit::Done)
    }
}
