//! A resumed run is the unbroken run, bit for bit.

use crate::run::{checkpoint_file, metrics, train};

const FILES: [&str; 3] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"];

#[test]
fn twenty_steps_and_twenty_more_are_forty() {
    let (straight, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(straight.path(), &["train.steps=40"], &[]).succeeds();
    train(broken.path(), &["train.steps=20"], &[]).succeeds();
    let resumed = train(broken.path(), &["train.steps=40"], &["--resume"]).succeeds();
    assert!(resumed.out.contains("at step 20"), "{}", resumed.out);
    for file in FILES {
        assert!(
            checkpoint_file(straight.path(), 40, file) == checkpoint_file(broken.path(), 40, file),
            "{file} differs"
        );
    }
    // The curve has every step once, and the same losses.
    let losses = |dir: &std::path::Path| -> Vec<_> {
        metrics(dir).iter().map(|m| (m["step"].clone(), m["loss"].clone())).collect()
    };
    assert_eq!(losses(straight.path()), losses(broken.path()));
    assert_eq!(losses(straight.path()).len(), 40);
}

#[test]
fn every_optimizer_goes_on_bit_for_bit() {
    for settings in [
        "kind=\"adamw\",learning_rate=0.001,amsgrad=true",
        "kind=\"adam\",learning_rate=0.001,weight_decay=0.1",
        "kind=\"sgd\",learning_rate=0.01",
        "kind=\"sgd\",learning_rate=0.01,momentum=0.9,weight_decay=0.1,nesterov=true",
        "kind=\"adamw\",learning_rate=0.001,moments=\"bf16\"",
        "kind=\"adamw\",learning_rate=0.001,moments=\"int8\",groups=[{parameters=[\"*.bias\"],weight_decay=0.0}]",
    ] {
        let optimizer = format!("optimizer={{{settings}}}");
        let (straight, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train(straight.path(), &[&optimizer, "train.steps=4"], &[]).succeeds();
        train(broken.path(), &[&optimizer, "train.steps=2"], &[]).succeeds();
        train(broken.path(), &[&optimizer, "train.steps=4"], &["--resume"]).succeeds();
        for file in FILES {
            let [whole, resumed] = [&straight, &broken].map(|dir| checkpoint_file(dir.path(), 4, file));
            assert!(whole == resumed, "{settings}: {file} differs");
        }
        // The state of this optimizer is none of another's.
        let other = "optimizer={kind=\"sgd\",learning_rate=0.01,momentum=0.5,dampening=0.1}";
        let resumed = train(broken.path(), &[other, "train.steps=5"], &["--resume", "--allow", "optimizer"]);
        match (settings.contains("sgd"), settings.contains("momentum")) {
            (true, true) => drop(resumed.succeeds()),
            (true, false) => resumed.fails(6, &["optimizer state", "momentum_buffer"]),
            (false, _) => resumed.fails(6, &["optimizer.kind", "cannot go on with what is saved"]),
        }
    }
}

#[test]
fn workers_and_prefetch_do_not_change_a_run() {
    let run = |workers: u32, prefetch: u32| {
        let dir = tempfile::tempdir().unwrap();
        let sets = [format!("data.workers={workers}"), format!("data.prefetch_batches={prefetch}")];
        train(dir.path(), &[&sets[0], &sets[1], "train.steps=6"], &[]).succeeds();
        let losses: Vec<String> = metrics(dir.path()).iter().map(|line| line["loss"].to_string()).collect();
        (losses, checkpoint_file(dir.path(), 6, "model.safetensors"))
    };
    let alone = run(0, 1);
    for (workers, prefetch) in [(1, 1), (1, 4), (3, 7), (8, 1), (8, 3), (8, 16)] {
        assert!(run(workers, prefetch) == alone, "{workers} workers, {prefetch} batches ahead");
    }
}

#[test]
fn training_on_a_run_again_needs_resume() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=1"], &[]).succeeds();
    train(dir.path(), &["train.steps=2"], &[]).fails(6, &["already holds a run", "--resume"]);
    train(dir.path(), &["train.steps=2", "run.seed=5"], &["--resume"]).fails(6, &["run.seed"]);
    train(dir.path(), &["train.steps=2", "model.network.model_channels=64"], &["--resume"])
        .fails(6, &["model.network.model_channels: 32 in the checkpoint, 64 now"]);
}

#[test]
fn a_run_goes_on_from_the_newest_checkpoint_that_is_whole() {
    let (straight, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let every = "train.checkpoint_every_steps=1";
    train(straight.path(), &["train.steps=6", every], &[]).succeeds();
    train(broken.path(), &["train.steps=4", every], &[]).succeeds();
    let file = |step: u64, name: &str| broken.path().join(format!("checkpoints/step-{step:08}/{name}"));
    let damage = |path: std::path::PathBuf, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    };
    damage(file(4, "model.safetensors"), &|bytes| *bytes.last_mut().unwrap() ^= 1);
    damage(file(3, "optimizer.safetensors"), &|bytes| bytes.truncate(bytes.len() / 2));
    let resumed = train(broken.path(), &["train.steps=6", every], &["--resume"]).succeeds();
    assert!(resumed.out.contains("at step 2"), "{}", resumed.out);
    for text in ["step-00000004/model.safetensors: damaged: ", "step-00000003/optimizer.safetensors: damaged: "] {
        assert!(resumed.err.contains(text), "{}", resumed.err);
    }
    for name in FILES {
        assert!(checkpoint_file(straight.path(), 6, name) == checkpoint_file(broken.path(), 6, name), "{name} differs");
    }
    let steps: Vec<u64> = metrics(broken.path()).iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    // What it went on from stands in what came of it.
    let progress = checkpoint_file(broken.path(), 6, "progress.json");
    let progress: serde_json::Value = serde_json::from_slice(&progress).unwrap();
    assert_eq!(progress["lineage"]["parent"]["name"], "step-00000002");
    for key in ["program", "data"] {
        assert_eq!(progress["lineage"][key].as_str().unwrap().len(), 64, "{progress}");
    }
}

#[test]
fn what_changes_a_runs_course_needs_to_be_allowed() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=2"], &[]).succeeds();
    let more = ["train.steps=3", "optimizer.learning_rate=0.5", "loss.offset_noise_level=0.25", "data.workers=0"];
    let refused = train(dir.path(), &more, &["--resume"]);
    refused.fails(
        6,
        &[
            "optimizer.learning_rate: 0.003 in the checkpoint, 0.5 now",
            "loss.offset_noise_level: 0.0 in the checkpoint, 0.25 now",
            "--allow loss.offset_noise_level --allow optimizer.learning_rate",
        ],
    );
    assert!(!refused.err.contains("data.workers"), "{}", refused.err);
    train(dir.path(), &more, &["--resume", "--allow", "optimizer.learning_rate"]).fails(6, &["offset_noise_level"]);
    let allowed = ["--resume", "--allow", "optimizer", "--allow", "loss.offset_noise_level"];
    let resumed = train(dir.path(), &more, &allowed).succeeds();
    assert!(resumed.err.contains("data.workers: 1 in the checkpoint, 0 now"), "{}", resumed.err);
    // What does not fit is refused whatever is allowed.
    let other = ["train.steps=4", "run.seed=7", "model.network.model_channels=64"];
    let keys = ["run.seed: 23 in the checkpoint, 7 now", "model.network.model_channels: 32 in the checkpoint, 64 now"];
    train(dir.path(), &other, &["--resume", "--allow", "run", "--allow", "model"]).fails(6, &keys);
    train(dir.path(), &["train.steps=3"], &["--allow", "run"]).fails(2, &["--resume"]);
}

#[test]
fn other_data_under_the_same_name_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("Fox.gltf");
    std::fs::copy(crate::run::path("target/data/fox/Fox.gltf"), &model).unwrap();
    let source = format!("data.source.path={}", model.display());
    train(&dir.path().join("run"), &["train.steps=1", &source], &[]).succeeds();
    // The same data elsewhere is no other data.
    let moved = dir.path().join("moved/Fox.gltf");
    std::fs::create_dir(dir.path().join("moved")).unwrap();
    std::fs::copy(&model, &moved).unwrap();
    let there = format!("data.source.path={}", moved.display());
    let resumed = train(&dir.path().join("run"), &["train.steps=2", &there], &["--resume"]).succeeds();
    assert!(resumed.err.contains("data.source.path: "), "{}", resumed.err);
    // White space, which JSON does not mind.
    let text = std::fs::read_to_string(&model).unwrap();
    std::fs::write(&model, text + "\n\n").unwrap();
    let run = dir.path().join("run");
    train(&run, &["train.steps=3", &source], &["--resume"]).fails(6, &["data: ", "--allow data"]);
    train(&run, &["train.steps=3", &source], &["--resume", "--allow", "data"]).succeeds();
}
