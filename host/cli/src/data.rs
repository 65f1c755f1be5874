//! `anneal data`: look at the batches as the trainer sees them, and write them as tar shards.

use std::path::PathBuf;

use anneal::data::{self, Loader, Share};
use anneal::logging::{batch_sheet, write_png};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use tch::Device;

use crate::ConfigArgs;
use crate::exit::{Exit, Failure};

/// Look at the data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Write a picture of the first batches as the trainer sees them.
    #[command(after_help = "Example: anneal data preview configs/demo.toml --batches 2 --out batches.png")]
    Preview(Preview),
    /// Write one epoch of any source as tar shards, which the source `webdataset` reads.
    #[command(after_help = "Example: anneal data pack configs/demo.toml --out fox-orbits --shard-size 100")]
    Pack(Pack),
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
        }
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
