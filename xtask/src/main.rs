//! `cargo xtask <verb>`: set-up and developer verbs. It builds without libtorch, so that it can fetch libtorch.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod anneal;
mod bench;
mod check;
mod demo;
mod digest;
mod failure;
mod fuzz;
mod languages;
mod parity;
mod paths;
mod plugins;
mod process;
mod setup;
mod soak;
mod test;
mod tidy;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::paths::Paths;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up and developer verbs", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Train the demo on real data, sample from it, and say where the pictures are
    Demo,
    /// Set everything up and run every test; ARGS go to `cargo test --workspace`
    #[command(disable_help_flag = true)]
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Fetch what cargo does not: libtorch, the wasm target, the demo's data
    Setup {
        /// Also fetch the CUDA libraries (about 2 GB)
        #[arg(long)]
        cuda: bool,
    },
    /// Fetch the data of the configs: the fox, and three video clips
    Data,
    /// Build the bundled plugins into target/plugins, and the tests' into target/test-plugins
    Plugins,
    /// Build and run the `anneal` command line with everything it needs
    #[command(disable_help_flag = true)]
    Anneal {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Time a training step beside diffusers' on this machine
    Bench(bench::Bench),
    /// Compare with the reference's golden cases; ARGS are parts of their names
    #[command(disable_help_flag = true)]
    Parity {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Build and check plugins in C, JavaScript and Python, whose tools it fetches (about 500 MB, 15 minutes)
    Languages,
    /// Kill a run and damage its checkpoints, again and again, and see what is lost (1000 faults take half an hour)
    Torture {
        /// How many faults
        #[arg(long, default_value_t = 1000)]
        faults: u64,
    },
    /// Train a small model for long, and see whether memory, open files or speed change (20,000 steps take a quarter of an hour)
    Soak {
        /// How many steps
        #[arg(long, default_value_t = 20_000)]
        steps: u64,
    },
    /// Give readers of files hostile bytes, under libFuzzer, and print what came of each (the first time it builds for a quarter of an hour)
    Fuzz(fuzz::Fuzz),
    /// Format, tidy, clippy, tests: the cheapest first
    Check,
    /// The repository's own rules: import order, file openings, links and the like
    Tidy,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let paths = Paths::new();
    let outcome = match arguments.verb {
        Verb::Demo => demo::run(&paths),
        Verb::Test { args } => test::run(&paths, &args),
        Verb::Setup { cuda } => setup::run(&paths, cuda),
        Verb::Data => setup::data(&paths),
        Verb::Plugins => setup::run(&paths, false).and_then(|()| plugins::run(&paths, plugins::With::Programs)),
        Verb::Anneal { args } => anneal::run(&paths, &args),
        Verb::Bench(bench) => bench.run(&paths),
        Verb::Parity { args } => parity::run(&paths, &args),
        Verb::Languages => languages::run(&paths),
        Verb::Torture { faults } => torture::run(&paths, faults),
        Verb::Soak { steps } => soak::run(&paths, steps),
        Verb::Fuzz(fuzz) => fuzz.run(&paths),
        Verb::Check => check::run(&paths),
        Verb::Tidy => tidy::run(&paths),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}
