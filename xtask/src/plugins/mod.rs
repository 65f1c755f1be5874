//! `cargo xtask plugins`: from plugin crates to plugin directories.

mod manifest;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anneal_packaging::{WASM_TARGET, encode, install, keep_only, libraries};

use self::manifest::{Manifest, Runtime};
use crate::failure::Failure;
use crate::paths::Paths;
use crate::process;

/// The profile of WASM plugins, in the root Cargo.toml.
const WASM_PROFILE: &str = "wasm";

/// What is built with the plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// The programs of the workspace.
    Programs,
    /// Its tests too.
    Tests,
}

/// Builds every plugin below `plugins` into `target/plugins` and every one below `tests/plugins` and
/// `tests/conformance` into `target/test-plugins`, each into the folder of its id. What has not changed is not written.
///
/// The native build takes the whole workspace along: cargo unifies features over what it is asked to build, so a build
/// of the plugins alone would compile the libraries under them a second time. Tests need more features than programs,
/// so where they follow they are built at once.
///
/// # Errors
/// When a manifest is wrong, a crate does not compile, or its module is no component.
pub fn run(paths: &Paths, with: With) -> Result<(), Failure> {
    let bundled = manifests_below(&paths.root.join("plugins"))?;
    let mut for_tests = manifests_below(&paths.root.join("tests/plugins"))?;
    for_tests.extend(manifests_below(&paths.root.join("tests/conformance"))?);
    let all: Vec<&Manifest> = bundled.iter().chain(&for_tests).collect();
    let mut native = process::cargo(paths);
    native.args(["build", "--workspace"]);
    if with == With::Tests {
        native.arg("--all-targets");
    }
    let mut artifacts = build(&mut native)?;
    let wasm: Vec<&str> = all.iter().filter_map(|manifest| manifest.package_for(Runtime::Wasm)).collect();
    if !wasm.is_empty() {
        let mut cargo = process::cargo(paths);
        cargo.args(["build", "--target", WASM_TARGET, "--profile", WASM_PROFILE]);
        cargo.args(wasm.iter().flat_map(|package| ["--package", *package]));
        artifacts.extend(build(&mut cargo)?);
    }
    install_all(&bundled, &artifacts, &paths.plugins())?;
    install_all(&for_tests, &artifacts, &paths.test_plugins())
}

/// Compiled libraries by the folder of their crate and how they run.
type Artifacts = BTreeMap<(PathBuf, Runtime), PathBuf>;

/// Runs a cargo build and gathers the dynamic libraries it reports.
fn build(cargo: &mut Command) -> Result<Artifacts, Failure> {
    let output = cargo
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}"), "install rustup"))?;
    if !output.status.success() {
        return Err(Failure::silent(process::exit_code(output.status)));
    }
    let built = libraries(&String::from_utf8_lossy(&output.stdout)).into_iter().map(|library| {
        let runtime = if library.is_wasm() { Runtime::Wasm } else { Runtime::Native };
        ((library.folder, runtime), library.file)
    });
    Ok(built.collect())
}

fn install_all(manifests: &[Manifest], artifacts: &Artifacts, folder: &Path) -> Result<(), Failure> {
    let mut ids = Vec::new();
    for manifest in manifests {
        let files = match manifest.runtime() {
            None => manifest.all_files()?,
            Some(runtime) => {
                let file = artifacts.get(&(manifest.folder.clone(), runtime)).ok_or_else(|| manifest.not_built())?;
                let mut bytes = fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
                if runtime == Runtime::Wasm {
                    bytes = encode(&bytes).map_err(|problem| manifest.not_a_component(&problem))?;
                }
                manifest.files_with(bytes)?
            }
        };
        if install(folder, &manifest.id, &files)? {
            println!("plugins: {} is in {}", manifest.id, folder.join(&manifest.id).display());
        }
        ids.push(manifest.id.as_str());
    }
    Ok(keep_only(folder, &ids)?)
}

/// The manifests of all folders below `folder` that have a `plugin.toml`, by path.
fn manifests_below(folder: &Path) -> Result<Vec<Manifest>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        if folder.join("plugin.toml").is_file() {
            found.push(Manifest::read(&folder)?);
            continue;
        }
        let entries = fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
        open.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()));
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}
