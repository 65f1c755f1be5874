//! The child: one check, its traces and its result in a file, whatever becomes of the process.

use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anneal::config::PluginKind;
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::check::Finding;
use crate::checks;
use crate::subject::Subject;

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The plugin's folder.
    pub folder: PathBuf,
    /// The entry, for checks of entries.
    pub entry: Option<(PluginKind, String)>,
    /// The check's id.
    pub check: String,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// Where traces and the result go, one JSON object a line.
    pub results: PathBuf,
}

/// What a child found, as the last line of its results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "found")]
pub enum Told {
    /// It passed.
    Pass,
    /// It did not.
    Fail {
        /// Why.
        message: String,
    },
    /// It is about something the plugin does not claim to have.
    NotDeclared {
        /// What.
        message: String,
    },
    /// The check itself broke.
    Harness {
        /// How.
        message: String,
    },
    /// Not a check: the hash of a transcript.
    Transcript {
        /// In hexadecimal.
        hash: String,
    },
}

/// The name of the request that only makes a transcript.
const TRANSCRIPT: &str = "transcript";

/// Does what a request, as JSON, asks for; the result is in its file.
///
/// # Errors
/// When the request cannot be read, or the result cannot be written.
pub fn work(request: &str) -> Result<(), String> {
    let request: Request = serde_json::from_str(request).map_err(|error| error.to_string())?;
    limit_myself();
    let told = catch_unwind(AssertUnwindSafe(|| found(&request)))
        .unwrap_or_else(|_| Told::Harness { message: "the check itself panicked".to_owned() });
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&request.results)
        .map_err(|error| format!("{}: {error}", request.results.display()))?;
    writeln!(file, "{}", json!(told)).map_err(|error| error.to_string())
}

/// A child that crashes leaves no core file, opens no more files than a plugin needs, and ends with its parent.
fn limit_myself() {
    // Where the system does not know a limit, the parent's limits remain.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: Some(256) });
}

fn found(request: &Request) -> Told {
    let mut subject =
        Subject::new(request.folder.clone(), request.entry.clone(), request.seed, request.results.clone());
    if request.check == TRANSCRIPT {
        return match checks::transcript(&mut subject) {
            Ok(hash) => Told::Transcript { hash },
            Err(Finding::Fail(message) | Finding::NotDeclared(message)) => Told::Fail { message },
        };
    }
    let Some(check) = checks::catalogue().into_iter().find(|check| check.id == request.check) else {
        return Told::Harness { message: format!("there is no check {}", request.check) };
    };
    match (check.run)(&mut subject) {
        Ok(()) => Told::Pass,
        Err(Finding::Fail(message)) => Told::Fail { message },
        Err(Finding::NotDeclared(message)) => Told::NotDeclared { message },
    }
}

/// The transcript of the subject's entry, made by another process.
///
/// # Errors
/// When that process makes none.
pub fn transcript_elsewhere(subject: &Subject) -> Result<String, Finding> {
    let failed = |error: std::io::Error| Finding::fail(format!("another process: {error}"));
    let folder = tempfile::tempdir().map_err(failed)?;
    let results = folder.path().join("results.jsonl");
    let request = subject.request(TRANSCRIPT, &results);
    let program = std::env::current_exe().map_err(failed)?;
    let status = command(&program, &request).status().map_err(failed)?;
    match read(&results).1 {
        Some(Told::Transcript { hash }) => Ok(hash),
        told => Err(Finding::fail(format!("another process ended with {status} and {told:?}"))),
    }
}

/// The command of a child. Its output is left to the caller.
pub fn command(program: &Path, request: &Request) -> Command {
    let mut command = Command::new(program);
    command.args(["plugin", "check-worker", &json!(request).to_string()]);
    command.env("OMP_NUM_THREADS", "1").env("OMP_WAIT_POLICY", "passive").env("MALLOC_PERTURB_", "165");
    command.stdin(Stdio::null());
    command
}

/// What a file of results holds: the last trace, and what was found.
pub fn read(results: &Path) -> (Option<String>, Option<Told>) {
    let text = std::fs::read_to_string(results).unwrap_or_default();
    let (mut trace, mut told) = (None, None);
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        match value["doing"].as_str() {
            Some(doing) => trace = Some(doing.to_owned()),
            None => told = serde_json::from_value(value).ok().or(told),
        }
    }
    (trace, told)
}
