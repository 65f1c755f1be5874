//! Native plugins: shared libraries over the process's libtorch, called through the C ABI.

mod api;
mod context;
mod embedder;
mod library;

pub use library::{NativeError, NativeLibrary};
