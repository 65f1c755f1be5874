//! Plugins: found, checked, loaded and called.

/// Shared libraries over the process's libtorch.
pub mod native;
/// Components: compiled, limited and checked.
pub mod wasm;

mod error;
mod manifest;
mod discovery;
mod trust;
mod archive;
mod registry;
mod loaded;
mod lock;
mod store;

pub use archive::{ArchiveError, pack, unpack};
pub use discovery::{Decision, NamedBy, SearchPath, Verdict};
pub use error::{PluginError, TrustError};
pub use lock::{Lock, LockError, LockedPlugin};
pub use manifest::{Example, ExampleInput, InputKind, Rows, Runtime, TorchLink, is_id};
pub use registry::{EntryRef, Plugin, Registry};
pub use store::{Added, StoreError, add, remove};
pub use trust::{TrustList, Trusted};
