//! Native plugins: shared libraries over the process's libtorch, called through the C ABI.

mod api;
mod call;
mod context;
mod crash;
mod embedder;
mod instance;
mod library;
mod ops;
/// What can be asked of a library, and of hosts that plugins are tried on.
pub mod probe;
mod table;
mod weighting;

pub use crash::report_crashes;
pub(super) use library::same_minor;
pub use library::{NativeError, NativeLibrary};
