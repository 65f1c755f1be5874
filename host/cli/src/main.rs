//! The command line of anneal: one file a verb, and the only place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod bench_ops;
mod bench_roles;
mod checkpoint;
mod config;
mod data;
mod evaluate;
mod exit;
mod out_of_memory;
mod plan;
mod plugin;
mod progress;
mod replay;
mod sample;
mod signals;
mod train;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use anneal::assemble::AnyProject;
use anneal::config::{Environment, Files};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::exit::{EXIT_CODES, Exit, Failure};

/// Trains and samples video and multi-view diffusion models, their parts chosen from plugins by a TOML config.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// How much is logged: error, warn, info, debug, trace, or a filter such as `plugin=debug`.
    #[arg(long, global = true, default_value = "warn", value_name = "FILTER")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train a model from a config.
    Train(train::Train),
    /// Make a step again that went wrong.
    Replay(replay::Replay),
    /// Sample from a trained run.
    Sample(Box<sample::Sample>),
    /// Score a trained run on scenes that it was not trained on.
    Evaluate(evaluate::Evaluate),
    /// Say what a run will hold in memory and on disk.
    Plan(plan::Plan),
    /// Show, check or describe a config.
    #[command(subcommand)]
    Config(config::Config),
    /// List, show, begin, build, check and hand on plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginVerb),
    /// Look at the data.
    #[command(subcommand)]
    Data(data::Data),
    /// Look at, convert or compare weights.
    #[command(subcommand)]
    Checkpoint(checkpoint::Checkpoint),
    /// Measure speed and memory.
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// A config with its overrides, as most verbs take it.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The config file.
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// Overrides a key: `--set train.steps=100`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginArgs,
}

/// Where plugins are looked for.
#[derive(Debug, Args)]
pub struct PluginArgs {
    /// A plugin directory, searched after those of the config. May be repeated.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
}

impl ConfigArgs {
    /// Reads and checks the config and all it names; nothing is allocated.
    ///
    /// # Errors
    /// All that is wrong with the config, or that plugins cannot be found.
    pub fn open(&self, sets: &[String]) -> Result<AnyProject, Failure> {
        self.open_with(sets, Files::Needed)
    }

    /// Reads the config and finds all that is wrong with it and with what it names; nothing of the model's size is allocated.
    ///
    /// # Errors
    /// All of it.
    pub fn inspect(&self) -> Result<AnyProject, Failure> {
        Ok(AnyProject::inspect(&self.config, &self.sets, &self.plugins.plugin_dirs, &Environment::read())?)
    }

    /// As [`ConfigArgs::open`], where files and folders that the config names are needed or may lack.
    ///
    /// # Errors
    /// As [`ConfigArgs::open`].
    pub fn open_with(&self, sets: &[String], files: Files) -> Result<AnyProject, Failure> {
        let sets: Vec<String> = self.sets.iter().chain(sets).cloned().collect();
        Ok(AnyProject::open(&self.config, &sets, files, &self.plugins.plugin_dirs, &Environment::read())?)
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.verb {
        Verb::Train(train) => train.run(),
        Verb::Replay(replay) => replay.run(),
        Verb::Sample(sample) => sample.run(),
        Verb::Evaluate(evaluate) => evaluate.run(),
        Verb::Plan(plan) => plan.run(),
        Verb::Config(config) => config.run(),
        Verb::Plugin(plugin) => plugin.run(),
        Verb::Data(data) => data.run(),
        Verb::Checkpoint(checkpoint) => checkpoint.run(),
        Verb::Bench(bench) => bench.run(),
    }
}

fn main() -> ExitCode {
    // libtorch settles whether there is CUDA at the first question, so its library comes before everything else.
    let cuda = anneal_torch::cuda::load_beside_libtorch();
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    if let Err(error) = cuda {
        tracing::warn!("CUDA cannot be loaded, the CPU is used: {error}");
    }
    out_of_memory::quiet_panics();
    match catch_unwind(AssertUnwindSafe(|| run(cli))) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => {
            eprintln!("error: {}", failure.message);
            failure.exit.into()
        }
        Err(_) => {
            eprintln!("error: a fault of anneal (the panic above); the newest checkpoint is untouched");
            Exit::Internal.into()
        }
    }
}
