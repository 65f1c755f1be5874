//! Ctrl-C and SIGTERM finish the step, save, and end with 130 and 143; SIGUSR1 saves and goes on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::{command, metrics, train, train_args};

/// A run without an end, once it has made some steps.
pub fn running(dir: &Path, sets: &[&str], flags: &[&str]) -> Child {
    let args = train_args(dir, &[&["train.steps=100000"], sets].concat(), flags);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let lines = || std::fs::read_to_string(dir.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    until(&mut child, "a step", || lines() >= 3);
    child
}

/// Waits for something that a running run does.
pub fn until(child: &mut Child, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} did not come");
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap().success());
}

fn stopped_by(name: &str, code: i32) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = running(dir.path(), &[], &[]);
    signal(&child, name);
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

/// The names of what is in the folder of checkpoints.
fn checkpoints(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("checkpoints")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn sigusr1_saves_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = running(dir.path(), &[], &[]);
    for count in 1..3 {
        signal(&child, "USR1");
        until(&mut child, "a checkpoint", || {
            checkpoints(dir.path()).iter().filter(|name| name.starts_with("step-")).count() >= count
        });
    }
    let before = metrics(dir.path()).len();
    until(&mut child, "another step", || {
        std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap().lines().count() > before + 1
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A run of which a step takes minutes, as a signal finds it.
const LONG_STEP: &str = "train.accumulate_batches=60000";

/// A run in the middle of a step that takes minutes.
fn in_a_long_step(dir: &Path, flags: &[&str]) -> Child {
    let args = train_args(dir, &["train.steps=2", LONG_STEP], flags);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(&mut child, "the start of training", || dir.join("metrics.jsonl").exists());
    child
}

#[test]
fn a_second_signal_ends_a_run_at_once_without_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = in_a_long_step(dir.path(), &[]);
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "one signal ends the run only after the step");
    // Whichever comes second.
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(checkpoints(dir.path()).is_empty());
}

#[test]
fn a_run_that_does_not_stop_within_its_grace_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = in_a_long_step(dir.path(), &["--grace", "1"]);
    signal(&child, "TERM");
    let start = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(60), "{took:?}");
    assert!(checkpoints(dir.path()).is_empty());
}

#[test]
fn a_run_whose_worker_hangs_saves_and_stops_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (run, clips) = (dir.path().join("run"), dir.path().join("clips"));
    std::fs::create_dir_all(clips.join("walk")).unwrap();
    for i in 0..4 {
        image::RgbImage::new(16, 16).save(clips.join(format!("walk/{i:03}.png"))).unwrap();
    }
    let source = format!("data.source={{kind=\"frames-dir\",path=\"{}\",size=[16,16],num_frames=4}}", clips.display());
    let token = "{plugin=\"open-clip-image-prediction\",input_key=\"cond_image\",n_copies=4,is_trainable=true,\
                 vision={embed_dim=64,width=16,layers=1,head_width=8,patch_size=32}}";
    let embedders = format!(
        "model.embedders=[{{plugin=\"frames-concat\",input_key=\"cond_image\",n_copies=4}},\
         {{plugin=\"scalar\",input_key=\"fps_id\",dim=192}},{token}]"
    );
    let sets = [source, embedders, "model.network.in_channels=6".to_owned()];
    let mut child = running(&run, &sets.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    // Opening a pipe that nobody writes to takes for ever, as a network's disk may.
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, clips.join("walk/002.png")).unwrap();
    let steps = || metrics(&run).len();
    let (mut before, mut since) = (steps(), Instant::now());
    until(&mut child, "the end of steps", || {
        if steps() > before {
            (before, since) = (steps(), Instant::now());
        }
        since.elapsed() > Duration::from_secs(3)
    });
    signal(&child, "TERM");
    let start = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(120), "its grace is ten minutes");
    assert!(run.join(format!("checkpoints/step-{before:08}/manifest.json")).exists());
}
