//! Native plugins: shared libraries over the process's libtorch, called through the C ABI.

mod api;
mod context;
mod crash;
mod embedder;
mod library;
mod ops;
/// Hosts that plugins are tried on.
pub mod probe;

pub use crash::report_crashes;
pub(super) use library::same_minor;
pub use library::{NativeError, NativeLibrary};
