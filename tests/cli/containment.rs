//! Every saboteur in a real training run: the run ends well or with a report that names the plugin, never in a panic, never
//! hanging, and never with half a checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::native_conformance::{compiled, entry};
use super::run::{Ran, path, train};

/// Where a config names an entry of a kind.
fn key(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "discretization" => "sampling.discretization",
        "guidance" => "sampling.guidance",
        "sampler" => "sampling.sampler",
        "sigma-sampling" => "loss.sigma_sampling",
        "weighting" => "loss.weighting",
        "learning-rate" => "optimizer.schedule",
        _ => return None,
    })
}

/// Trains two steps and samples.
fn run(dir: &Path, sets: &[&str], plugins: &str) -> Ran {
    let few = ["train.steps=2", "logging.preview_every_steps=2", "train.checkpoint_every_steps=1"];
    train(dir, &[&few, sets].concat(), &["--plugin-dir", plugins])
}

/// No checkpoint is half there: those that have their name can be read.
fn checkpoints_are_whole(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir.join("checkpoints")) else { return };
    for entry in entries {
        let checkpoint = entry.unwrap().path();
        let name = checkpoint.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("step-") {
            super::run::anneal(&["checkpoint", "inspect", &checkpoint.display().to_string()]).succeeds();
        }
    }
}

#[test]
fn a_run_contains_every_saboteur() {
    let plugins = path("target/test-plugins");
    let manifest = fs::read_to_string(format!("{plugins}/test.saboteurs/plugin.toml")).unwrap();
    let manifest: Table = manifest.parse().unwrap();
    let mut ends: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for entry in manifest["entry"].as_array().unwrap() {
        let (name, kind) = (entry["name"].as_str().unwrap(), entry["kind"].as_str().unwrap());
        let config = entry.get("example").and_then(|examples| examples.get(0)).and_then(|first| first.get("config"));
        let mut used = config.and_then(Value::as_table).cloned().unwrap_or_default();
        used.insert("plugin".to_owned(), Value::from(format!("test.saboteurs/{name}")));
        let set = format!("{}={}", key(kind).unwrap_or_else(|| panic!("{name}: {kind}")), Value::Table(used));
        let dir = tempfile::tempdir().unwrap();
        let ran = run(dir.path(), &[&set], &plugins);
        let code = ran.code.unwrap_or_else(|| panic!("{name} took the host down: {ran:#?}"));
        assert!([0, 3, 4].contains(&code), "{name}: {ran:#?}");
        assert!(!ran.err.contains("RUST_BACKTRACE") && !ran.err.contains("a fault of anneal"), "{name}: {ran:#?}");
        let is_named = ran.err.contains(name) || (code == 3 && ran.err.contains(key(kind).unwrap_or_default()));
        assert!(code == 0 || is_named, "{name} is not named: {ran:#?}");
        checkpoints_are_whole(dir.path());
        ends.entry(code).or_default().push(name.to_owned());
    }
    // What good ones end with, and what those end with that do not come back.
    let ended = |code: i32, name: &str| ends.get(&code).is_some_and(|names| names.iter().any(|other| other == name));
    for good in ["good-grid", "good-rate", "good-sampling", "good-scale", "good-solver", "good-weight"] {
        assert!(ended(0, good), "{good}: {ends:#?}");
    }
    for bad in
        ["loops", "panics", "eats-memory", "recurses", "init-loops", "one-too-few", "negative-weight", "asks-for-ever"]
    {
        assert!(ended(4, bad), "{bad}: {ends:#?}");
    }
}

#[test]
fn a_crash_of_a_native_plugin_is_told_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["segfaults", "aborts", "exits", "crashes-at-start", "emits-nothing"];
    let listed: Vec<_> = names.iter().map(|name| serde_json::json!({ "name": name, "kind": "embedder" })).collect();
    let descriptor = serde_json::json!({ "sdk": "c", "entries": listed }).to_string();
    let entries: String = names.iter().map(|name| entry(name, "")).collect();
    compiled(dir.path(), "test.embedders", "embedders.c", &[&format!("-DDESCRIPTOR={descriptor:?}")], "", &entries);
    let plugins = dir.path().display().to_string();
    let train = |name: &str| {
        let runs = tempfile::tempdir().unwrap();
        let embedder = format!("model.embedders.4={{plugin=\"{name}\",input_key=\"polar_rad\"}}");
        let ran = run(runs.path(), &[&embedder], &plugins);
        checkpoints_are_whole(runs.path());
        ran
    };
    for (name, code, words) in [
        ("segfaults", None, "forward: the process died of SIGSEGV"),
        ("aborts", None, "forward: the process died of SIGABRT"),
        ("crashes-at-start", None, "create: the process died of SIGSEGV"),
        ("exits", Some(4), "forward: it ended the process"),
        ("emits-nothing", Some(4), "nothing was emitted"),
    ] {
        let ran = train(name);
        assert!(ran.code == code && ran.err.contains(words), "{name}: {ran:#?}");
        assert!(ran.err.contains(&format!("test.embedders/{name}")), "{name}: {ran:#?}");
    }
}

#[test]
fn a_library_that_is_none_is_told_with_its_name() {
    let scaled = entry("scaled", "");
    for (fault, code, words) in [
        ("CRASHES_WHEN_LOADED", None, "test.library: loading: the process died of SIGSEGV"),
        ("EXITS_WHEN_LOADED", Some(4), "test.library: loading: it ended the process"),
        ("ABORTS_WHEN_STARTED", None, "test.library: init: the process died of SIGABRT"),
        ("RETURNS_NOTHING", Some(4), "its entry returned nothing"),
        ("SHORT_STRUCT", Some(4), "struct has 8 bytes"),
        ("LACKS_INIT", Some(4), "lacks init"),
        ("OTHER_MAJOR", Some(4), "speaks plugin ABI 2.x"),
        ("DESCRIBES_ANOTHER", Some(4), "which the plugin does not have"),
        ("REFUSES_TO_START", Some(4), "init"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        compiled(dir.path(), "test.library", "library.c", &[&format!("-DFAULT={fault}")], "", &scaled);
        let embedder = "model.embedders.4={plugin=\"scaled\",input_key=\"polar_rad\"}";
        let ran = run(&dir.path().join("run"), &[embedder], &dir.path().display().to_string());
        assert!(ran.code == code && ran.err.contains(words), "{fault}: {ran:#?}");
    }
}
