//! `cargo xtask parity`: the golden cases of the reference, alone.

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{plugins, process, setup};

/// Runs the cases; `args` pick them by parts of their names, `--markdown` prints a summary by family, `--release` builds
/// with full optimisation.
///
/// # Errors
/// When something cannot be set up or built, or a case fails.
pub fn run(paths: &Paths, args: &[String]) -> Result<(), Failure> {
    setup::run(paths, false)?;
    plugins::run(paths, plugins::With::Programs)?;
    let (release, args): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| *arg == "--release");
    let mut cargo = process::cargo(paths);
    cargo.args(["test", "--quiet", "--workspace", "--test", "parity"]);
    cargo.args(release.first().map(|_| "--release")).arg("--").args(args);
    process::run(&mut cargo)
}
