//! Wherever a run is stopped, and however it is made, what comes of it is the same to the last bit.

use std::path::Path;

use super::native_weighting::weightings_in_c;
use super::run::{checkpoint_file, train};

const STEPS: u64 = 6;
const FILES: [&str; 3] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"];

/// Kinds of run, by what could be forgotten in a restart.
const VARIANTS: &[(&str, &[&str])] = &[
    ("plain", &[]),
    ("accumulating", &["train.accumulate_batches=3", "data.batch_size=1"]),
    ("bf16", &["run.precision=bf16"]),
    ("adapters", &["model.lora={rank=2}", "ema={decay=0.9}"]),
    (
        "trainable embedder",
        &[
            "model.embedders.4={plugin=\"class\",input_key=\"animation\",n_classes=3,dim=64,is_trainable=true,ucg_rate=0.5}",
        ],
    ),
    ("learned weighting", &["loss.weighting={plugin=\"uncertainty\",channels=8}"]),
    (
        "steps left out",
        &[
            "loss.weighting={plugin=\"test.weightings/no-number-at-large-sigmas\"}",
            "train.guards.non_finite=\"skip\"",
            "data.batch_size=1",
            "run.seed=3",
        ],
    ),
    (
        "small moments",
        &["optimizer={kind=\"adamw\",learning_rate=0.001,moments=\"int8\"}", "model.network.dropout=0.1"],
    ),
];

/// The state of a run after its last step.
fn state(dir: &Path) -> Vec<Vec<u8>> {
    FILES.iter().map(|file| checkpoint_file(dir, STEPS, file)).collect()
}

#[test]
fn a_run_that_is_stopped_after_any_step_or_several_times_is_the_unbroken_run() {
    let folder = tempfile::tempdir().unwrap();
    weightings_in_c(folder.path());
    let plugins = folder.path().display().to_string();
    for (name, sets) in VARIANTS {
        let train_to = |dir: &Path, steps: u64, resume: bool| {
            let steps = format!("train.steps={steps}");
            let sets: Vec<&str> = sets.iter().copied().chain([steps.as_str()]).collect();
            let flags = ["--plugin-dir", &plugins, "--resume"];
            train(dir, &sets, &flags[..if resume { 3 } else { 2 }]).succeeds();
        };
        let straight = folder.path().join(format!("{name}-straight"));
        train_to(&straight, STEPS, false);
        let wanted = state(&straight);
        // After each step once, and after three steps of one run; of the variants, at the ends and in the middle.
        let alone = (1..STEPS).filter(|at| *name == "plain" || [1, 3, 5].contains(at));
        let stops: Vec<Vec<u64>> = alone.map(|at| vec![at]).chain([vec![1, 2, 4]]).collect();
        for stops in stops {
            let dir = folder.path().join(format!("{name}-{stops:?}"));
            for (i, at) in stops.iter().chain([&STEPS]).enumerate() {
                train_to(&dir, *at, i > 0);
            }
            let got = state(&dir);
            for ((file, wanted), got) in FILES.iter().zip(&wanted).zip(&got) {
                assert!(wanted == got, "{name}: {file} differs after stops at {stops:?}");
            }
            std::fs::remove_dir_all(dir).unwrap();
        }
    }
}

/// What the environment holds is nobody's who reads a run's folder.
#[test]
fn nothing_of_the_environment_is_written_into_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let args = super::run::train_args(&dir, &["train.steps=2", "logging.preview_every_steps=1"], &[]);
    let mut run = super::run::command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let secret = "open-sesame-8c1f";
    let names = ["API_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "HF_TOKEN", "USER", "HOSTNAME"];
    super::run::Ran::from(run.envs(names.map(|name| (name, secret))).output().unwrap()).succeeds();
    let (mut open, mut files) = (vec![dir], 0);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds a value of the environment", path.display());
    }
    assert!(files > 6, "{files}");
}

/// The draws of a run do not depend on how its batches are cut: a global batch of six scenes, whole or in parts.
#[test]
fn a_step_is_the_same_however_its_batch_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let losses = |name: &str, batch_size: u32, batches: u32| -> Vec<f64> {
        let dir = folder.path().join(name);
        let sets = [
            format!("data.batch_size={batch_size}"),
            format!("train.accumulate_batches={batches}"),
            "train.steps=3".to_owned(),
        ];
        train(&dir, &sets.iter().map(String::as_str).collect::<Vec<_>>(), &[]).succeeds();
        super::run::metrics(&dir).iter().map(|line| line["loss"].as_f64().unwrap()).collect()
    };
    let whole = losses("whole", 6, 1);
    for (name, batch_size, batches) in [("two", 3, 2), ("three", 2, 3), ("six", 1, 6)] {
        for (whole, parts) in whole.iter().zip(losses(name, batch_size, batches)) {
            assert!((whole - parts).abs() <= 1e-6 * whole.abs(), "{name}: {whole} {parts}");
        }
    }
}
