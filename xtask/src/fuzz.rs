//! `cargo xtask fuzz`: the readers of files under libFuzzer, for as long as is wanted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{process, setup};

/// The version that was tried.
const CARGO_FUZZ: &str = "0.13.2";
/// Seconds that one input may take. Many readers are slow without optimisation; what hangs takes for ever.
const TIMEOUT_S: u32 = 60;
/// Memory of a process, MiB: beyond the bound of each execution, which the targets' own allocator holds, this sees libtorch.
const MEMORY_MIB: u32 = 4096;
/// Bytes of the longest input.
const LENGTH_MAX: u32 = 1 << 16;

/// What to run, and for how long.
#[derive(Debug, Args)]
pub struct Fuzz {
    /// The targets, such as `config` or `tar`; all of them if none is named
    targets: Vec<String>,
    /// For how long each is run
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// What came of a target.
#[derive(Debug, PartialEq)]
struct Outcome {
    executions: u64,
    a_second: u64,
    /// Edges of the code that were reached.
    coverage: u64,
    /// Whether an input did what none may.
    is_found: bool,
}

impl Fuzz {
    /// Fetches cargo-fuzz, builds the targets, which takes ten minutes and more, and runs one after the other. What they come
    /// upon is kept in `target/fuzz`, and goes on from there the next time.
    ///
    /// # Errors
    /// When something cannot be set up or built, or an input does what none may.
    pub fn run(&self, paths: &Paths) -> Result<(), Failure> {
        setup::run(paths, false)?;
        let all = targets(paths)?;
        if let Some(unknown) = self.targets.iter().find(|target| !all.contains(target)) {
            return Err(Failure::new(
                format!("there is no target `{unknown}`"),
                format!("there are {}", all.join(", ")),
            ));
        }
        let chosen = if self.targets.is_empty() { all } else { self.targets.clone() };
        let folder = paths.root.join("target/fuzz");
        let programs = build(paths, &folder)?;
        println!("{:<12} {:>11} {:>9} {:>9}  findings", "target", "executions", "a second", "coverage");
        let mut found = Vec::new();
        for target in &chosen {
            let outcome = self.target(paths, &folder, &programs, target)?;
            let Outcome { executions, a_second, coverage, is_found } = outcome;
            println!("{target:<12} {executions:>11} {a_second:>9} {coverage:>9}  {}", if is_found { "1" } else { "-" });
            found.extend(is_found.then_some(target.as_str()));
        }
        if found.is_empty() {
            return Ok(());
        }
        let what =
            format!("inputs were found: {}; the logs and the inputs are in {}", found.join(", "), folder.display());
        Err(Failure::new(what, "replay one with `cargo run -p anneal-fuzz -- replay TARGET FILE`"))
    }

    fn target(&self, paths: &Paths, folder: &Path, programs: &Path, target: &str) -> Result<Outcome, Failure> {
        let (corpus, findings, files) =
            (folder.join("corpus").join(target), folder.join("findings").join(target), folder.join("files"));
        for folder in [&corpus, &findings, &files] {
            fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
        }
        let log = folder.join(format!("{target}.log"));
        let file = fs::File::create(&log).map_err(|error| Failure::file("write", &log, &error))?;
        let mut command = Command::new(paths.root.join(".cargo/run-with-libtorch"));
        command.arg(programs.join(target)).arg(corpus).arg(paths.root.join("tests/fuzz/corpus").join(target));
        command.args([
            format!("-max_total_time={}", self.seconds),
            format!("-timeout={TIMEOUT_S}"),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            format!("-max_len={LENGTH_MAX}"),
            format!("-artifact_prefix={}/", findings.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        command.env("LIBTORCH", paths.libtorch_link()).env("TMPDIR", &files).env("OMP_NUM_THREADS", "1");
        let status = command.stdout(Stdio::null()).stderr(file).status();
        let status = status.map_err(|error| Failure::new(format!("cannot run {target}: {error}"), ""))?;
        // An input that ends the process leaves its files.
        fs::remove_dir_all(&files).map_err(|error| Failure::file("remove", &files, &error))?;
        let text = fs::read(&log).map_err(|error| Failure::file("read", &log, &error))?;
        outcome(&String::from_utf8_lossy(&text), !status.success())
            .ok_or_else(|| Failure::new(format!("{target} did not run"), format!("see {}", log.display())))
    }
}

/// The targets, by name.
fn targets(paths: &Paths) -> Result<Vec<String>, Failure> {
    let folder = paths.root.join("tests/fuzz/libfuzzer/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
    let name = |path: PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let mut targets: Vec<String> = entries.filter_map(|entry| name(entry.ok()?.path())).collect();
    targets.sort();
    Ok(targets)
}

/// Fetches cargo-fuzz and builds the targets with it; returns the folder of the programs.
fn build(paths: &Paths, folder: &Path) -> Result<PathBuf, Failure> {
    let tools = paths.root.join("target/tools");
    let program = tools.join("bin/cargo-fuzz");
    if !program.is_file() {
        let mut install = process::cargo(paths);
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]).arg(&tools);
        process::run(install.arg("--target-dir").arg(tools.join("build")))?;
    }
    // The toolchain is the workspace's, which has no sanitizers: panics, time and memory are what is looked for. Few units of
    // code, and dead code kept, would take several times as long to build and find nothing more.
    let build = folder.join("build");
    let mut command = Command::new(program);
    command.current_dir(&paths.root).args(["fuzz", "build", "--dev", "--sanitizer", "none", "--fuzz-dir"]);
    command.arg("tests/fuzz/libfuzzer").arg("--target-dir").arg(&build);
    process::run(command.env("RUSTFLAGS", "-Ccodegen-units=16 -Clink-dead-code=no"))?;
    Ok(build.join(format!("{}-unknown-linux-gnu/debug", std::env::consts::ARCH)))
}

/// What a log of libFuzzer says; none where it says nothing.
fn outcome(log: &str, is_found: bool) -> Option<Outcome> {
    let stat = |name: &str| {
        let line =
            log.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
        line?.trim().parse::<u64>().ok()
    };
    let coverage = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once(" cov: ")?;
        rest.split(' ').next()?.parse::<u64>().ok()
    });
    Some(Outcome {
        executions: stat("number_of_executed_units")?,
        a_second: stat("average_exec_per_sec")?,
        coverage: coverage.unwrap_or(0),
        is_found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gives_executions_and_coverage() {
        let log = "INFO: seed corpus\n#2\tINITED cov: 310 ft: 311 corp: 1/1b\n#4096\tpulse  cov: 395 ft: 680 corp: 28/1500b\n\
            Done 5000 runs in 3 second(s)\nstat::number_of_executed_units: 5000\nstat::average_exec_per_sec:     1666\n";
        let expected = Outcome { executions: 5000, a_second: 1666, coverage: 395, is_found: false };
        assert_eq!(outcome(log, false), Some(expected));
        assert_eq!(outcome("error while loading shared libraries", true), None);
    }
}
