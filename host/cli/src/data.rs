//! `anneal data`: look at the batches as the trainer sees them.

use std::path::PathBuf;

use anneal::data::Loader;
use anneal::logging::{batch_sheet, write_png};
use clap::{Args, Subcommand};
use tch::Device;

use crate::ConfigArgs;
use crate::exit::{Exit, Failure};

/// Look at the data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Write a picture of the first batches as the trainer sees them.
    #[command(after_help = "Example: anneal data preview configs/demo.toml --batches 2 --out batches.png")]
    Preview(Preview),
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
    /// The picture; further batches get a number. In the run's folder if not given.
    #[arg(long, value_name = "PNG")]
    out: Option<PathBuf>,
}

impl Data {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let Data::Preview(args) = self;
        let project = args.config.open(&[])?;
        let run = project.run();
        let out = args.out.clone().unwrap_or_else(|| run.dir.join("batch.png"));
        let mut loader = Loader::new(project.source()?, project.data(), run.seed, Device::Cpu, args.first)?;
        for i in 0..args.batches {
            let batch = loader.next_batch()?;
            let name = out.file_stem().unwrap_or_default().to_string_lossy();
            let path = if args.batches == 1 {
                out.clone()
            } else {
                out.with_file_name(format!("{name}-{}.png", args.first + i))
            };
            write_png(&batch_sheet(&batch), &path)?;
            println!("{}", path.display());
        }
        Ok(Exit::Done)
    }
}
