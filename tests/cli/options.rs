//! Options of a config that change how a run goes, each in a short real run.

use crate::run::{checkpoint_file, metrics, train};

fn last_loss(sets: &[&str]) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), sets, &[]).succeeds();
    let last = metrics(dir.path()).pop().unwrap();
    last["loss"].as_f64().unwrap()
}

#[test]
fn settings_of_loss_and_optimizer_have_an_effect() {
    let plain = last_loss(&[]);
    assert!(plain.is_finite());
    for sets in [
        &["loss.distance=l1"][..],
        &["loss.offset_noise_level=0.2"],
        &["loss.sigma_per=row"],
        &["loss.weighting={plugin=\"soft-min-snr\"}"],
        &["train.accumulate_batches=2"],
        &["train.clip_grad_norm=0.001", "optimizer.eps=0.01"],
        &["optimizer.betas=[0.5,0.9]"],
        &["optimizer.weight_decay=10.0", "optimizer.schedule={plugin=\"constant\"}"],
        &["optimizer.amsgrad=true", "optimizer.betas=[0.9,0.1]"],
        &["optimizer={kind=\"adam\",learning_rate=0.01,weight_decay=1.0}"],
        &["model.ucg_per=row", "model.embedders.0.ucg_rate=0.5", "model.embedders.3.ucg_rate=0.5"],
        &["model.scale_factor=0.5"],
        &["run.precision=bf16"],
        &["run.seed=1"],
        &["model.denoiser={kind=\"continuous\",scaling={kind=\"edm\",sigma_data=0.5}}"],
        &[
            "model.denoiser={kind=\"discrete\",scaling={kind=\"eps\"},discretization={plugin=\"legacy-ddpm\"},num_idx=1000}",
        ],
        &["data.source.random_azimuth=true"],
        &["data.source.cond_view=first"],
    ] {
        let loss = last_loss(sets);
        assert!(loss.is_finite() && loss != plain, "{sets:?}: {loss}");
    }
}

#[test]
fn settings_that_only_save_memory_or_time_change_nothing_that_matters() {
    let plain = last_loss(&[]);
    for sets in [
        &["model.network.use_checkpoint=true"][..],
        &["model.en_and_decode_n_samples_a_time=3"],
        &["model.disable_first_stage_autocast=true"],
    ] {
        let loss = last_loss(sets);
        assert!((loss - plain).abs() < 1e-4 * plain.abs().max(1.0), "{sets:?}: {loss} {plain}");
    }
}

#[test]
fn only_the_chosen_parameters_of_a_network_are_trained() {
    let read = |dir: &std::path::Path, step: u64| -> std::collections::HashMap<String, tch::Tensor> {
        let path = dir.join(format!("checkpoints/step-{step:08}/model.safetensors"));
        anneal::weights::read(&path).unwrap().into_iter().collect()
    };
    // With activation checkpointing, too: then no input of a frozen block needs a gradient.
    for more in ["model.network.use_checkpoint=false", "model.network.use_checkpoint=true"] {
        let dir = tempfile::tempdir().unwrap();
        let sets = ["model.trainable=[\"temporal\"]", "train.checkpoint_every_steps=1", more];
        train(dir.path(), &sets, &[]).succeeds();
        let (first, last) = (read(dir.path(), 1), read(dir.path(), 4));
        let moved: Vec<&String> = first.keys().filter(|name| !first[*name].equal(&last[*name])).collect();
        let network = moved.iter().filter(|name| name.starts_with("model.diffusion_model."));
        let (temporal, spatial): (Vec<&&String>, Vec<&&String>) = network.partition(|name| name.contains(".time_"));
        assert!(temporal.len() > 10 && spatial.is_empty(), "{spatial:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["model.trainable=[\"*.time_stak.*\"]"], &[]).fails(3, &["model.trainable", "matches no"]);
}

#[test]
fn where_frozen_encoders_are_does_not_change_a_run() {
    let weights = ["stay", "off-load"].map(|place| {
        let dir = tempfile::tempdir().unwrap();
        let place = format!("model.frozen_encoders={place}");
        train(dir.path(), &[&place, "model.embedders.4.is_trainable=false"], &[]).succeeds();
        checkpoint_file(dir.path(), 4, "model.safetensors")
    });
    assert!(weights[0] == weights[1]);
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["model.frozen_encoders=offload"], &[]).fails(3, &["model.frozen_encoders", "off-load"]);
}

#[test]
fn checkpoints_are_kept_as_configured_and_weights_start_a_run() {
    let dir = tempfile::tempdir().unwrap();
    train(
        dir.path(),
        &["train.steps=5", "train.checkpoint_every_steps=1", "train.keep_last=2", "logging.metrics_every_steps=2"],
        &[],
    )
    .succeeds();
    let mut left: Vec<_> = std::fs::read_dir(dir.path().join("checkpoints"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["step-00000004", "step-00000005"]);
    let steps: Vec<_> = metrics(dir.path()).iter().map(|m| m["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 4, 5]);

    // With a learning rate of nothing the weights at the end are those it started from.
    let weights = dir.path().join("checkpoints/step-00000005/model.safetensors");
    let other = tempfile::tempdir().unwrap();
    let init = format!("train.init_from={}", weights.display());
    train(other.path(), &["train.steps=1", &init, "optimizer.learning_rate=1e-30", "optimizer.weight_decay=0.0"], &[])
        .succeeds();
    assert!(
        checkpoint_file(other.path(), 1, "model.safetensors") == checkpoint_file(dir.path(), 5, "model.safetensors")
    );
    // A file without the network's keys is an error, not a training from scratch.
    let optimizer =
        format!("train.init_from={}", dir.path().join("checkpoints/step-00000005/optimizer.safetensors").display());
    let third = tempfile::tempdir().unwrap();
    train(third.path(), &[&optimizer], &[]).fails(6, &["model.diffusion_model."]);
}

#[test]
fn multiples_and_the_best_are_kept_beside_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let kept = [
        "train.steps=6",
        "train.checkpoint_every_steps=1",
        "train.keep_last=1",
        "train.keep_every_steps=5",
        "train.keep_best={score=\"loss_at_1\",mode=\"max\"}",
        "validation={every_steps=1,scenes=1,sigmas=[1.0],sample=false}",
    ];
    train(dir.path(), &kept, &[]).succeeds();
    let scores = std::fs::read_to_string(dir.path().join("validation.jsonl")).unwrap();
    let scores = scores.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    // The last step's score comes after its checkpoint.
    let scored: Vec<(u64, f64)> = scores
        .map(|line| (line["step"].as_u64().unwrap(), line["loss_at_1"].as_f64().unwrap()))
        .filter(|(step, _)| *step < 6)
        .collect();
    let best = scored.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    let mut left: Vec<String> = std::fs::read_dir(dir.path().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut wanted = [best, 5, 6].map(|step| format!("step-{step:08}")).to_vec();
    wanted.sort();
    wanted.dedup();
    assert_eq!(left, wanted);

    let faults = [
        (&["train.keep_every_steps=1000"][..], "train.keep_every_steps", "without `keep_last`"),
        (&["train.keep_last=1", "train.keep_every_steps=1500"], "train.keep_every_steps", "multiple of"),
        (&["train.keep_last=1", "train.keep_best={score=\"psnr\",mode=\"max\"}"], "train.keep_best", "[validation]"),
        (
            &[
                "train.keep_last=1",
                "train.keep_best={score=\"psnr\",mode=\"max\"}",
                "validation={every_steps=300,scenes=1,sigmas=[1.0]}",
            ],
            "train.keep_best",
            "most checkpoints have no score",
        ),
    ];
    for (sets, key, says) in faults {
        train(&dir.path().join("other"), sets, &[]).fails(3, &[key, says]);
    }
}

#[test]
fn every_bundled_weighting_sampling_and_schedule_trains() {
    for (key, names) in [
        ("loss.weighting", &["unit", "edm", "v", "eps", "min-snr", "soft-min-snr"][..]),
        ("loss.sigma_sampling", &["edm", "discrete"]),
        ("optimizer.schedule", &["constant", "warm-up-cosine"]),
    ] {
        for name in names {
            let set = format!("{key}={{plugin=\"{name}\"}}");
            assert!(last_loss(&[&set, "train.steps=2"]).is_finite(), "{set}");
        }
    }
    let cycles = "warm_up_steps=[1,1],f_min=[0.1,0.1],f_max=[1.0,0.5],f_start=[0.0,0.0],cycle_lengths=[2,2]";
    for name in ["linear", "warm-up-cosine-2"] {
        assert!(
            last_loss(&[&format!("optimizer.schedule={{plugin=\"{name}\",{cycles}}}"), "train.steps=5"]).is_finite()
        );
    }
}

#[test]
fn every_bundled_solver_grid_and_guidance_samples() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=1"], &[]).succeeds();
    let preview = |set: &str| {
        let other = tempfile::tempdir().unwrap();
        train(other.path(), &["train.steps=1", "logging.preview_every_steps=1", "sampling.num_steps=4", set], &[])
            .succeeds();
        std::fs::read(other.path().join("previews/step-00000001/sheet.png")).unwrap()
    };
    let mut seen = Vec::new();
    for (key, names) in [
        (
            "sampling.sampler",
            &["euler-edm", "heun-edm", "euler-ancestral", "dpmpp-2s-ancestral", "dpmpp-2m", "linear-multistep"][..],
        ),
        ("sampling.discretization", &["edm", "legacy-ddpm", "align-your-steps"]),
        ("sampling.guidance", &["constant", "linear", "triangle", "trapezoid", "spatiotemporal"]),
    ] {
        for name in names {
            let more = match *name {
                "align-your-steps" => ",model=\"svd\"",
                "constant" => ",scale=2.0",
                _ if key == "sampling.guidance" => ",max_scale=2.0",
                _ => "",
            };
            seen.push(preview(&format!("{key}={{plugin=\"{name}\"{more}}}")));
        }
    }
    assert!(seen.iter().all(|sheet| !sheet.is_empty()));
    // Solvers differ in what they make of the same noise.
    assert!(seen[0] != seen[1] && seen[0] != seen[2] && seen[0] != seen[5]);
}
