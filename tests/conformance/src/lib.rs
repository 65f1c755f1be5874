//! Whether a plugin does what its kind promises: checks with an id and a sentence each, every one in a process of its own.
//!
//! [`Run::plugin`] is the parent, which executes nothing of the plugin. It starts the same program again for each check;
//! that process calls [`work`].

/// One check: its id, what it demands, and how it finds out.
pub mod check;
/// The checks, by what they are about.
mod checks;
/// What authors expect to fail.
pub mod expectations;
/// What a check works on.
mod subject;
/// Settings made of a schema.
mod settings;
/// Models whose answer is known.
mod models;
/// Embedders that are tried.
mod trial;
/// What a plugin must leave as it found it.
mod process_state;
/// The child: one check.
mod work;
/// The parent: processes, limits, results.
mod run;
/// What came of the checks, and whether that is enough.
pub mod result;
/// Output for people and for programs.
pub mod report;

pub use checks::catalogue;
pub use run::{Progress, Run, RunError};
pub use work::work;

/// The version of the suite: the second number counts new checks, the first other demands.
pub const SUITE: &str = "1.0";
