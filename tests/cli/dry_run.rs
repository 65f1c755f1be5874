//! Embedders over the host's operations are tried on shapes before the model is built.

use std::fs;

use super::native_conformance::{compiled, entry};
use super::run::train;

#[test]
fn an_embedder_that_does_not_fit_is_told_before_the_model_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    let descriptor = r#"{"sdk":"c","entries":[{"name":"good","kind":"embedder"},{"name":"widens","kind":"embedder"}]}"#;
    let flag = format!("-DDESCRIPTOR={descriptor:?}");
    let entries = entry("good", "") + &entry("widens", "");
    compiled(&plugins, "test.embedders", "embedders.c", &[&flag], "", &entries);
    let run = dir.path().join("run");
    let flags = ["--plugin-dir", &plugins.display().to_string()];
    // Pictures of 16 columns by a parameter of four numbers: only shapes are needed to see that they do not fit.
    let good = "model.embedders.4={plugin=\"good\",input_key=\"cond_image\"}";
    train(&run, &[good], &flags).fails(4, &["test.embedders/good: forward:", "must match the size of tensor"]);
    // A network whose vector is narrower than what one embedder alone gives. Were the model built first, all of them
    // would have been counted.
    let widens = "model.embedders.4={plugin=\"widens\",input_key=\"polar_rad\"}";
    train(&run, &[widens], &flags).fails(3, &["adm_in_channels", "give at least 4096", "demo.toml:47"]);
    assert!(!fs::exists(run.join("checkpoints")).unwrap());
}
