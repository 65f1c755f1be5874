//! The demo's config learns: a few steps of it, at its own size, lower the loss.

use crate::run::{anneal, metrics, path};

#[test]
fn a_few_steps_of_the_demo_lower_the_loss() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = format!("run.dir={}", dir.path().display());
    let demo = path("configs/demo.toml");
    let sets = [
        run_dir.as_str(),
        "run.device=cpu",
        "run.threads=1",
        "train.steps=24",
        "logging.preview_every_steps=1000",
        "sampling.num_steps=1",
    ];
    let mut args = vec!["train", &demo, "--quiet"];
    for set in sets {
        args.extend(["--set", set]);
    }
    let ran = anneal(&args).succeeds();
    assert!(ran.out.contains("WASM plugins:"), "{}", ran.out);
    let losses: Vec<f64> = metrics(dir.path()).iter().map(|m| m["loss"].as_f64().unwrap()).collect();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&losses[16..]) < 0.8 * mean(&losses[..8]), "{losses:?}");
}

#[test]
fn the_benchmark_prints_one_line_of_json() {
    let ran =
        anneal(&["bench", "step", "--size", "tiny", "--threads", "1", "--steps", "1", "--warmup", "0"]).succeeds();
    let line: serde_json::Value = serde_json::from_str(ran.out.trim()).unwrap();
    assert!(line["median_s"].as_f64().unwrap() > 0.0 && line["peak_rss_mib"].as_u64().unwrap() > 100);
    assert!((line["params"].as_f64().unwrap() / 61.8e6 - 1.0).abs() < 0.05, "{line}");
    anneal(&["bench", "step", "--device", "tpu"]).fails(2, &["cpu or cuda"]);
}

#[test]
fn the_benchmark_of_operations_knows_embedders() {
    let dirs = ["--plugin-dir", &path("target/plugins"), "--plugin-dir", &path("target/test-plugins")];
    let args = ["bench", "ops", "--calls", "20", "--embedder", "class", "--embedder", "class-ops"];
    let ran = anneal(&[&args[..], &dirs[..]].concat()).succeeds();
    let line: serde_json::Value = serde_json::from_str(ran.out.trim()).unwrap();
    for time in [&line["direct_us"], &line["op_with_grad_us"], &line["class"]["us"], &line["class-ops"]["with_grad_us"]]
    {
        assert!(time.as_f64().unwrap() > 0.0, "{line}");
    }
    anneal(&["bench", "ops", "--embedder", "no-such"]).fails(3, &["no-such"]);
}
