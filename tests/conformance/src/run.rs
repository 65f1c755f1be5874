//! The parent: a process a check, its limits, and what is left of it.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anneal::config::PluginKind;
use anneal::plugin::{Plugin, Runtime};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use thiserror::Error;

use crate::check::{Check, Level, Scope};
use crate::checks;
use crate::expectations::{Action, BadExpectations, Expectations};
use crate::result::{Outcome, PluginResult, Skipped, Status};
use crate::work::{self, Request, Told};

/// Memory of a child before it is killed, bytes.
const MEMORY: u64 = 4 << 30;
/// What is kept of a child's standard error, bytes.
const STDERR: usize = 64 << 10;
/// Time between asking a child to end and killing it.
const GRACE: Duration = Duration::from_secs(2);

/// How a plugin is checked.
#[derive(Debug, Clone)]
pub struct Run {
    /// The program that is started again for each check, and hands its request to [`crate::work`].
    pub program: PathBuf,
    /// The highest level whose checks are made.
    pub level: Level,
    /// Only these checks, if any are named; gates are made anyway.
    pub only: Vec<String>,
    /// Children at a time.
    pub jobs: usize,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// Time of a check, if no factor changes it.
    pub time: Duration,
    /// Expectations, if not those of the plugin's folder.
    pub expectations: Option<Expectations>,
}

/// Why a plugin cannot be checked at all.
#[derive(Debug, Error)]
pub enum RunError {
    /// The expectations cannot be used.
    #[error(transparent)]
    Expectations(#[from] BadExpectations),
    /// A process cannot be started, or a file not be made.
    #[error("a check cannot be started: {0}")]
    Start(#[from] io::Error),
    /// A check that is asked for by name is not there.
    #[error("there is no check `{0}`; `anneal plugin checks` lists them")]
    NoCheck(String),
}

/// Told of each outcome as it comes.
pub type Progress<'a> = dyn Fn(&Outcome) + Sync + 'a;

type Entry = (PluginKind, String);

impl Run {
    /// Checks the plugin in a folder.
    ///
    /// # Errors
    /// When a check cannot even be started.
    pub fn plugin(&self, folder: &Path, told: &Progress<'_>) -> Result<PluginResult, RunError> {
        let known = checks::catalogue();
        if let Some(id) = self.only.iter().find(|id| known.iter().all(|check| check.id != **id)) {
            return Err(RunError::NoCheck(id.clone()));
        }
        let expectations = match &self.expectations {
            Some(given) => given.clone(),
            None => Expectations::of(folder)?,
        };
        let read = Plugin::read(folder).ok();
        let mut result = PluginResult {
            folder: folder.to_owned(),
            id: read.as_ref().map(|plugin| plugin.id().to_owned()).unwrap_or_default(),
            version: read.as_ref().map(|plugin| plugin.version().to_string()).unwrap_or_default(),
            sha256: read.as_ref().map(|plugin| plugin.sha256().to_owned()).unwrap_or_default(),
            up_to: self.level,
            is_whole: self.only.is_empty(),
            outcomes: Vec::new(),
        };
        let checking = Checking { run: self, folder, expectations, told, code: tempfile::tempdir()? };
        let outcomes = &mut result.outcomes;
        let mut is_open = checking.all(None, &self.wanted(|scope| scope == Scope::Plugin), outcomes)?;
        if is_open && read.as_ref().is_some_and(|plugin| plugin.artifact(Runtime::Wasm).is_some()) {
            is_open = checking.all(None, &self.wanted(|scope| scope == Scope::Component), outcomes)?;
        }
        if is_open && read.as_ref().is_some_and(|plugin| plugin.artifact(Runtime::Native).is_some()) {
            is_open = checking.all(None, &self.wanted(|scope| scope == Scope::Library), outcomes)?;
        }
        for entry in read.iter().flat_map(Plugin::entries).filter(|_| is_open) {
            let checks = self.wanted(|scope| scope.takes(entry.kind(), entry.runtime()));
            checking.all(Some(&(entry.kind(), entry.name().to_owned())), &checks, outcomes)?;
        }
        Ok(result)
    }

    /// The checks to be made of some scopes.
    fn wanted(&self, of: impl Fn(Scope) -> bool) -> Vec<Check> {
        let is_named = |check: &Check| self.only.is_empty() || self.only.iter().any(|id| id == check.id);
        let is_wanted = |check: &Check| check.level <= self.level && (check.is_gate || is_named(check));
        checks::catalogue().into_iter().filter(|check| of(check.scope) && is_wanted(check)).collect()
    }
}

/// A plugin while it is checked.
struct Checking<'a> {
    run: &'a Run,
    folder: &'a Path,
    expectations: Expectations,
    told: &'a Progress<'a>,
    /// Where children keep what they compile.
    code: TempDir,
}

impl Checking<'_> {
    /// Some checks, gates first and one by one. Whether all gates are open.
    fn all(&self, entry: Option<&Entry>, checks: &[Check], outcomes: &mut Vec<Outcome>) -> Result<bool, RunError> {
        let (gates, rest): (Vec<Check>, Vec<Check>) = checks.iter().partition(|check| check.is_gate);
        for (idx, gate) in gates.iter().enumerate() {
            let outcome = self.one(entry, gate)?;
            (self.told)(&outcome);
            let is_open = matches!(outcome.status, Status::Pass | Status::Skip);
            outcomes.push(outcome);
            if is_open {
                continue;
            }
            // What is needed for lower levels is of another kind, and found out all the same.
            let (lower, blocked): (Vec<Check>, Vec<Check>) = rest.iter().partition(|check| check.level < gate.level);
            outcomes.extend(self.side_by_side(entry, &lower)?);
            outcomes.extend(gates[idx + 1..].iter().chain(&blocked).map(|check| {
                let mut outcome = Outcome::of(check, named(entry), self.run.seed);
                outcome.skipped = Some(Skipped::Blocked);
                outcome.message = format!("{} failed", gate.id);
                outcome
            }));
            return Ok(false);
        }
        outcomes.extend(self.side_by_side(entry, &rest)?);
        Ok(true)
    }

    /// Some checks at a time; their outcomes in the order of the checks.
    fn side_by_side(&self, entry: Option<&Entry>, checks: &[Check]) -> Result<Vec<Outcome>, RunError> {
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.run.jobs.clamp(1, checks.len().max(1)) {
                scope.spawn(|| {
                    while let Some((idx, check)) = {
                        let idx = next.fetch_add(1, Ordering::Relaxed);
                        checks.get(idx).map(|check| (idx, check))
                    } {
                        let outcome = self.one(entry, check);
                        if let Ok(outcome) = &outcome {
                            (self.told)(outcome);
                        }
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((idx, outcome));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(idx, _)| *idx);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// One check, in a process of its own.
    fn one(&self, entry: Option<&Entry>, check: &Check) -> Result<Outcome, RunError> {
        let mut outcome = Outcome::of(check, named(entry), self.run.seed);
        let expected = self.expectations.find(check.id, entry.map(|(_, name)| name.as_str()));
        if let Some(expected) = expected.filter(|expected| expected.action == Action::Skip) {
            outcome.skipped = Some(Skipped::Excluded);
            outcome.message = expected.reason.clone();
            return Ok(outcome);
        }
        let dir = tempfile::tempdir()?;
        let request = Request {
            folder: self.folder.to_owned(),
            entry: entry.cloned(),
            check: check.id.to_owned(),
            seed: self.run.seed,
            results: dir.path().join("results.jsonl"),
        };
        let start = Instant::now();
        let ended = self.child(&request, dir.path())?;
        outcome.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcome.stderr = tail(&dir.path().join("stderr"));
        let (doing, told) = work::read(&request.results);
        outcome.doing = doing;
        judge(&mut outcome, &ended, told);
        if let Some(expected) = expected {
            outcome.status = match outcome.status {
                Status::Pass => Status::Xpass,
                Status::Fail | Status::Crash | Status::Timeout => Status::Xfail,
                other => other,
            };
            outcome.message = format!("{} (expected: {})", outcome.message, expected.reason);
        }
        if check.is_advisory && outcome.status.is_failure() {
            outcome.status = Status::Warn;
        }
        Ok(outcome)
    }

    fn child(&self, request: &Request, dir: &Path) -> io::Result<Ended> {
        let home = dir.join("home");
        std::fs::create_dir(&home)?;
        let mut command = work::command(&self.run.program, request);
        command.current_dir(&home).env("HOME", &home).env("TMPDIR", &home);
        // Children of a run share what they compile, and nothing else.
        command.env("XDG_CACHE_HOME", self.code.path()).env("XDG_CONFIG_HOME", self.code.path());
        command.stdout(Stdio::null()).stderr(File::create(dir.join("stderr"))?);
        command.process_group(0);
        let mut child = command.spawn()?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let ended = wait(&mut child, self.run.time, group);
        // Whatever the plugin started goes with it.
        signal(group, Signal::KILL);
        ended
    }
}

fn named(entry: Option<&Entry>) -> Option<(String, String)> {
    entry.map(|(kind, name)| (kind.to_string(), name.clone()))
}

/// How a child ended.
#[derive(Debug)]
enum Ended {
    Itself(ExitStatus),
    TooLate(Duration),
    TooLarge(u64),
}

/// Waits for a child to end by itself, or ends it.
fn wait(child: &mut Child, limit: Duration, group: Option<Pid>) -> io::Result<Ended> {
    let start = Instant::now();
    let why = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Itself(status));
        }
        if start.elapsed() > limit {
            break Ended::TooLate(limit);
        }
        let held = resident(child.id());
        if held > MEMORY {
            break Ended::TooLarge(held);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    signal(group, Signal::TERM);
    let asked = Instant::now();
    while child.try_wait()?.is_none() {
        if asked.elapsed() > GRACE {
            signal(group, Signal::KILL);
            child.wait()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(why)
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A group that is gone needs no signal.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// Resident memory of a process, bytes; 0 if it is gone.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = status.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

fn tail(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(STDERR)..]).trim().to_owned()
}

fn judge(outcome: &mut Outcome, ended: &Ended, told: Option<Told>) {
    let (status, message) = match (ended, told) {
        (Ended::TooLate(limit), _) => (Status::Timeout, format!("it did not end within {} s", limit.as_secs())),
        (Ended::TooLarge(bytes), _) => (Status::Timeout, format!("its process held {} MiB of memory", bytes >> 20)),
        (Ended::Itself(_), Some(Told::Pass)) => (Status::Pass, String::new()),
        (Ended::Itself(_), Some(Told::Fail { message })) => (Status::Fail, message),
        (Ended::Itself(_), Some(Told::NotDeclared { message })) => {
            outcome.skipped = Some(Skipped::NotDeclared);
            (Status::Skip, message)
        }
        (Ended::Itself(_), Some(Told::Harness { message })) => (Status::HarnessError, message),
        (Ended::Itself(_), Some(Told::Transcript { .. })) => {
            (Status::HarnessError, "a transcript, not asked for".to_owned())
        }
        (Ended::Itself(status), None) => (Status::Crash, died(*status)),
    };
    (outcome.status, outcome.message) = (status, message);
}

fn died(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = [(4, "SIGILL"), (6, "SIGABRT"), (7, "SIGBUS"), (8, "SIGFPE"), (9, "SIGKILL"), (11, "SIGSEGV")]
                .into_iter()
                .find(|(number, _)| *number == signal);
            format!("its process died of {}", name.map_or(format!("signal {signal}"), |(_, name)| name.to_owned()))
        }
        (None, Some(code)) => format!("its process ended with exit code {code} and without a result"),
        (None, None) => "its process ended without a result".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn ended(script: &str, limit: Duration) -> (Ended, Duration) {
        let mut child = Command::new("sh").args(["-c", script]).process_group(0).spawn().unwrap();
        let group = Pid::from_raw(child.id() as i32);
        let start = Instant::now();
        let ended = wait(&mut child, limit, group).unwrap();
        signal(group, Signal::KILL);
        (ended, start.elapsed())
    }

    #[test]
    fn children_that_do_not_end_are_killed_with_all_they_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("trap '' TERM; sleep 1000 & echo $! > {}; wait; wait; sleep 1000", pid.display());
        let (how, took) = ended(&script, Duration::from_millis(300));
        assert!(matches!(how, Ended::TooLate(_)) && took < Duration::from_secs(20), "{how:?} {took:?}");
        let grandchild = std::fs::read_to_string(pid).unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim())).unwrap_or_default();
        let gone = |_: &i32| {
            std::thread::sleep(Duration::from_millis(20));
            let state = state();
            state.is_empty() || state.contains(") Z ")
        };
        assert!((0..200).any(|i| gone(&i)), "{grandchild} lives: {}", state());
    }

    #[test]
    fn a_childs_end_is_named() {
        let seconds = Duration::from_secs(20);
        let named = |script| match ended(script, seconds).0 {
            Ended::Itself(status) => died(status),
            other => panic!("{other:?}"),
        };
        assert_eq!(named("kill -SEGV $$"), "its process died of SIGSEGV");
        assert_eq!(named("exit 0"), "its process ended with exit code 0 and without a result");
    }
}
