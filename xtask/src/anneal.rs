//! `cargo xtask anneal ARGS...`: the command line with everything it needs.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{plugins, process, setup};

/// Sets up, builds, and becomes the `anneal` process, so that signals and exit codes are its own.
///
/// # Errors
/// When something cannot be set up or built; it does not return otherwise.
pub fn run(paths: &Paths, args: &[String]) -> Result<(), Failure> {
    let error = command(paths)?.args(args).exec();
    Err(Failure::new(format!("cannot start anneal: {error}"), "run `cargo build` to see why"))
}

/// The built `anneal`, with set-up and plugins in place.
///
/// # Errors
/// When something cannot be set up or built.
pub fn command(paths: &Paths) -> Result<Command, Failure> {
    setup::run(paths, false)?;
    plugins::run(paths, plugins::With::Programs)?;
    Ok(Command::new(process::target_dir(paths)?.join("debug/anneal")))
}
