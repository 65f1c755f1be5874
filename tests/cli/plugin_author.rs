//! `plugin new`, `build` and `call`: from a name to a plugin that a run accepts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::run::{Ran, anneal, command, path};

const KINDS: [&str; 6] = ["discretization", "sigma-sampling", "guidance", "learning-rate", "weighting", "sampler"];

/// Begins a plugin in `dir/NAME`, with the dependencies of this workspace, and returns its folder.
fn begin(dir: &Path, id: &str, kind: &str) -> std::path::PathBuf {
    let folder = dir.join(id);
    let shown = folder.to_str().unwrap();
    let ran = anneal(&["plugin", "new", id, "--kind", kind, "--dir", shown, "--sdk", &path("plugin-api")]).succeeds();
    assert!(ran.out.contains("anneal plugin build"), "{ran:?}");
    // What is downloaded for the workspace is all that there is without a network.
    fs::copy(path("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// A folder for PATH whose programs are these scripts.
pub fn programs(dir: &Path, scripts: &[(&str, String)]) -> std::path::PathBuf {
    let folder = dir.join("programs");
    fs::create_dir_all(&folder).unwrap();
    for (program, script) in scripts {
        let file = folder.join(program);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    folder
}

/// `anneal plugin build`, without network, with what was compiled for the tests before.
fn build(folder: &Path) -> Ran {
    let target = path("target/authored");
    let mut build = command(&["plugin", "build", "--debug", folder.to_str().unwrap()]);
    build.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
    build.output().unwrap().into()
}

#[test]
fn every_template_builds_into_a_plugin_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let folder = begin(dir.path(), &format!("acme.my-{kind}"), kind);
        let schema = folder.join(format!("schema/my-{kind}.json"));
        let shipped = fs::read_to_string(&schema).unwrap();
        let built = build(&folder).succeeds();
        // The schema that comes with the template is that of its settings.
        assert_eq!(fs::read_to_string(&schema).unwrap(), shipped, "{kind}");
        assert!(built.out.contains(&format!("{kind} acme.my-{kind}/my-{kind}")), "{built:?}");
        let dist = folder.join("dist");
        let listed = anneal(&["plugin", "list", "--plugin-dir", dist.to_str().unwrap()]).succeeds();
        let row = listed.out.lines().find(|line| line.starts_with("acme.my-")).unwrap_or_default().to_owned();
        assert_eq!(row.split_whitespace().skip(1).collect::<Vec<_>>(), [kind, "wasm", "0.1.0"], "{listed:?}");
        // What its README tells to run does run.
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let line = readme.lines().find_map(|line| line.strip_prefix("    anneal plugin call"));
        assert_eq!(line.is_some(), kind != "sampler", "{readme}");
        if let Some(line) = line {
            let line = line.replace("--plugin-dir dist", &format!("--plugin-dir {}", dist.display()));
            let args: Vec<&str> = ["plugin", "call"].into_iter().chain(line.split_whitespace()).collect();
            assert!(anneal(&args).succeeds().out.contains("fuel "));
        }
    }
}

#[test]
fn native_plugins_in_rust_are_built_and_checked_by_cargo_test() {
    for (name, kind, of_kind) in [("rows", "embedder", "embedder"), ("line", "learned-weighting", "weighting")] {
        checked_by_cargo_test(name, kind, of_kind);
    }
}

fn checked_by_cargo_test(name: &str, kind: &str, of_kind: &str) {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path(), &format!("acme.{name}"), kind);
    let mut test = Command::new("cargo");
    test.arg("test").current_dir(&folder).env("ANNEAL", env!("CARGO_BIN_EXE_anneal")).env("OMP_NUM_THREADS", "1");
    test.env("CARGO_TARGET_DIR", path("target/authored")).env("CARGO_NET_OFFLINE", "true");
    let ran = Ran::from(test.output().unwrap()).succeeds();
    assert!(ran.out.contains(&format!("acme.{name}/{name}: {of_kind} L3 (")), "{ran:#?}");
}

#[test]
fn a_build_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path(), "acme.wrong", "weighting");
    let source = folder.join("src/lib.rs");
    let good = fs::read_to_string(&source).unwrap();
    fs::write(&source, good.replace("sigma.powi(-2)", "sigma.powi(\"2\")")).unwrap();
    build(&folder).fails(4, &["mismatched types", "cargo could not build acme.wrong"]);
    fs::write(&source, good.replace("weighting \"wrong\"", "weighting \"right\"")).unwrap();
    build(&folder).fails(4, &["lists the weighting `wrong`", "it exports weighting right"]);
    // A setting that is added to the code is added to its schema.
    fs::write(
        &source,
        good.replace("gamma: f64,\n}", "gamma: f64,\n    /// More.\n    #[config(default = 1)]\n    more: u32,\n}"),
    )
    .unwrap();
    let built = build(&folder).succeeds();
    assert!(built.out.contains("wrote ") && built.out.contains("schema/wrong.json"), "{built:?}");
    assert!(fs::read_to_string(folder.join("schema/wrong.json")).unwrap().contains("\"more\""));
    let manifest = fs::read_to_string(folder.join("dist/acme.wrong/plugin.toml")).unwrap();
    assert!(manifest.contains("sha256 = \"") && manifest.contains("# `anneal plugin build`"), "{manifest}");
}

#[test]
fn without_cargo_or_its_target_the_command_that_helps_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path(), "acme.lonely", "weighting");
    let with_path = |path: &Path| -> Ran {
        let mut build = command(&["plugin", "build", folder.to_str().unwrap()]);
        build.env("PATH", path).output().unwrap().into()
    };
    with_path(&programs(dir.path(), &[])).fails(4, &["cargo --version", "rustup"]);
    // A toolchain whose standard libraries are in a folder that is not there.
    let scripts = [("cargo", "echo cargo 1".to_owned()), ("rustc", "echo /no/such/folder".to_owned())];
    with_path(&programs(dir.path(), &scripts)).fails(4, &["rustup target add wasm32-unknown-unknown"]);
}

#[test]
fn a_native_plugin_is_described_by_its_library() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap().join("faulty");
    fs::create_dir_all(&folder).unwrap();
    for file in ["plugin.toml", "Cargo.toml"] {
        fs::copy(path(&format!("tests/plugins/faulty-native/{file}")), folder.join(file)).unwrap();
    }
    // To compile libtorch's bindings takes minutes: cargo is one that has done it before.
    let library = path("target/test-plugins/test.faulty-native/libfaulty_native.so");
    let message = serde_json::json!({
        "reason": "compiler-artifact",
        "manifest_path": folder.join("Cargo.toml"),
        "filenames": [library],
    });
    let programs = programs(dir.path(), &[("cargo", format!("echo '{message}'"))]);
    let build = |path: &Path| -> Ran {
        command(&["plugin", "build", folder.to_str().unwrap()]).env("PATH", path).output().unwrap().into()
    };
    let built = build(&programs).succeeds();
    assert!(built.out.contains("embedder test.faulty-native/faulty"), "{built:?}");
    let schema = fs::read_to_string(folder.join("schema/faulty.json")).unwrap();
    assert_eq!(schema, fs::read_to_string(path("tests/plugins/faulty-native/schema/faulty.json")).unwrap());
    let dist = folder.join("dist/test.faulty-native");
    assert_eq!(fs::read(dist.join("libfaulty_native.so")).unwrap(), fs::read(&library).unwrap());
    assert!(fs::read_to_string(dist.join("plugin.toml")).unwrap().contains("sha256 = \""));
}

#[test]
fn names_and_folders_of_new_plugins_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let new = |id: &str, folder: &Path| {
        anneal(&["plugin", "new", id, "--kind", "weighting", "--dir", folder.to_str().unwrap()])
    };
    for id in ["karras", "Acme.karras", "anneal.mine", "acme.", "acme/karras"] {
        new(id, &dir.path().join("x")).fails(2, &[id, "vendor.name"]);
    }
    fs::write(dir.path().join("mine.txt"), "").unwrap();
    new("acme.karras", dir.path()).fails(2, &["is not empty", "--dir"]);
    assert!(!dir.path().join("plugin.toml").exists());
    anneal(&["plugin", "build", dir.path().to_str().unwrap()]).fails(4, &["plugin.toml", "anneal plugin new"]);
}

#[test]
fn a_call_gives_what_the_function_returns_and_its_cost() {
    let plugins = path("target/plugins");
    let call = |args: &[&str]| anneal(&[&["plugin", "call"], args, &["--plugin-dir", &plugins]].concat());
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&call(&[args, &["--json"]].concat()).succeeds().out).unwrap()
    };
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let grid = json(&["anneal.discretizations/edm", "sigmas", "5", "--config", "{\"rho\": 1, \"sigma_max\": 8}"]);
    let sigmas = numbers(&grid["values"]);
    assert!((sigmas[0] - 8.0).abs() < 1e-9 && (sigmas[2] - 4.001).abs() < 1e-9, "{grid}");
    assert!(grid["fuel"].as_u64().unwrap() > 100 && grid["guest_time_us"].as_f64().unwrap() > 0.0, "{grid}");
    // Fuel is the same for the same work, and more for more.
    let again = json(&["anneal.discretizations/edm", "sigmas", "5", "--config", "{\"rho\": 1, \"sigma_max\": 8}"]);
    let more = json(&["anneal.discretizations/edm", "sigmas", "50", "--config", "rho=1"]);
    assert!(again["fuel"] == grid["fuel"] && more["fuel"].as_u64() > grid["fuel"].as_u64(), "{grid} {more}");
    assert_eq!(numbers(&json(&["min-snr", "weights", "0.1", "2", "--config", "gamma=3"])["values"]), [3.0, 0.25]);
    let scales = json(&["linear", "scales", "9", "1", "--frames", "3", "--config", "max_scale=3"]);
    assert_eq!(scales["values"], serde_json::json!([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]));
    let factors = json(&["anneal.learning-rates/constant", "factors", "1", "4", "--config", "warm_up_steps=4"]);
    assert_eq!((numbers(&factors["step"])[0], numbers(&factors["values"])[..2].to_vec()), (1.0, vec![0.5, 0.75]));
    let draws = json(&["anneal.sigma-sampling/edm", "sample", "3", "--config", "p_mean=0.0"]);
    assert!((numbers(&draws["values"])[1] - 1.0).abs() < 1e-9, "{draws}");

    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("grid.png");
    let ran =
        call(&["align-your-steps", "sigmas", "10", "--config", "model=\"svd\"", "--plot", picture.to_str().unwrap()]);
    assert!(ran.succeeds().out.contains("700"));
    assert_eq!(image::open(&picture).unwrap().width(), 720);

    call(&["edm", "sigmas", "3", "--config", "{\"rho\": 700}"]).fails(3, &["/rho", "700"]);
    call(&["edm", "sigmas", "3", "--config", "rho: 7"]).fails(3, &["neither JSON nor TOML"]);
    call(&["edm", "sigmas", "3.5"]).fails(2, &["whole numbers"]);
    call(&["euler-edm", "sigmas", "3"]).fails(4, &["is a sampler, where a discretization is wanted"]);
    call(&["legacy-ddpm", "sigmas", "100000"]).fails(4, &["anneal.discretizations/legacy-ddpm"]);
}
