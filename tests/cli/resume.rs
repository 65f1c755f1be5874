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
        let resumed = train(broken.path(), &[other, "train.steps=5"], &["--resume"]);
        match settings.contains("momentum") {
            true => drop(resumed.succeeds()),
            false => resumed.fails(6, &["optimizer state", "momentum_buffer"]),
        }
    }
}

#[test]
fn workers_and_prefetch_do_not_change_a_run() {
    let weights: Vec<Vec<u8>> =
        [["data.workers=0", "data.prefetch_batches=1"], ["data.workers=3", "data.prefetch_batches=7"]]
            .iter()
            .map(|sets| {
                let dir = tempfile::tempdir().unwrap();
                train(dir.path(), &[sets[0], sets[1], "train.steps=6"], &[]).succeeds();
                checkpoint_file(dir.path(), 6, "model.safetensors")
            })
            .collect();
    assert!(weights[0] == weights[1]);
}

#[test]
fn training_on_a_run_again_needs_resume() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=1"], &[]).succeeds();
    train(dir.path(), &["train.steps=2"], &[]).fails(6, &["already holds a run", "--resume"]);
    train(dir.path(), &["train.steps=2", "run.seed=5"], &["--resume"]).fails(6, &["run.seed"]);
    train(dir.path(), &["train.steps=2", "model.network.model_channels=64"], &["--resume"])
        .fails(6, &["model.diffusion_model."]);
}
