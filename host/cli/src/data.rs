//! `anneal data`: look at the batches as the trainer sees them, write them as tar shards, and keep what frozen parts make of them.

use std::path::PathBuf;

use anneal::assemble::AnyProject;
use anneal::data::{self, Loader, Share};
use anneal::logging::{batch_sheet, write_png};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use tch::Device;

use crate::ConfigArgs;
use crate::exit::{Exit, Failure};
use crate::signals::{GRACE, Signals, exit_of};

/// Look at the data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Write a picture of the first batches as the trainer sees them.
    #[command(after_help = "Example: anneal data preview configs/demo.toml --batches 2 --out batches.png")]
    Preview(Preview),
    /// Write one epoch of any source as tar shards, which the source `webdataset` reads.
    #[command(after_help = "Example: anneal data pack configs/demo.toml --out fox-orbits --shard-size 100")]
    Pack(Pack),
    /// Compute once what the frozen parts of a model make of the data, for training to find in `model.cache`.
    #[command(after_help = "Examples:
  anneal data cache configs/sv3d_tiny.toml --set model.cache=cache --batches 200
  anneal train configs/sv3d_tiny.toml --set model.cache=cache

What is kept: the first stage's moments, picture by picture, and the embeddings of frozen embedders, scene by scene. An entry
is found by the pixels or texts it was made from, the settings, the weights and the precision, so it is never stale: when one
of them changes, training computes what it does not find. What is random is drawn anew in training; an embedder that draws
random numbers is not kept. The batches are those of the run itself. Where a source draws clips or views at random, later
epochs hold others.")]
    Cache(Cache),
}

/// Arguments of `data preview`.
#[derive(Debug, Args)]
pub struct Preview {
    #[command(flatten)]
    config: ConfigArgs,
    /// Batches to draw, one picture each.
    #[arg(long, default_value_t = 1)]
    batches: u64,
    /// The first batch, counted from the start of the run.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// The process whose batches are drawn, where several share a run.
    #[arg(long, default_value_t = 0)]
    rank: u64,
    /// How many processes share the run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    num_ranks: u64,
    /// The picture; further batches get a number. In the run's folder if not given.
    #[arg(long, value_name = "PNG")]
    out: Option<PathBuf>,
}

/// Arguments of `data cache`.
#[derive(Debug, Args)]
pub struct Cache {
    #[command(flatten)]
    config: ConfigArgs,
    /// How many batches of the run, from its first on; an epoch's if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batches: Option<u64>,
    /// No progress bar.
    #[arg(long)]
    quiet: bool,
}

/// Arguments of `data pack`.
#[derive(Debug, Args)]
pub struct Pack {
    #[command(flatten)]
    config: ConfigArgs,
    /// A new folder for the shards.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Samples in a shard.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    shard_size: u32,
    /// No progress bar.
    #[arg(long)]
    quiet: bool,
}

impl Data {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        match self {
            Data::Preview(preview) => preview.run(),
            Data::Pack(pack) => pack.run(),
            Data::Cache(cache) => cache.run(),
        }
    }
}

impl Cache {
    fn run(&self) -> Result<Exit, Failure> {
        let signals = Signals::listen(GRACE)?;
        let AnyProject::Diffusion(mut project) = self.config.open(&[])? else {
            let message = "an autoencoder in training has no frozen part; name the config of a diffusion model";
            return Err(Failure::new(Exit::Usage, message));
        };
        let bar = if self.quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let counts = project.fill_cache(self.batches, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
            signals.received().is_none()
        })?;
        bar.finish_and_clear();
        println!("{} entries written, {} were there", counts.written, counts.found);
        Ok(signals.received().map_or(Exit::Done, exit_of))
    }
}

impl Pack {
    fn run(&self) -> Result<Exit, Failure> {
        let project = self.config.open(&[])?;
        let (run, config) = (project.run(), project.data());
        let source = project.source()?;
        let bar = match self.quiet {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(source.num_samples() as u64),
        };
        let (seed, on_bad, size) = (run.seed, config.on_bad_sample, self.shard_size as usize);
        let packed = data::pack(&*source, seed, on_bad, &self.out, size, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        let left_out = match packed.num_bad {
            0 => String::new(),
            bad => format!(", {bad} bad ones left out"),
        };
        println!("{} samples in {} shards{left_out}", packed.num_samples, packed.shards.len());
        let name = match packed.shards.len() {
            0 | 1 => "shard-000000.tar".to_owned(),
            shards => format!("shard-{{000000..{:06}}}.tar", shards - 1),
        };
        // Relative paths of a config start at its file, which this is not.
        let out = std::path::absolute(&self.out).unwrap_or_else(|_| self.out.clone());
        println!("kind = \"webdataset\"\nshards = [{:?}]", out.join(name));
        Ok(Exit::Done)
    }
}

impl Preview {
    fn run(&self) -> Result<Exit, Failure> {
        let project = self.config.open(&[])?;
        let run = project.run();
        let out = self.out.clone().unwrap_or_else(|| run.dir.join("batch.png"));
        if self.rank >= self.num_ranks {
            let message = format!("there is no process {} of {}; they count from 0", self.rank, self.num_ranks);
            return Err(Failure::new(Exit::Usage, message));
        }
        let share = Share { rank: self.rank, num_ranks: self.num_ranks };
        let source = project.source()?;
        let mut loader = Loader::of_share(source, project.data(), run.seed, Device::Cpu, self.first, share)?;
        for i in 0..self.batches {
            let batch = loader.next_batch()?;
            let name = out.file_stem().unwrap_or_default().to_string_lossy();
            let path = if self.batches == 1 {
                out.clone()
            } else {
                out.with_file_name(format!("{name}-{}.png", self.first + i))
            };
            write_png(&batch_sheet(&batch), &path)?;
            println!("{}", path.display());
        }
        Ok(Exit::Done)
    }
}
