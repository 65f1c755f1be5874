//! Plugins in Rust: cargo builds the library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anneal_packaging::{WASM_TARGET, libraries};

use crate::exit::Failure;
use crate::plugin::source::Source;
use crate::plugin::{failed, tools};

/// Runs cargo, whose messages the user sees, and finds the library.
pub fn compile(source: &Source, debug: bool) -> Result<PathBuf, Failure> {
    tools::check(&source.folder, source.is_wasm)?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--lib", "--message-format=json-render-diagnostics"]).current_dir(&source.folder);
    if source.is_wasm {
        cargo.args(["--target", WASM_TARGET]);
    }
    if !debug {
        cargo.arg("--release");
    }
    // A native plugin that uses tch must be built against the libtorch that it will meet here.
    if let Some(libtorch) = libtorch().filter(|_| !source.is_wasm) {
        cargo.env("LIBTORCH", libtorch);
    }
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("cannot run cargo: {error}"), tools::INSTALL_RUST))?;
    if !output.status.success() {
        return Err(failed(format!("cargo could not build {}", source.id), "mend what cargo names above"));
    }
    let built = libraries(&String::from_utf8_lossy(&output.stdout));
    let ours = |folder: &Path| fs::canonicalize(folder).is_ok_and(|folder| folder == source.folder);
    let library = built.into_iter().find(|library| library.is_wasm() == source.is_wasm && ours(&library.folder));
    let library = library.map(|library| library.file);
    library.ok_or_else(|| {
        let help = "write `crate-type = [\"cdylib\", \"rlib\"]` below [lib] in Cargo.toml";
        failed(format!("cargo built no library of {}", source.id), help)
    })
}

/// The folder of the libtorch in this process, if it has the headers too.
fn libtorch() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    let folder = Path::new(&line[line.find('/')?..]).parent()?.parent()?.to_owned();
    folder.join("include").is_dir().then_some(folder)
}
