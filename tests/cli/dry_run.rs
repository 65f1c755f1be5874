//! Embedders over the host's operations are tried on shapes before the model is built.

use std::fs;

use super::native_conformance::{compiled, entry};
use super::run::{path, train};

#[test]
fn an_embedder_that_does_not_fit_is_told_before_the_model_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    let descriptor = r#"{"sdk":"c","entries":[{"name":"good","kind":"embedder"}]}"#;
    let flag = format!("-DDESCRIPTOR={descriptor:?}");
    compiled(&plugins, "test.embedders", "embedders.c", &[&flag], "", &entry("good", ""));
    let run = dir.path().join("run");
    let good = |key: &str| format!("model.embedders.4={{plugin=\"good\",input_key=\"{key}\"}}");
    // `[b*t]` angles by a parameter of four numbers: only shapes are needed to see that they do not fit.
    let ran = train(&run, &[&good("polar_rad")], &["--plugin-dir", &plugins.display().to_string()]);
    ran.fails(4, &["test.embedders/good: forward:", "must match the size of tensor"]);
    // A network whose vector is narrower than what one embedder alone gives.
    let class = "model.embedders.4={plugin=\"class-ops\",input_key=\"animation\",n_classes=3,dim=4096}";
    let ran = train(&run, &[class], &["--plugin-dir", &path("target/test-plugins")]);
    ran.fails(3, &["adm_in_channels", "give at least 4096"]);
    assert!(!fs::exists(run.join("checkpoints")).unwrap());
}
