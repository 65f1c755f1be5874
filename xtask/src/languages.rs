//! `cargo xtask languages`: plugins in C, JavaScript and Python, with the tools that the other tests do without.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{plugins, process, setup};

/// What is fetched with pip: the versions that were tried. That of componentize-py is the one new plugins ask for.
const FROM_PIP: [&str; 2] = ["componentize-py==0.25.1", "ziglang==0.17.1"];
/// What is fetched with npm, as new plugins ask for it.
const FROM_NPM: &str = "componentize-qjs@0.4.5";

/// Fetches the tools into `target/languages` once, and runs the tests that need them: each template is built, reaches L3
/// untouched, and gives the numbers that the other languages give.
///
/// # Errors
/// When a tool cannot be fetched, or a test fails.
pub fn run(paths: &Paths) -> Result<(), Failure> {
    setup::run(paths, false)?;
    let folder = paths.root.join("target/languages");
    let start = Instant::now();
    let tools = fetch(&folder)?;
    println!("languages: the tools are in {} ({:.0} s)", folder.display(), start.elapsed().as_secs_f64());
    plugins::run(paths, plugins::With::Programs)?;
    let mut cargo = process::cargo(paths);
    cargo.args(["test", "--workspace", "--test", "cli", "--", "plugin_languages", "guide"]);
    cargo.args(["--ignored", "--nocapture", "--test-threads", "1"]).env("PATH", before(&tools));
    cargo.env("OMP_NUM_THREADS", "1");
    process::run(&mut cargo)
}

/// The folders of programs, after the tools are there.
fn fetch(folder: &Path) -> Result<[PathBuf; 2], Failure> {
    let [python, node] = [folder.join("venv"), folder.join("node")];
    fs::create_dir_all(&node).map_err(|error| Failure::file("write", &node, &error))?;
    let programs = [python.join("bin"), node.join("node_modules/.bin")];
    if !programs[0].join("componentize-py").is_file() {
        process::run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
        process::run(Command::new(programs[0].join("pip")).args(["install", "--quiet"]).args(FROM_PIP))?;
    }
    if !programs[1].join("componentize-qjs").is_file() {
        process::run(
            Command::new("npm").args(["install", "--silent", "--no-save", "--prefix"]).arg(&node).arg(FROM_NPM),
        )?;
    }
    Ok(programs)
}

/// PATH with folders before it.
fn before(folders: &[PathBuf]) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(env::split_paths(&path));
    env::join_paths(all).unwrap_or(path.clone())
}
