//! Embedders without libtorch in real runs: in Rust and in C, they train as the bundled one does, bit for bit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::run::{checkpoint_file, path, train};

/// The example in C, compiled into a plugin directory.
pub fn compile(dir: &Path) {
    let folder = dir.join("test.class-c");
    fs::create_dir_all(folder.join("schema")).unwrap();
    let example = path("plugin-api/examples/class-c");
    for file in ["plugin.toml", "schema/class-c.json"] {
        fs::copy(Path::new(&example).join(file), folder.join(file)).unwrap();
    }
    let status = Command::new("cc")
        .args(["-std=c11", "-shared", "-fPIC", "-I", &path("plugin-api/include"), &format!("{example}/class.c"), "-o"])
        .arg(folder.join("libclass_c.so"))
        .status();
    assert!(status.expect("a C compiler is needed to build anneal").success());
    for path in ["", "schema", "plugin.toml", "schema/class-c.json", "libclass_c.so"] {
        fs::set_permissions(folder.join(path), PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[test]
fn an_embedder_in_c_trains_as_the_bundled_one_does() {
    let dir = tempfile::tempdir().unwrap();
    compile(dir.path());
    let weights = |embedder: &str| {
        let run = dir.path().join(embedder);
        let settings =
            "input_key=\"animation\",n_classes=3,dim=64,add_sequence_dim=true,is_trainable=true,ucg_rate=0.1";
        let plugin = format!("model.embedders.4={{plugin=\"{embedder}\",{settings}}}");
        let flags = ["--plugin-dir", &dir.path().to_string_lossy()];
        train(&run, &["train.steps=2", &plugin], &flags).succeeds();
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        assert!(text.lines().count() > 0);
        checkpoint_file(&run, 2, "model.safetensors")
    };
    // The table is part of what is compared: it starts from the run's seed, and its gradient came back from the plugin.
    assert!(weights("class") == weights("class-c"));
}
