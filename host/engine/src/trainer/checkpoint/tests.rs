//! Saving, damage, and what is kept.

use std::collections::BTreeMap;
use std::fs;

use super::dir::Best;
use super::*;
use tch::Tensor;

const FILES: [&str; 5] =
    ["progress.json", "config.toml", "model.safetensors", "ema.safetensors", "optimizer.safetensors"];

pub(super) fn snapshot(step: u64) -> Snapshot {
    let tensor = |name: &str| vec![(name.to_owned(), Tensor::from_slice(&[step as f32, 2.0]))];
    Snapshot {
        position: Position { step, batches: 2 * step, samples_seen: 8 * step, ema_updates: step, skipped: 0 },
        seed: 1,
        config: "a = 1\n".to_owned(),
        plugins: vec!["anneal.samplers 0.1.0 ab".to_owned()],
        model: tensor("model.diffusion_model.w"),
        ema: Vec::new(),
        optimizer: tensor("exp_avg"),
        losses: vec![0.1, 1.0 / 3.0],
        lineage: Lineage::default(),
    }
}

#[test]
fn a_saved_checkpoint_is_loaded_and_old_ones_are_pruned() {
    let run = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointDir::of_run(run.path());
    assert!(matches!(checkpoints.latest(), Err(CheckpointError::None { .. })));
    for step in [10, 20, 30] {
        checkpoints.save(&snapshot(step), &Kept { last: Some(2), ..Kept::default() }).unwrap();
    }
    let steps: Vec<u64> = checkpoints.list().unwrap().iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [20, 30]);
    let loaded = load(&checkpoints.latest().unwrap()).unwrap();
    assert_eq!((loaded.position, &loaded.losses), (snapshot(30).position, &snapshot(30).losses));
    assert!(loaded.model[0].1.equal(&snapshot(30).model[0].1) && loaded.ema.is_empty());
}

#[test]
fn every_flipped_or_missing_byte_is_noticed() {
    let run = tempfile::tempdir().unwrap();
    let checkpoint = CheckpointDir::of_run(run.path()).save(&snapshot(5), &Kept::default()).unwrap();
    for name in FILES {
        let path = checkpoint.join(name);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        for bad in [&flipped[..], &good[..last]] {
            fs::write(&path, bad).unwrap();
            let error = load(&checkpoint).unwrap_err();
            assert!(matches!(error, CheckpointError::Damaged { .. }) && error.to_string().contains(name), "{error}");
        }
        fs::write(&path, good).unwrap();
    }
    assert!(load(&checkpoint).is_ok());
}

#[test]
fn what_an_interrupted_save_left_is_never_loaded_and_is_removed() {
    let run = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointDir::of_run(run.path());
    let left = checkpoints.path().join(".partial-step-00000009-1");
    fs::create_dir_all(&left).unwrap();
    assert!(checkpoints.list().unwrap().is_empty());
    checkpoints.save(&snapshot(10), &Kept::default()).unwrap();
    assert!(!left.exists());
}

#[test]
fn a_damaged_tensor_is_named_and_an_older_checkpoint_serves() {
    let run = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointDir::of_run(run.path());
    for step in [10, 20, 30] {
        checkpoints.save(&snapshot(step), &Kept::default()).unwrap();
    }
    let whole =
        |dir: &CheckpointDir| dir.newest_whole().map(|(_, snapshot, damaged)| (snapshot.position.step, damaged));
    assert_eq!(whole(&checkpoints).unwrap().0, 30);
    for step in [30, 20] {
        let path = checkpoints.path().join(format!("step-{step:08}/model.safetensors"));
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let (step, damaged) = whole(&checkpoints).unwrap();
    assert_eq!((step, damaged.len()), (10, 2));
    assert!(damaged[0].to_string().contains("step-00000030/model.safetensors: damaged: model.diffusion_model.w"));
    fs::remove_file(checkpoints.path().join("step-00000010/config.toml")).unwrap();
    let error = whole(&checkpoints).unwrap_err();
    assert!(error.to_string().contains("step-00000030"), "{error}");
}

#[test]
fn what_is_saved_again_replaces_what_was_there_in_one_move() {
    let run = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointDir::of_run(run.path());
    checkpoints.save(&snapshot(10), &Kept::default()).unwrap();
    let again = Snapshot { seed: 2, ..snapshot(10) };
    let path = checkpoints.save(&again, &Kept::default()).unwrap();
    assert_eq!(load(&path).unwrap().seed, 2);
    assert_eq!(fs::read_dir(checkpoints.path()).unwrap().count(), 1);
}

#[test]
fn the_latest_the_multiples_and_the_best_are_kept() {
    let scores = BTreeMap::from([(10, 3.0), (20, 1.0), (30, 2.0), (40, 5.0)]);
    let steps = |kept: &Kept| -> Vec<u64> {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDir::of_run(run.path());
        for step in [10, 20, 30, 40, 50, 60] {
            checkpoints.save(&snapshot(step), kept).unwrap();
        }
        checkpoints.list().unwrap().iter().map(|(step, _)| *step).collect()
    };
    let kept = |every_steps, best: Option<bool>| Kept {
        last: Some(1),
        every_steps,
        best: best.map(|highest| Best { count: 1, highest, scores: scores.clone() }),
    };
    assert_eq!(steps(&kept(None, None)), [60]);
    assert_eq!(steps(&kept(Some(25), None)), [50, 60]);
    assert_eq!(steps(&kept(None, Some(false))), [20, 60]);
    assert_eq!(steps(&kept(Some(30), Some(true))), [30, 40, 60]);
    assert_eq!(steps(&Kept { last: None, ..kept(Some(25), Some(true)) }).len(), 6);
}

#[test]
fn a_checkpoint_that_does_not_fit_is_not_begun() {
    let run = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointDir::of_run(run.path());
    checkpoints.check_room(1 << 20).unwrap();
    let error = checkpoints.check_room(1 << 60).unwrap_err();
    assert!(matches!(error, CheckpointError::Full { .. }) && error.to_string().contains("MiB are free"), "{error}");
}
