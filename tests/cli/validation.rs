//! Validation while a run trains, and `anneal evaluate` after it.

use std::path::Path;

use serde_json::Value;

use crate::run::{anneal, train};

/// The small demo with a validation every two steps; held-out orbits are seen from higher up.
const VALIDATED: [&str; 4] =
    ["validation.every_steps=2", "validation.scenes=2", "validation.mean_scenes=3", "validation.sigmas=[0.3,3.0]"];

fn lines(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("validation.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn without_time(mut lines: Vec<Value>) -> Vec<Value> {
    lines.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("seconds")));
    lines
}

#[test]
fn a_run_is_scored_on_the_same_scenes_every_time() {
    let (straight, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(straight.path(), &VALIDATED, &[]).succeeds();
    let scored = lines(straight.path());
    assert_eq!(scored.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 4]);
    for name in ["loss", "loss_at_0.3", "loss_at_3", "psnr", "ssim", "psnr_copy", "ssim_copy", "psnr_mean"] {
        assert!(scored[1][name].is_f64(), "{name} is not in {}", scored[1]);
    }
    let loss = |name: &str| scored[1][name].as_f64().unwrap();
    assert!((loss("loss") - (loss("loss_at_0.3") + loss("loss_at_3")) / 2.0).abs() < 1e-9);
    // Baselines know nothing of training.
    assert_eq!(scored[0]["psnr_copy"], scored[1]["psnr_copy"]);
    assert_ne!(scored[0]["loss"], scored[1]["loss"]);

    let half: Vec<&str> = VALIDATED.iter().copied().chain(["train.steps=2"]).collect();
    train(broken.path(), &half, &[]).succeeds();
    train(broken.path(), &VALIDATED, &["--resume"]).succeeds();
    assert_eq!(without_time(lines(broken.path())), without_time(scored.clone()));

    // `evaluate` gives what the last validation gave.
    let run = straight.path().display().to_string();
    let evaluated = anneal(&["evaluate", &run, "--json"]).succeeds();
    let evaluated: Value = serde_json::from_str(&evaluated.out).unwrap();
    assert_eq!((evaluated["step"].as_u64(), evaluated["held_out"].as_bool()), (Some(4), Some(false)));
    for (name, value) in evaluated["scores"].as_object().unwrap() {
        assert!((value.as_f64().unwrap() - scored[1][name].as_f64().unwrap()).abs() < 1e-4, "{name}: {value}");
    }
    let other = anneal(&["evaluate", &run, "--scenes", "1", "--steps", "3", "--sampler", "heun-edm"]).succeeds();
    assert!(other.out.contains("step 4, 1 scenes of the training source"), "{}", other.out);
    anneal(&["evaluate", &run, "--checkpoint", "3"]).fails(6, &["no checkpoint of step 3"]);
    frechet_distances(&run, &straight.path().join("nothing.pt"));
}

/// Sets of clips of the small demo's run, four views of one time.
fn frechet_distances(run: &str, no_program: &Path) {
    let encoder = crate::run::path("host/engine/src/evaluation/testdata/flagged.pt");
    let flags = ["--set", "validation.frechet.flags=[false,true]"];
    let evaluate = |rest: &[&str]| anneal(&[&["evaluate", run, "--frechet", &encoder], rest].concat());
    let ran = evaluate(&[&flags[..], &["--json"]].concat()).succeeds();
    let ran: Value = serde_json::from_str(&ran.out).unwrap();
    let (scores, protocol) = (&ran["scores"], &ran["protocol"]);
    for name in ["frechet_views", "frechet_views_copy", "frechet_views_mean"] {
        assert!(scores[name].as_f64().unwrap() > 0.0, "{name}: {ran}");
    }
    assert!(scores["frechet_frames"].is_null() && scores["psnr"].is_f64());
    assert_eq!((&protocol["encoder"], &protocol["features"]), (&"flagged.pt".into(), &3.into()));
    assert_eq!((&protocol["input"], &protocol["encoder_size"]), (&"clip".into(), &serde_json::json!([16, 16])));
    let set = &protocol["sets"][0];
    assert_eq!((&set["name"], &set["clips"], &set["frames"]), (&"frechet_views".into(), &2.into(), &4.into()));
    let said = evaluate(&[&flags[..], &["--set", "validation.frechet.size=[8,12]"]].concat()).succeeds().out;
    for text in
        ["frechet_views  ", "3 features of flagged.pt (sha256 ", "[3, t, 8, 12]", "from 16x16", "warning: frechet_"]
    {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
    // All that cannot work is told before anything is sampled.
    evaluate(&[])
        .fails(3, &["validation.frechet.encoder", "flagged.pt gives a tensor of shape [1, 3, 4, 16, 16]", "flags"]);
    evaluate(&["--set", "validation.frechet.over=[\"frames\"]"])
        .fails(3, &["validation.frechet.over", "1 times and 4 views"]);
    evaluate(&[&flags[..], &["--scenes", "1"]].concat()).fails(3, &["validation.scenes", "score more scenes"]);
    std::fs::write(no_program, "weights").unwrap();
    let no_program = no_program.display().to_string();
    anneal(&["evaluate", run, "--frechet", &no_program])
        .fails(3, &["nothing.pt is no TorchScript program", "torch.jit"]);
}

#[test]
fn held_out_scenes_come_from_a_source_of_their_own() {
    let of = |sets: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<&str> = VALIDATED.iter().chain(sets).copied().collect();
        train(dir.path(), &all, &[]).succeeds();
        lines(dir.path()).pop().unwrap()
    };
    let plain = of(&[]);
    let fox = crate::run::path("target/data/fox/Fox.gltf");
    let source = format!(
        "validation.source={{kind=\"mesh-orbit\",path=\"{fox}\",size=16,num_views=4,elevation_deg=[60.0,70.0]}}"
    );
    let held_out = of(&[&source]);
    assert_ne!(plain["psnr_copy"], held_out["psnr_copy"]);
    let unsampled = of(&["validation.sample=false"]);
    assert!(unsampled.get("psnr").is_none() && unsampled["loss"] == plain["loss"]);
    let other_entry = of(&["validation.copied_key=nothing", "validation.mean_scenes=0"]);
    assert!(other_entry.get("psnr_copy").is_none() && other_entry.get("psnr_mean").is_none());
    let dir = tempfile::tempdir().unwrap();
    let classes = "validation.source={kind=\"emoji\",size=16,classes=[{name=\"faces\",words=[\"face\"]}]}";
    let sets: Vec<&str> = VALIDATED.iter().copied().chain([classes]).collect();
    train(dir.path(), &sets, &[]).fails(3, &["validation.source: a scene has 1 frames", "n_copies is 4"]);
    // As many frames, but nothing else that the model reads.
    let mut builder = tar::Builder::new(std::fs::File::create(dir.path().join("a.tar")).unwrap());
    for frame in 0..4 {
        let png = dir.path().join("frame.png");
        image::RgbImage::new(16, 16).save(&png).unwrap();
        builder.append_path_with_name(&png, format!("a.{frame:04}.png")).unwrap();
    }
    builder.finish().unwrap();
    let shards = format!(
        "validation.source={{kind=\"webdataset\",shards=[\"{}\"],size=[16,16]}}",
        dir.path().join("a.tar").display()
    );
    let sets: Vec<&str> = VALIDATED.iter().copied().chain([shards.as_str()]).collect();
    train(dir.path(), &sets, &[]).fails(3, &["the data source gives no entry `cond_image`"]);
}
