//! The programs that authors of plugins need, and what to do when one is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anneal_packaging::WASM_TARGET;

use super::failed;
use crate::exit::Failure;

/// The first line that a program prints about its version, if it can be started.
pub fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// A program in `inside`, a folder below a plugin's, or on PATH, if it can be started with `argument`.
pub fn found(folder: &Path, inside: &str, program: &str, argument: &str) -> Option<PathBuf> {
    let own = folder.join(inside).join(program);
    [own, PathBuf::from(program)].into_iter().find(|program| runs(Command::new(program).arg(argument)))
}

/// Whether a command can be started and ends well.
pub fn runs(command: &mut Command) -> bool {
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// Whether the toolchain that is used in `folder` has the standard library for WASM.
pub fn has_wasm_target(folder: &Path) -> bool {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    asked.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

/// Stops before a build that cannot succeed.
///
/// # Errors
/// When cargo or, for a WASM plugin, its target is missing; the help is the command that adds it.
pub fn check(folder: &Path, is_wasm: bool) -> Result<(), Failure> {
    if version("cargo", "--version").is_none() {
        return Err(failed("a plugin is built with cargo, and `cargo --version` fails", INSTALL_RUST));
    }
    if is_wasm && !has_wasm_target(folder) {
        let what = format!("WASM plugins need the target {WASM_TARGET}, which this Rust toolchain lacks");
        return Err(failed(what, add_wasm_target()));
    }
    Ok(())
}

/// How to get Rust.
pub const INSTALL_RUST: &str = "install Rust with rustup, https://rustup.rs";

/// How to get the standard library for WASM.
pub fn add_wasm_target() -> String {
    format!("run `rustup target add {WASM_TARGET}`")
}
