//! The repository's own rules, each a function from its files to what breaks the rule.

/// The files of a checkout, and what a finding is.
pub mod repository;
/// Rust source without its comments and strings.
pub mod code;
/// Modules of a library use only what its `lib.rs` lists above them.
pub mod modules;
/// Packages depend only on the floors below them, and inherit the workspace's lints.
pub mod packages;
/// Every source file opens with a sentence, and none is too long.
pub mod sources;
/// `unsafe`, printing and the environment stay where they belong.
pub mod places;
/// Nothing names this or that machine, or a package registry's host.
pub mod machines;
/// Links in the docs lead somewhere, and every config is named in them.
pub mod docs;

use std::io;
use std::path::Path;

pub use repository::{Finding, Repository};

/// A rule: it finds what breaks it.
pub type Rule = fn(&Repository) -> Vec<Finding>;

/// All rules.
pub const RULES: [Rule; 12] = [
    modules::use_only_what_stands_above,
    packages::use_only_lower_floors,
    packages::inherit_lints,
    sources::open_with_a_sentence,
    sources::are_not_too_long,
    places::unsafe_stays_in_its_places,
    places::only_commands_print,
    places::only_config_reads_the_environment,
    machines::are_not_named,
    docs::links_lead_somewhere,
    docs::anchors_are_headings,
    docs::every_config_is_named,
];

/// Holds a checkout against all rules.
///
/// # Errors
/// When its files cannot be listed or read.
pub fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let repository = Repository::read(root)?;
    Ok(RULES.iter().flat_map(|rule| rule(&repository)).collect())
}
