//! Ctrl-C and SIGTERM finish the step, save, and end with 130 and 143.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::{command, metrics, train, train_args};

fn stopped_by(signal: &str, code: i32) {
    let dir = tempfile::tempdir().unwrap();
    let args = train_args(dir.path(), &["train.steps=100000"], &[]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let lines = || std::fs::read_to_string(dir.path().join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    while lines() < 3 {
        assert!(start.elapsed() < Duration::from_secs(120), "no step was made");
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(code));

    // What was done is saved, and the run goes on from there.
    let done = metrics(dir.path()).last().unwrap()["step"].as_u64().unwrap();
    assert!(dir.path().join(format!("checkpoints/step-{done:08}/manifest.json")).exists());
    let steps = format!("train.steps={}", done + 1);
    let resumed = train(dir.path(), &[&steps], &["--resume"]).succeeds();
    assert!(resumed.out.contains(&format!("at step {done}")), "{}", resumed.out);
}

#[test]
fn ctrl_c_saves_and_ends_with_130() {
    stopped_by("INT", 130);
}

#[test]
fn sigterm_saves_and_ends_with_143() {
    stopped_by("TERM", 143);
}
