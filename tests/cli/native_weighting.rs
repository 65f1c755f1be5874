//! Weightings in native code: in real runs, learned and not, and under the conformance suite.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::autoencoder::lpips_file;
use super::native_conformance::{SCHEMA_FILE, compiled, missed, report_of, said};
use super::run::{anneal, checkpoint_file, metrics, path, train};
use super::{conformance, run};

/// Faults of weightings over the host's operations, and the checks that each is meant to fail.
const WEIGHTINGS: &[(&str, &[&str])] = &[
    ("good", &[]),
    ("good-learns", &[]),
    ("weighs-nothing", &["E02"]),
    ("weighs-twice", &["E02"]),
    ("uses-another-slot", &["E02"]),
    ("one-too-few", &["E02"]),
    ("keeps-an-axis", &["E02"]),
    ("draws", &["E02"]),
    ("negative", &["X02"]),
    ("means", &["E07", "X05"]),
    ("hides-what-is-no-number", &["X07"]),
    ("blows-up", &["X08"]),
    ("no-number-at-large-sigmas", &["X02"]),
    ("a-hill-at-large-sigmas", &[]),
    ("counts-its-calls", &["E07", "E16", "E19", "E21", "E23", "X03", "X05"]),
    ("stops-the-gradient", &["E09", "E10"]),
];

/// The weightings in C, compiled into a plugin directory.
pub fn weightings_in_c(dir: &Path) -> PathBuf {
    let entry = |name: &str| {
        format!(
            "[[entry]]\nname = \"{name}\"\nkind = \"weighting\"\nruntime = \"native\"\nschema = \"{SCHEMA_FILE}\"\n\
             [[entry.example]]\n"
        )
    };
    let entries: String = WEIGHTINGS.iter().map(|(name, _)| entry(name)).collect();
    let listed: Vec<Value> =
        WEIGHTINGS.iter().map(|(name, _)| serde_json::json!({ "name": name, "kind": "weighting" })).collect();
    let descriptor = serde_json::json!({ "sdk": "c", "entries": listed }).to_string();
    compiled(dir, "test.weightings", "weightings.c", &[&format!("-DDESCRIPTOR={descriptor:?}")], "", &entries)
}

fn losses(dir: &Path) -> Vec<f64> {
    metrics(dir).iter().map(|line| line["loss"].as_f64().unwrap()).collect()
}

fn train_with(dir: &Path, weighting: &str, steps: u32, flags: &[&str]) {
    let sets = [format!("loss.weighting={{{weighting}}}"), format!("train.steps={steps}")];
    let sets: Vec<&str> = sets.iter().map(String::as_str).chain(["optimizer.learning_rate=0.01"]).collect();
    train(dir, &sets, flags).succeeds();
}

#[test]
fn a_weighting_in_c_trains_as_the_bundled_one_does() {
    let dir = tempfile::tempdir().unwrap();
    weightings_in_c(dir.path());
    let (scalar, native) = (dir.path().join("scalar"), dir.path().join("native"));
    train_with(&scalar, "plugin=\"edm\",sigma_data=0.5", 4, &[]);
    let plugins = dir.path().display().to_string();
    train_with(&native, "plugin=\"test.weightings/good\"", 4, &["--plugin-dir", &plugins]);
    for (one, other) in losses(&scalar).into_iter().zip(losses(&native)) {
        assert!((one - other).abs() <= 1e-4 * one.abs(), "{one} {other}");
    }
}

#[test]
fn a_weighting_learns_with_the_model_and_goes_on_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let [scalar, straight, broken] = ["scalar", "straight", "broken"].map(|name| dir.path().join(name));
    let learned = "plugin=\"uncertainty\",sigma_data=0.5,channels=16";
    train_with(&scalar, "plugin=\"edm\",sigma_data=0.5", 1, &[]);
    train_with(&straight, learned, 6, &[]);
    // It starts from nothing, where the loss is EDM's, and has moved by the end.
    let (first, edm) = (losses(&straight)[0], losses(&scalar)[0]);
    assert!((first - edm).abs() <= 1e-5 * edm, "{first} {edm}");
    let model = checkpoint_file(&straight, 6, "model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&model).unwrap();
    let weight = tensors.tensor("loss.weighting.linear.weight").unwrap();
    assert_eq!(weight.shape(), [1, 16]);
    let moved: Vec<f32> = weight.data().chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert!(moved.iter().all(|value| *value != 0.0 && value.abs() < 0.2), "{moved:?}");
    assert_eq!(tensors.tensor("loss.weighting.fourier.freqs").unwrap().shape(), [16]);

    train_with(&broken, learned, 3, &[]);
    train_with(&broken, learned, 6, &["--resume"]);
    for file in ["model.safetensors", "ema.safetensors", "optimizer.safetensors"] {
        assert!(checkpoint_file(&straight, 6, file) == checkpoint_file(&broken, 6, file), "{file} differs");
    }

    // What else reads such a run.
    let evaluated = anneal(&["evaluate", &straight.display().to_string(), "--scenes", "1"]).succeeds();
    assert!(evaluated.out.contains("loss"), "{}", evaluated.out);
    let out = dir.path().join("sample").display().to_string();
    anneal(&["sample", &straight.display().to_string(), "--out", &out]).succeeds();
}

#[test]
fn a_weighting_that_would_learn_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lpips = format!("loss.lpips={{weights=\"{}\",prefix=\"loss.perceptual_loss.\"}}", lpips_file(dir.path()));
    let learned = "loss.weighting={plugin=\"uncertainty\",channels=16}";
    let sets = ["loss.distance=lpips", "loss.weighted_lpips=false", &lpips, learned];
    let told = ["loss.weighting: has parameters that would learn nothing", "loss.weighted_lpips = true"];
    train(&dir.path().join("run"), &sets, &[]).fails(3, &told);
    let demo = path("configs/demo.toml");
    let flags = sets.iter().flat_map(|set| ["--set", set]);
    let check: Vec<&str> = ["config", "check", &demo].into_iter().chain(flags).collect();
    anneal(&check).fails(3, &told);
}

#[test]
fn a_plan_counts_what_a_weighting_learns() {
    let ran = anneal(&[
        "plan",
        &path("configs/mnist.toml"),
        "--set",
        "loss.weighting={plugin=\"uncertainty\",channels=16}",
        "--set",
        "run.device=cpu",
    ])
    .succeeds();
    let line = ran.out.lines().find(|line| line.trim_start().starts_with("weighting")).unwrap_or_default();
    // A group of the optimizer may name what the weighting learns: the check knows it as the run does.
    let group = "optimizer.groups=[{parameters=[\"loss.weighting.*\"],weight_decay=0.0}]";
    let learned = "loss.weighting={plugin=\"uncertainty\",channels=16}";
    anneal(&["config", "check", &path("configs/demo.toml"), "--set", learned, "--set", group]).succeeds();
    anneal(&["config", "check", &path("configs/demo.toml"), "--set", group])
        .fails(3, &["matches no trained parameter"]);
    // 16 weights, and 16 frequencies and phases that are not trained.
    assert!(line.contains("48") && line.contains("16"), "{}", ran.out);
}

#[test]
fn a_run_ends_well_with_weightings_that_do_not_weigh() {
    let dir = tempfile::tempdir().unwrap();
    weightings_in_c(dir.path());
    let plugins = dir.path().display().to_string();
    for (name, says) in [
        ("weighs-nothing", "no weight was emitted"),
        ("weighs-twice", "weight was emitted twice"),
        ("uses-another-slot", "there is no slot `vector`; there are weight, offset"),
        ("one-too-few", "one number each"),
        ("keeps-an-axis", "one number each"),
        ("draws", "a weight depends on its sigma alone"),
    ] {
        let run = dir.path().join(name);
        let set = format!("loss.weighting={{plugin=\"test.weightings/{name}\"}}");
        train(&run, &[&set], &["--plugin-dir", &plugins]).fails(4, &[name, says]);
        assert!(!run.join("checkpoints").exists(), "{name}");
    }
}

#[test]
fn an_embedder_is_no_weighting_and_runs_natively_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = weightings_in_c(dir.path());
    let manifest = fs::read_to_string(folder.join("plugin.toml")).unwrap();
    let other =
        manifest.replacen("kind = \"weighting\"\nruntime = \"native\"", "kind = \"embedder\"\nruntime = \"wasm\"", 1);
    fs::write(folder.join("plugin.toml"), other).unwrap();
    let listed = anneal(&["plugin", "list", "--explain", "--plugin-dir", &dir.path().display().to_string()]);
    let told = format!("{}{}", listed.out, listed.err);
    assert!(told.contains("entry.0.runtime") && told.contains("the kind embedder runs as native"), "{told}");
}

#[test]
fn faults_of_weightings_are_found_and_nothing_else_is_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = weightings_in_c(dir.path());
    let report = report_of(&[folder], &['E', 'X'], "1");
    let missed = missed(conformance::unmet(&report), WEIGHTINGS);
    assert!(missed.is_empty(), "{missed:#?}\n{}", said(&report));
}

#[test]
fn the_bundled_learned_weighting_reaches_the_highest_level() {
    let folder = run::path("target/plugins/anneal.learned-weightings");
    let ran = conformance::check(&[&folder], &["--format", "json", "--timeout-scale", "2"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(ran.code == Some(0), "{}", said(&report));
    for verdict in report["plugins"][0]["verdicts"].as_array().unwrap() {
        assert_eq!(verdict["level"], "L3", "{verdict}");
    }
}
