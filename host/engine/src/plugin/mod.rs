//! Plugins: found, checked, loaded and called.

mod discovery;
mod error;
mod loaded;
mod manifest;
mod registry;

/// Shared libraries over the process's libtorch.
pub mod native;
/// Components: compiled, limited and checked.
pub mod wasm;

pub use discovery::{Decision, SearchPath, Verdict};
pub use error::PluginError;
pub use manifest::{Artifact, Manifest, ManifestEntry, Runtime, TorchLink};
pub use registry::{EntryRef, Plugin, Registry};
