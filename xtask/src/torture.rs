//! `cargo xtask torture`: the long version of the test that lets everything happen to a run.

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{plugins, process, setup};

/// Lets so many faults happen, and prints what came of them.
///
/// # Errors
/// When something cannot be set up or built, or a run does not keep what it promises.
pub fn run(paths: &Paths, faults: u64) -> Result<(), Failure> {
    setup::run(paths, false)?;
    plugins::run(paths, plugins::With::Programs)?;
    let mut cargo = process::cargo(paths);
    cargo.args(["test", "--workspace", "--test", "cli", "--", "torture", "--nocapture"]);
    process::run(cargo.env("ANNEAL_TORTURE", faults.to_string()))
}
