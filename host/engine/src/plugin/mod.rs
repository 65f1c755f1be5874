//! Plugins: found, checked, loaded and called.

/// Shared libraries over the process's libtorch.
pub mod native;
/// Components: compiled, limited and checked.
pub mod wasm;

mod error;
mod manifest;
mod discovery;
mod registry;
mod loaded;

pub use discovery::{Decision, SearchPath, Verdict};
pub use error::PluginError;
pub use manifest::{Example, Runtime};
pub use registry::{EntryRef, Plugin, Registry};
