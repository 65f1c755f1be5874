//! `anneal-fuzz`: targets by hand, and for the short test, which starts this as a process of its own for each.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anneal_fuzz::{Corpus, Mutator, Target, Watchdog, execute, target, targets};
use clap::Parser;

/// Drive readers of files with hostile bytes.
#[derive(Parser)]
enum Arguments {
    /// Print the names of the targets
    List,
    /// Run a target on files, such as one that libFuzzer has found
    Replay {
        /// The target
        target: String,
        /// The files
        files: Vec<PathBuf>,
    },
    /// Run a target on its corpus and on seeded mutations of it
    Short {
        /// The target
        target: String,
        /// Another folder of inputs than the target's own
        #[arg(long)]
        corpus: Option<PathBuf>,
        /// Each input is written here before it is run, so that it is there if it ends the process
        #[arg(long)]
        input: PathBuf,
        /// Another number of mutations than the target's own
        #[arg(long)]
        mutations: Option<u64>,
        /// Decides the mutations
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that one execution may take
        #[arg(long, default_value_t = 60.0)]
        deadline_s: f64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    match arguments {
        Arguments::List => targets::ALL.iter().for_each(|target| println!("{}", target.name)),
        Arguments::Replay { target, files } => {
            let target = named(&target)?;
            for path in files {
                let start = Instant::now();
                execute(target, &fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?);
                println!("{}: fine, {:.3} s", path.display(), start.elapsed().as_secs_f64());
            }
        }
        Arguments::Short { target, corpus, input, mutations, seed, deadline_s } => {
            let target = named(&target)?;
            let folder = corpus.unwrap_or_else(|| Corpus::folder(target.name));
            let corpus = Corpus::read(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let _watchdog = Watchdog::start(Duration::from_secs_f64(deadline_s));
            let start = Instant::now();
            let (executions, slowest) = short(target, corpus, &input, mutations.unwrap_or(target.mutations), seed)?;
            let [all, slowest] = [start.elapsed(), slowest].map(|time| time.as_secs_f64());
            println!("{}: {executions} executions, {all:.1} s, the slowest {slowest:.3} s", target.name);
        }
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Target, String> {
    target(name).ok_or_else(|| format!("there is no target {name:?}"))
}

/// The corpus, and then mutations of it. Returns how many inputs were run, and how long the slowest took; that one is kept
/// beside `input`.
fn short(target: &Target, corpus: Corpus, input: &Path, mutations: u64, seed: u64) -> Result<(u64, Duration), String> {
    let (mut executed, mut slowest) = (0, Duration::ZERO);
    let mut run = |data: &[u8]| {
        fs::write(input, data).map_err(|error| format!("{}: {error}", input.display()))?;
        let start = Instant::now();
        execute(target, data);
        executed += 1;
        if start.elapsed() > slowest {
            slowest = start.elapsed();
            let kept = input.with_extension("slowest");
            fs::write(&kept, data).map_err(|error| format!("{}: {error}", kept.display()))?;
        }
        Ok::<(), String>(())
    };
    let inputs: Vec<Vec<u8>> = corpus.inputs.into_iter().map(|(_, data)| data).collect();
    if inputs.is_empty() {
        return Err(format!("the corpus of {} is empty", target.name));
    }
    inputs.iter().try_for_each(|data| run(data))?;
    let mut mutator = Mutator::new(&inputs, seed);
    (0..mutations).try_for_each(|_| run(&mutator.mutation()))?;
    Ok((executed, slowest))
}
