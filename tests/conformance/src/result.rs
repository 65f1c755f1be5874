//! What came of the checks, and whether that is enough.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::check::{Check, Level};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The demand is met.
    Pass,
    /// It is not.
    Fail,
    /// The process of the check died.
    Crash,
    /// The process of the check did not end in time, or took too much memory, and was killed.
    Timeout,
    /// An advisory check that is not met.
    Warn,
    /// Not made: the plugin does not claim to have it, an expectation excludes it, or a gate before it failed.
    Skip,
    /// Not met, as expected.
    Xfail,
    /// Met, though it was expected not to be.
    Xpass,
    /// The check itself broke.
    HarnessError,
}

impl Status {
    /// Whether a plugin is to blame.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Fail | Self::Crash | Self::Timeout | Self::Xpass)
    }
}

/// Why a check was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skipped {
    /// The plugin does not claim to have it. Counts as met.
    NotDeclared,
    /// The expectations exclude it. The level is not reached.
    Excluded,
    /// A gate before it failed.
    Blocked,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The check.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it demands.
    pub demands: &'static str,
    /// The level it is needed for.
    pub level: Level,
    /// Whether it only warns.
    pub is_advisory: bool,
    /// The entry; none for checks of a plugin as a whole.
    pub entry: Option<String>,
    /// The entry's kind.
    pub kind: Option<String>,
    /// How it ended.
    pub status: Status,
    /// Why it was skipped.
    pub skipped: Option<Skipped>,
    /// What was found.
    pub message: String,
    /// What was being done at the end.
    pub doing: Option<String>,
    /// The end of what the child wrote to its standard error.
    pub stderr: String,
    /// Time it took, ms.
    pub duration_ms: u64,
    /// The seed of everything drawn.
    pub seed: u64,
}

impl Outcome {
    /// An outcome of `check` that is not known yet.
    pub fn of(check: &Check, entry: Option<(String, String)>, seed: u64) -> Self {
        let (kind, entry) = entry.unzip();
        Self {
            id: check.id,
            name: check.name,
            demands: check.demands,
            level: check.level,
            is_advisory: check.is_advisory,
            entry,
            kind,
            status: Status::Skip,
            skipped: None,
            message: String::new(),
            doing: None,
            stderr: String::new(),
            duration_ms: 0,
            seed,
        }
    }

    /// Whether a level that needs the check is out of reach.
    fn hinders(&self) -> bool {
        if self.is_advisory {
            return false;
        }
        match self.status {
            Status::Pass | Status::Warn => false,
            Status::Skip => self.skipped != Some(Skipped::NotDeclared),
            _ => true,
        }
    }
}

/// What an entry, or a plugin without entries that are checked, has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `vendor.name/entry`.
    pub entry: String,
    /// Its kind.
    pub kind: String,
    /// The highest level that nothing hinders; none if it cannot be loaded.
    pub level: Option<Level>,
    /// Required checks that are met, those of what is not declared included.
    pub met: usize,
    /// Required checks.
    pub required: usize,
    /// Advisory checks that are not met.
    pub warnings: usize,
}

/// All that was found out about a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PluginResult {
    /// Its folder.
    pub folder: PathBuf,
    /// Its id; empty if its manifest cannot be read.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of manifest, artifacts and schemas.
    pub sha256: String,
    /// The highest level whose checks were made: what is above it is not known.
    pub up_to: Level,
    /// Whether all checks up to it were made, not some that were named.
    pub is_whole: bool,
    /// The results.
    pub outcomes: Vec<Outcome>,
}

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];

impl PluginResult {
    /// What each entry has reached: checks of the plugin as a whole count for all of them.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut entries: BTreeMap<(String, String), ()> = BTreeMap::new();
        for outcome in &self.outcomes {
            if let (Some(entry), Some(kind)) = (&outcome.entry, &outcome.kind) {
                entries.insert((entry.clone(), kind.clone()), ());
            }
        }
        if entries.is_empty() {
            entries.insert((String::new(), String::new()), ());
        }
        entries.into_keys().map(|(entry, kind)| self.verdict(entry, kind)).collect()
    }

    fn verdict(&self, entry: String, kind: String) -> Verdict {
        let own = |outcome: &&Outcome| {
            outcome.entry.is_none()
                || (outcome.entry.as_deref() == Some(entry.as_str()) && outcome.kind.as_deref() == Some(kind.as_str()))
        };
        let outcomes: Vec<&Outcome> = self.outcomes.iter().filter(own).collect();
        let hindered = outcomes.iter().filter(|outcome| outcome.hinders()).map(|outcome| outcome.level).min();
        let level = match hindered {
            None => Some(self.up_to),
            Some(hindered) => LEVELS.into_iter().rev().find(|level| *level < hindered),
        };
        let required: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_advisory).collect();
        Verdict {
            entry: if entry.is_empty() { self.id.clone() } else { format!("{}/{entry}", self.id) },
            kind,
            level,
            met: required.iter().filter(|outcome| !outcome.hinders()).count(),
            required: required.len(),
            warnings: outcomes.iter().filter(|outcome| outcome.status == Status::Warn).count(),
        }
    }
}

/// The exit code of a run: 0 all reach the level, 1 some do not, 3 a plugin cannot be loaded and nothing else of it was
/// checked, 4 a process crashed or had to be killed, 5 nothing was checked, 70 a check itself broke. The most telling wins.
pub fn exit_code(results: &[PluginResult], level: Level) -> u8 {
    let outcomes = || results.iter().flat_map(|result| &result.outcomes);
    let has = |wanted: &[Status]| outcomes().any(|outcome| wanted.contains(&outcome.status));
    if has(&[Status::HarnessError]) {
        return 70;
    }
    if outcomes().next().is_none() {
        return 5;
    }
    let verdicts: Vec<Verdict> = results.iter().flat_map(PluginResult::verdicts).collect();
    if verdicts.iter().any(|verdict| verdict.level.is_none()) {
        return 3;
    }
    if outcomes().any(|outcome| !outcome.is_advisory && matches!(outcome.status, Status::Crash | Status::Timeout)) {
        return 4;
    }
    let reached = |verdict: &Verdict| verdict.level.is_some_and(|got| got >= level);
    if verdicts.iter().all(reached) && !has(&[Status::Xpass]) { 0 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn result(changes: &[(&str, Status, Option<Skipped>)]) -> PluginResult {
        let ids = ["P01", "W01", "W06", "X01", "X05", "X07", "X08"];
        let outcome = |id: &&str| {
            let check = catalogue().into_iter().find(|check| check.id == *id).unwrap();
            let entry = (!id.starts_with('P')).then(|| ("weighting".to_owned(), "w".to_owned()));
            let mut outcome = Outcome::of(&check, entry, 0);
            outcome.status = Status::Pass;
            if let Some((_, status, skipped)) = changes.iter().find(|(changed, ..)| changed == id) {
                (outcome.status, outcome.skipped) = (*status, *skipped);
            }
            outcome
        };
        let outcomes = ids.iter().map(outcome).collect();
        PluginResult {
            folder: PathBuf::new(),
            id: "a.b".to_owned(),
            version: String::new(),
            sha256: String::new(),
            up_to: Level::L3,
            is_whole: true,
            outcomes,
        }
    }

    fn level_and_code(changes: &[(&str, Status, Option<Skipped>)]) -> (Option<Level>, u8) {
        let result = result(changes);
        (result.verdicts()[0].level, exit_code(&[result], Level::L3))
    }

    #[test]
    fn a_level_is_reached_when_nothing_up_to_it_fails() {
        assert_eq!(level_and_code(&[]), (Some(Level::L3), 0));
        assert_eq!(level_and_code(&[("X07", Status::Fail, None)]), (Some(Level::L2), 1));
        assert_eq!(level_and_code(&[("X05", Status::Fail, None)]), (Some(Level::L1), 1));
        assert_eq!(level_and_code(&[("X01", Status::Crash, None)]), (Some(Level::L0), 4));
        assert_eq!(level_and_code(&[("W01", Status::Fail, None)]), (None, 3));
        assert_eq!(level_and_code(&[("X08", Status::Warn, None)]), (Some(Level::L3), 0));
        assert_eq!(level_and_code(&[("X01", Status::HarnessError, None)]).1, 70);
        assert_eq!(exit_code(&[], Level::L0), 5);
    }

    #[test]
    fn a_level_that_was_not_looked_at_is_not_reached() {
        let result = PluginResult { up_to: Level::L1, ..result(&[]) };
        assert_eq!(result.verdicts()[0].level, Some(Level::L1));
        assert_eq!(exit_code(std::slice::from_ref(&result), Level::L1), 0);
        assert_eq!(exit_code(&[result], Level::L2), 1);
    }

    #[test]
    fn only_what_is_not_declared_may_be_skipped() {
        let skip = |why| level_and_code(&[("X07", Status::Skip, Some(why))]).0;
        assert_eq!(skip(Skipped::NotDeclared), Some(Level::L3));
        assert_eq!(skip(Skipped::Excluded), Some(Level::L2));
        assert_eq!(skip(Skipped::Blocked), Some(Level::L2));
    }

    #[test]
    fn an_unexpected_pass_is_red() {
        assert_eq!(level_and_code(&[("X07", Status::Xfail, None)]), (Some(Level::L2), 1));
        assert_eq!(level_and_code(&[("X07", Status::Xpass, None)]).1, 1);
    }
}
