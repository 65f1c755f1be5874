//! `config` and `plugin`: what they print, and that nothing is hard-wired.

use crate::run::{anneal, path, root};

fn configs() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("configs")).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().path().to_string_lossy().into_owned()).filter(|p| p.ends_with(".toml")).collect();
    names.sort();
    assert!(names.len() >= 2, "{names:?}");
    names
}

#[test]
fn every_shipped_config_is_fine_and_shows_as_a_config() {
    let dir = tempfile::tempdir().unwrap();
    let needs_nothing = ["demo.toml", "emoji.toml", "autoencoder_tiny.toml"];
    for config in configs() {
        let ran = anneal(&["config", "check", &config]);
        if !needs_nothing.iter().any(|name| config.ends_with(name)) && ran.code != Some(0) {
            // What a person has to bring is all that is missing. A list of clips is there, but perhaps not what it
            // names, or no decoder of it.
            let remedies = ["run `cargo xtask data`", "install ffmpeg"];
            if ran.code == Some(5) && (config.contains("clips") || config.ends_with("svd_tiny.toml")) {
                assert!(remedies.iter().any(|remedy| ran.err.contains(remedy)), "{ran:#?}");
                continue;
            }
            let faults = ran.err.lines().filter(|line| line.contains(".toml:"));
            assert!(faults.clone().count() > 0, "{ran:#?}");
            for fault in faults {
                let lacks = [": there is no f", ": no file is called"].iter().chain(&remedies);
                assert!(lacks.clone().any(|lack| fault.contains(lack)), "{config}: {fault}");
            }
            continue;
        }
        let ran = ran.succeeds();
        assert!(ran.out.contains("fine"), "{ran:?}");
        // What is shown is complete: it loads by itself and shows the same again.
        let shown = anneal(&["config", "show", &config]).succeeds().out;
        let copy = dir.path().join("copy.toml");
        std::fs::write(&copy, &shown).unwrap();
        assert_eq!(anneal(&["config", "show", copy.to_str().unwrap()]).succeeds().out, shown);
    }
}

#[test]
fn without_the_plugin_directory_no_config_works() {
    for config in configs() {
        let empty = tempfile::tempdir().unwrap();
        let ran =
            anneal(&["config", "check", &config, "--set", &format!("plugins.dirs=[\"{}\"]", empty.path().display())]);
        ran.fails(3, &["plugin", "cargo xtask plugins", ".toml:"]);
    }
}

#[test]
fn at_least_25_plugin_entries_are_listed_with_kind_runtime_and_version() {
    let dir = path("target/plugins");
    let ran = anneal(&["plugin", "list", "--plugin-dir", &dir]).succeeds();
    let rows: Vec<Vec<&str>> = ran.out.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.len() >= 25, "{}", ran.out);
    for kind in ["embedder", "weighting", "discretization", "sigma-sampling", "guidance", "learning-rate", "sampler"] {
        assert!(rows.iter().any(|row| row[1] == kind), "no {kind}");
    }
    assert!(
        rows.iter()
            .all(|row| row.len() == 4 && (row[2] == "wasm" || row[2] == "native") && row[3].split('.').count() == 3)
    );
    let info = anneal(&["plugin", "info", "anneal.samplers", "--plugin-dir", &dir]).succeeds();
    assert!(info.out.contains("euler-edm") && info.out.contains("s_churn"), "{}", info.out);
    let explained = anneal(&["plugin", "list", "--explain", "--plugin-dir", &dir]).succeeds();
    assert!(explained.out.contains("target/plugins"), "{}", explained.out);
    anneal(&["plugin", "info", "anneal.sampler", "--plugin-dir", &dir]).fails(4, &["anneal.samplers"]);
}

#[test]
fn a_plan_needs_neither_files_nor_data() {
    // Fine-tuning from weights that are not there, on clips that are not there.
    let config = path("configs/finetune/svd.toml");
    let plugins = path("target/plugins");
    let plan = |more: &[&str]| anneal(&[&["plan", &config, "--plugin-dir", &plugins], more].concat()).succeeds().out;
    let table = plan(&[]);
    for text in ["1,524,623,082", "moments of the optimizer", "a checkpoint is"] {
        assert!(table.contains(text), "{text:?} is not in {table}");
    }
    let json =
        |more: &[&str]| -> serde_json::Value { serde_json::from_str(&plan(&[&["--json"], more].concat())).unwrap() };
    let whole = json(&["--set", "model.trainable=[\"*\"]"]);
    let network = |plan: &serde_json::Value, what: &str| {
        let parts = plan["parts"].as_array().unwrap();
        parts.iter().find(|part| part["name"] == "network").unwrap()[what].as_u64().unwrap()
    };
    assert_eq!(network(&whole, "parameters"), 1_524_623_082);
    assert_eq!(network(&whole, "trained"), 1_524_623_082);
    let temporal = json(&["--set", "model.trainable=[\"temporal\"]"]);
    assert!(network(&temporal, "trained") < 700_000_000);
    // Four bytes for each parameter that moves.
    let bytes = |plan: &serde_json::Value, what: &str| plan["bytes"][what].as_u64().unwrap();
    assert_eq!(bytes(&temporal, "gradients"), 4 * network(&temporal, "trained"));
    assert!(bytes(&temporal, "moments") < bytes(&whole, "moments"));
    anneal(&["config", "check", &config, "--plugin-dir", &plugins]).fails(3, &["svd"]);
}

#[test]
fn the_schema_of_an_autoencoders_config_is_another() {
    let schema = |more: &[&str]| -> serde_json::Value {
        let plugins = path("target/plugins");
        let args = [&["config", "schema", "--plugin-dir", &plugins], more].concat();
        serde_json::from_str(&anneal(&args).succeeds().out).unwrap()
    };
    let (diffusion, autoencoder) = (schema(&[]), schema(&["--autoencoder"]));
    let has = |schema: &serde_json::Value, name: &str| schema["properties"].get(name).is_some();
    assert!(has(&diffusion, "model") && !has(&diffusion, "autoencoder"));
    assert!(has(&autoencoder, "autoencoder") && !has(&autoencoder, "model"));
    assert!(autoencoder.to_string().contains("discriminator") && !diffusion.to_string().contains("discriminator"));
}

#[test]
fn the_schema_knows_the_plugins_settings() {
    let ran = anneal(&["config", "schema", "--plugin-dir", &path("target/plugins")]).succeeds();
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let text = schema.to_string();
    for word in ["s_churn", "period_fusing", "channel_mult", "scenes_per_epoch"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn help_names_the_verbs_and_the_exit_codes() {
    let ran = anneal(&["--help"]).succeeds();
    for word in ["train", "sample", "config", "plugin", "data", "bench", "130", "143"] {
        assert!(ran.out.contains(word), "{word}");
    }
    assert!(anneal(&["train", "--help"]).succeeds().out.contains("Examples:"));
    anneal(&["trian"]).fails(2, &["train"]);
}
