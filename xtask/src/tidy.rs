//! `cargo xtask tidy`: the repository's own rules.

use crate::failure::Failure;
use crate::paths::Paths;

/// Prints each breach of a rule as `file:line: what is wrong`.
///
/// # Errors
/// When there is one.
pub fn run(paths: &Paths) -> Result<(), Failure> {
    let findings =
        anneal_tidy::check(&paths.root).map_err(|error| Failure::new(error.to_string(), "run it in a checkout"))?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("{} breaches of the repository's rules", findings.len()),
        "CONTRIBUTING.md says why each rule is there",
    ))
}
