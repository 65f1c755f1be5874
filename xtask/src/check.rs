//! `cargo xtask check`: what a change must pass, the cheapest first.

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{process, setup, test, tidy};

/// Format, tidy, clippy, tests; the first that fails ends it.
///
/// # Errors
/// What failed, and the command that mends it where there is one.
pub fn run(paths: &Paths) -> Result<(), Failure> {
    println!("check: format");
    process::run(process::cargo(paths).args(["fmt", "--all", "--check"])).map_err(|failure| Failure {
        what: "the code is not formatted".to_owned(),
        help: "run `cargo fmt --all`".to_owned(),
        ..failure
    })?;
    println!("check: tidy");
    tidy::run(paths)?;
    setup::run(paths, false)?;
    println!("check: clippy");
    process::run(process::cargo(paths).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    println!("check: tests");
    test::run(paths, &[])
}
