//! `anneal plugin check`: whether plugins do what their kinds promise.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anneal_conformance::check::Level;
use anneal_conformance::expectations::Expectations;
use anneal_conformance::report::{SCHEMA, human, json, junit};
use anneal_conformance::result::{Outcome, PluginResult, Status, exit_code};
use anneal_conformance::{Run, RunError, catalogue, work};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::exit::{Exit, Failure};

/// Time of a check before its process is killed.
const TIME: Duration = Duration::from_secs(30);

/// Check plugins: each check runs in a process of its own, which a fault cannot leave.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal plugin check my-plugin/dist/acme.karras
  anneal plugin check target/plugins/* --level L1 --report junit:checks.xml
  anneal plugin check dist/acme.karras --only D03 --seed 7
  anneal plugin check karras.tar.zst

Levels: L0 it can be loaded, L1 its results are right, L2 they are the same again, L3 nothing one does to it breaks it.
The code of a native plugin runs with your rights, trusted or not: check what you would run.
A file anneal-check.toml in the plugin's folder, or up to two above it, says what is expected to fail.

Exit codes: 0 every entry reaches the level; 1 some do not; 2 the arguments or the expectations are wrong; 3 a plugin cannot
be loaded, and nothing else of it was checked; 4 a check's process crashed or was killed; 5 nothing was checked; 70 a check
itself broke; 130 stopped by Ctrl-C.")]
pub struct CheckPlugins {
    /// Folders of plugins, each with a `plugin.toml`, or packages as `plugin pack` writes them.
    #[arg(required = true, value_name = "DIR|FILE")]
    plugins: Vec<PathBuf>,
    /// The level that has to be reached; checks of higher ones are not made.
    #[arg(long, default_value = "L3")]
    level: LevelArg,
    /// Only this check, and those that have to come before it. May be repeated.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Output on the terminal.
    #[arg(long, default_value = "human")]
    format: Format,
    /// Also writes a report: `json:FILE` or `junit:FILE`. May be repeated.
    #[arg(long = "report", value_name = "FORMAT:FILE", value_parser = report)]
    reports: Vec<(Format, PathBuf)>,
    /// Lists all checks, those that are met too.
    #[arg(short, long)]
    verbose: bool,
    /// Checks at a time.
    #[arg(short, long, default_value_t = jobs(), value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: u32,
    /// The seed of everything that is drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A factor of the time a check may take.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    timeout_scale: f64,
    /// Expectations in place of those of the plugin's folder.
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
}

/// List the checks: id, level, name, what is demanded.
#[derive(Debug, Args)]
pub struct ListChecks {
    /// Print the JSON Schema of reports instead.
    #[arg(long)]
    report_schema: bool,
}

/// Not for people: one check.
#[derive(Debug, Args)]
pub struct CheckWorker {
    /// What to do, as JSON.
    request: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Junit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum LevelArg {
    L0,
    L1,
    L2,
    L3,
}

impl From<LevelArg> for Level {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::L0 => Level::L0,
            LevelArg::L1 => Level::L1,
            LevelArg::L2 => Level::L2,
            LevelArg::L3 => Level::L3,
        }
    }
}

fn jobs() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

fn report(text: &str) -> Result<(Format, PathBuf), String> {
    let (format, file) = text.split_once(':').ok_or("write json:FILE or junit:FILE")?;
    let format = match format {
        "json" => Format::Json,
        "junit" => Format::Junit,
        other => return Err(format!("`{other}` is no format of a report: json or junit")),
    };
    Ok((format, PathBuf::from(file)))
}

impl CheckPlugins {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        if !(self.timeout_scale > 0.0 && self.timeout_scale <= 1000.0) {
            return Err(usage(format!("--timeout-scale {}: it must be above 0 and at most 1000", self.timeout_scale)));
        }
        let expectations = self.expectations.as_deref().map(Expectations::read).transpose();
        let run = Run {
            program: std::env::current_exe().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?,
            level: self.level.into(),
            only: self.only.clone(),
            jobs: self.jobs as usize,
            seed: self.seed,
            time: TIME.mul_f64(self.timeout_scale),
            expectations: expectations.map_err(|error| usage(error.to_string()))?,
        };
        let mut results = Vec::new();
        for plugin in &self.plugins {
            let plugin = plugin.canonicalize().map_err(|error| usage(format!("{}: {error}", plugin.display())))?;
            let unpacked = plugin.is_file().then(|| unpacked(&plugin)).transpose()?;
            results.push(self.one(&run, unpacked.as_ref().map_or(&plugin, |folder| folder.path()))?);
        }
        if self.format != Format::Human {
            print!("{}", written(self.format, &results)?);
        }
        for (format, file) in &self.reports {
            let text = written(*format, &results)?;
            fs::write(file, text).map_err(|error| Failure::new(Exit::Disk, format!("{}: {error}", file.display())))?;
        }
        Ok(exit(exit_code(&results, self.level.into())))
    }

    fn one(&self, run: &Run, folder: &Path) -> Result<PluginResult, Failure> {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} checks, {elapsed}: {msg}") {
            bar.set_style(style);
        }
        let told = |outcome: &Outcome| {
            bar.inc(1);
            bar.set_message(format!("{} {}", outcome.entry.as_deref().unwrap_or(""), outcome.id));
        };
        let result = run.plugin(folder, &told);
        bar.finish_and_clear();
        let result = result.map_err(|error| match error {
            RunError::Start(_) => Failure::new(Exit::Internal, error.to_string()),
            RunError::Expectations(_) | RunError::NoCheck(_) => Failure::new(Exit::Usage, error.to_string()),
        })?;
        if self.format == Format::Human {
            print!("{}", human(&result, self.verbose));
            if result.outcomes.iter().all(|outcome| outcome.status == Status::Skip) {
                println!("nothing was checked");
            }
        }
        Ok(result)
    }
}

/// A package, in a folder for as long as it is checked.
fn unpacked(package: &Path) -> Result<TempDir, Failure> {
    let refused = |code, error: &dyn std::fmt::Display| Failure::new(code, format!("{}: {error}", package.display()));
    let folder = tempfile::tempdir().map_err(|error| refused(Exit::Disk, &error))?;
    let file = fs::File::open(package).map_err(|error| refused(Exit::Disk, &error))?;
    anneal::plugin::unpack(file, folder.path()).map_err(|error| refused(Exit::Config, &error))?;
    Ok(folder)
}

fn written(format: Format, results: &[PluginResult]) -> Result<String, Failure> {
    match format {
        Format::Human => Ok(results.iter().map(|result| human(result, false)).collect()),
        Format::Json => Ok(format!("{:#}\n", json(results))),
        Format::Junit => junit(results).map_err(|error| Failure::new(Exit::Internal, error)),
    }
}

/// The codes of checks are among those of the program.
fn exit(code: u8) -> Exit {
    match code {
        0 => Exit::Done,
        1 => Exit::Differs,
        3 => Exit::Config,
        4 => Exit::Plugin,
        5 => Exit::Data,
        _ => Exit::Internal,
    }
}

impl ListChecks {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        if self.report_schema {
            print!("{SCHEMA}");
            return Ok(Exit::Done);
        }
        for check in catalogue() {
            let advisory = if check.is_advisory { " advisory" } else { "" };
            println!("{} {} {}{advisory}: {}", check.id, check.level, check.name, check.demands);
        }
        Ok(Exit::Done)
    }
}

impl CheckWorker {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        work(&self.request).map(|()| Exit::Done).map_err(|error| Failure::new(Exit::Internal, error))
    }
}
