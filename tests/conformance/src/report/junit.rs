//! Output for continuous integration.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::result::{Outcome, PluginResult, Status};

/// All results as JUnit's XML: a suite an entry, a case a check.
///
/// # Errors
/// When a text cannot be written as XML.
pub fn junit(results: &[PluginResult]) -> Result<String, String> {
    let mut report = Report::new("anneal plugin check");
    for result in results {
        let mut suites: Vec<(Option<&str>, TestSuite)> = Vec::new();
        for outcome in &result.outcomes {
            let entry = outcome.entry.as_deref();
            let idx = suites.iter().position(|(of, _)| *of == entry).unwrap_or_else(|| {
                let name = entry.map_or_else(|| result.id.clone(), |entry| format!("{}/{entry}", result.id));
                suites.push((entry, TestSuite::new(name)));
                suites.len() - 1
            });
            suites[idx].1.add_test_case(case(outcome));
        }
        report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    }
    report.to_string().map_err(|error| error.to_string())
}

fn case(outcome: &Outcome) -> TestCase {
    let failed = |kind: NonSuccessKind, what: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(what).set_message(outcome.message.as_str()).set_description(outcome.demands);
        status
    };
    let status = match outcome.status {
        Status::Pass | Status::Warn | Status::Xfail => TestCaseStatus::success(),
        Status::Skip => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(outcome.message.as_str());
            status
        }
        Status::Fail => failed(NonSuccessKind::Failure, "fail"),
        Status::Crash => failed(NonSuccessKind::Failure, "crash"),
        Status::Timeout => failed(NonSuccessKind::Failure, "timeout"),
        Status::Xpass => failed(NonSuccessKind::Failure, "xpass"),
        Status::HarnessError => failed(NonSuccessKind::Error, "harness-error"),
    };
    let mut case = TestCase::new(format!("{} {}", outcome.id, outcome.name), status);
    let kind = outcome.kind.as_deref().unwrap_or("plugin");
    case.set_classname(format!("anneal.{kind}.{}", outcome.level));
    case.set_time(Duration::from_millis(outcome.duration_ms));
    if !outcome.stderr.is_empty() {
        case.set_system_err(outcome.stderr.as_str());
    }
    case
}
