//! Event files beside the metrics: the same steps and numbers, each once, whatever happened to the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anneal::logging::tensorboard::{EventFiles, Value, What};

use super::run::{metrics, train};
use super::signals::{running, until};

/// What is in the event files of a run, by step and name.
pub fn events(run: &Path) -> BTreeMap<(u64, String), Value> {
    let mut found = BTreeMap::new();
    for event in EventFiles::read(&run.join("tensorboard")).unwrap() {
        let Some(What::Summary(summary)) = event.what else { continue };
        for value in summary.value {
            let key = (event.step as u64, value.tag);
            assert!(found.insert(key.clone(), value.value.unwrap()).is_none(), "{key:?} is there twice");
        }
    }
    found
}

/// What should be there: the numbers of both files of metrics, and the pictures of the previews.
fn wanted(run: &Path) -> BTreeMap<(u64, String), Value> {
    let mut wanted = BTreeMap::new();
    for (prefix, file) in [("train", "metrics.jsonl"), ("validation", "validation.jsonl")] {
        for line in fs::read_to_string(run.join(file)).unwrap().lines() {
            let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            let step = line["step"].as_u64().unwrap();
            for (key, number) in line.iter().filter(|(key, _)| *key != "step") {
                let number = Value::SimpleValue(number.as_f64().unwrap() as f32);
                assert!(
                    wanted.insert((step, format!("{prefix}/{key}")), number).is_none(),
                    "{file}: step {step} twice"
                );
            }
        }
    }
    for preview in fs::read_dir(run.join("previews")).unwrap() {
        let preview = preview.unwrap();
        let step = preview.file_name().to_str().unwrap().strip_prefix("step-").unwrap().parse().unwrap();
        for name in ["sheet.png", "clip.gif"] {
            let bytes = fs::read(preview.path().join(name)).unwrap();
            let (width, height) = image::load_from_memory(&bytes).map(|image| (image.width(), image.height())).unwrap();
            let image = anneal::logging::tensorboard::Image {
                height: height as i32,
                width: width as i32,
                colorspace: 3,
                encoded_image_string: bytes,
            };
            let tag = format!("preview/{}", name.split('.').next().unwrap());
            wanted.insert((step, tag), Value::Image(image));
        }
    }
    wanted
}

#[track_caller]
fn are_the_metrics(run: &Path) {
    let (found, wanted) = (events(run), wanted(run));
    let keys = |values: &BTreeMap<(u64, String), Value>| values.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&found), keys(&wanted));
    for (key, value) in &wanted {
        assert!(found[key] == *value, "{key:?} differs");
    }
}

fn files(run: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(run.join("tensorboard")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_run_that_is_killed_and_goes_on_has_every_number_and_picture_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let sets = [
        "train.checkpoint_every_steps=4",
        "validation.every_steps=3",
        "validation.scenes=1",
        "validation.mean_scenes=1",
        "validation.sigmas=[0.3]",
        "logging.preview_every_steps=3",
    ];
    let mut child = running(run, &sets, &[]);
    // Past a checkpoint, and in the middle of what comes until the next.
    let lines = || fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count();
    until(&mut child, "a step after a checkpoint", || {
        run.join("checkpoints/step-00000004").exists() && lines() % 4 == 3
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let before = *events(run).keys().map(|(step, _)| step).max().unwrap();
    // Half a record, as a machine that loses its power may leave it.
    let last = files(run).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, [&bytes[..], &bytes[..30]].concat()).unwrap();

    let end = format!("train.steps={}", before + 3);
    let resumed = train(run, &[&sets[..], &[&end]].concat(), &["--resume"]).succeeds();
    let from: u64 = resumed.out.split("at step ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).unwrap();
    assert!((4..before + 3).contains(&from), "{}", resumed.out);
    let steps: Vec<u64> = metrics(run).iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=before + 3).collect::<Vec<_>>());
    are_the_metrics(run);
    assert_eq!(files(run).len(), 2, "what follows a stop is a file of its own");
    // A run that is at its end writes nothing.
    train(run, &[&sets[..], &[&end]].concat(), &["--resume"]).succeeds();
    assert_eq!(files(run).len(), 2);
}

#[test]
fn event_files_may_be_left_out_and_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let without = ["train.steps=2", "logging.tensorboard=false"];
    train(dir.path(), &without, &[]).succeeds();
    assert!(!dir.path().join("tensorboard").exists());
    assert_eq!(metrics(dir.path()).len(), 2);
    let resumed = train(dir.path(), &["train.steps=4"], &["--resume"]).succeeds();
    assert!(resumed.err.contains("logging.tensorboard: false in the checkpoint, true now"), "{}", resumed.err);
    let mut steps: Vec<u64> = events(dir.path()).into_keys().map(|(step, _)| step).collect();
    steps.dedup();
    assert_eq!(steps, [3, 4]);
}
