//! `cargo xtask setup`: everything a build needs that cargo does not fetch.

mod clips;
mod cuda;
mod fox;
mod libtorch;
mod python_env;
mod tools;
mod wasm_target;
mod wheel;

use std::fs::{self, File};

use crate::failure::Failure;
use crate::paths::Paths;

/// Brings the machine to where plain `cargo build`, `cargo test` and `cargo run` work. It is quick, and silent, when
/// everything is there.
///
/// # Errors
/// What is missing, with the command that mends it.
pub fn run(paths: &Paths, cuda: bool) -> Result<(), Failure> {
    tools::check_platform()?;
    tools::check_compiler()?;
    let _lock = lock(paths)?;
    let libtorch = libtorch::ensure(paths)?;
    wasm_target::ensure(paths)?;
    fox::ensure(paths)?;
    if cuda {
        cuda::ensure(paths, &libtorch)?;
    }
    Ok(())
}

/// Fetches the data that only some configs need.
///
/// # Errors
/// When it cannot be fetched or written.
pub fn data(paths: &Paths) -> Result<(), Failure> {
    let _lock = lock(paths)?;
    fox::ensure(paths)?;
    clips::ensure(paths)
}

/// Two set-ups at once would unpack into each other; the second waits for the first.
fn lock(paths: &Paths) -> Result<File, Failure> {
    fs::create_dir_all(&paths.cache).map_err(|error| Failure::file("create", &paths.cache, &error))?;
    let path = paths.cache.join("setup.lock");
    let file = File::create(&path).map_err(|error| Failure::file("create", &path, &error))?;
    file.lock().map_err(|error| Failure::file("lock", &path, &error))?;
    Ok(file)
}
