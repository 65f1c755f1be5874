//! `cargo xtask test`: every test of the workspace, from a bare checkout.

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{plugins, process, setup};

/// Sets up, builds the plugins and runs `cargo test --workspace`, with `args` passed on.
///
/// # Errors
/// When something cannot be set up, does not compile or fails.
pub fn run(paths: &Paths, args: &[String]) -> Result<(), Failure> {
    setup::run(paths, false)?;
    plugins::run(paths, plugins::With::Tests)?;
    let mut cargo = process::cargo(paths);
    cargo.args(["test", "--workspace"]).args(args);
    // Tests run side by side already; threads of libtorch on top of that only wait for each other.
    for (name, value) in [("OMP_NUM_THREADS", "1"), ("OMP_WAIT_POLICY", "passive"), ("RUST_BACKTRACE", "1")] {
        if std::env::var_os(name).is_none() {
            cargo.env(name, value);
        }
    }
    process::run(&mut cargo)
}
