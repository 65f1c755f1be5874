//! The Rust standard library for WASM plugins.

use std::path::Path;
use std::process::Command;

use anneal_packaging::WASM_TARGET as TARGET;

use crate::failure::Failure;
use crate::paths::Paths;
use crate::process;

/// Adds the target to the toolchain unless it is there.
///
/// # Errors
/// When rustup is missing or cannot fetch it.
pub fn ensure(paths: &Paths) -> Result<(), Failure> {
    let folder = process::output(Command::new("rustc").current_dir(&paths.root).args([
        "--print",
        "target-libdir",
        "--target",
        TARGET,
    ]))?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    println!("set-up: adding the target {TARGET} with rustup");
    process::run(Command::new("rustup").current_dir(&paths.root).args(["target", "add", TARGET])).map_err(|failure| {
        let what = if failure.what.is_empty() { "rustup could not add it".to_owned() } else { failure.what };
        Failure::new(
            format!("WASM plugins need the target {TARGET}: {what}"),
            format!("run `rustup target add {TARGET}` in {} where the network allows", paths.root.display()),
        )
    })
}
