//! Output for people: what failed, with what was wanted and found, and how to see it again.

use std::fmt::Write;

use crate::SUITE;
use crate::check::Level;
use crate::result::{Outcome, PluginResult, Status, Verdict};

/// What is said of a plugin. All checks are listed with `all`, otherwise those that are not met.
pub fn human(result: &PluginResult, all: bool) -> String {
    let mut text = String::new();
    let shown = |outcome: &&Outcome| all || !matches!(outcome.status, Status::Pass | Status::Skip);
    for outcome in result.outcomes.iter().filter(shown) {
        let entry = outcome.entry.as_ref().map_or_else(|| result.id.clone(), |entry| format!("{}/{entry}", result.id));
        let status = word(outcome.status);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{status:<8} {} {} {entry}", outcome.id, outcome.name);
        if matches!(outcome.status, Status::Pass) {
            continue;
        }
        if outcome.status == Status::Skip {
            let _ = writeln!(text, "         {}", outcome.message);
            continue;
        }
        let _ = writeln!(text, "         wanted: {}", outcome.demands);
        for line in outcome.message.lines() {
            let _ = writeln!(text, "         found:  {line}");
        }
        if let Some(doing) = outcome.doing.as_ref().filter(|_| outcome.status != Status::Fail) {
            let _ = writeln!(text, "         at:     {doing}");
        }
        for line in outcome.stderr.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev() {
            let _ = writeln!(text, "         stderr: {line}");
        }
        let folder = result.folder.display();
        let _ = writeln!(
            text,
            "         again:  anneal plugin check {folder} --only {} --seed {}",
            outcome.id, outcome.seed
        );
    }
    for verdict in result.verdicts() {
        let _ = writeln!(text, "{}", verdict_line(result, &verdict));
    }
    text
}

/// The line that says what an entry has reached.
pub fn verdict_line(result: &PluginResult, verdict: &Verdict) -> String {
    let level = verdict.level.map_or_else(|| "cannot be loaded".to_owned(), |level: Level| level.to_string());
    let warnings = match verdict.warnings {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        count => format!(", {count} warnings"),
    };
    let some = if result.is_whole { "" } else { ", only some checks made" };
    format!(
        "{}: {} {level} ({}/{} required{warnings}{some}) suite {SUITE} anneal {} sha256 {}",
        if verdict.entry.is_empty() { result.folder.display().to_string() } else { verdict.entry.clone() },
        verdict.kind,
        verdict.met,
        verdict.required,
        env!("CARGO_PKG_VERSION"),
        result.sha256.get(..12).unwrap_or("unknown"),
    )
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "FAIL",
        Status::Crash => "CRASH",
        Status::Timeout => "TIMEOUT",
        Status::Warn => "warn",
        Status::Skip => "skip",
        Status::Xfail => "xfail",
        Status::Xpass => "XPASS",
        Status::HarnessError => "HARNESS",
    }
}
