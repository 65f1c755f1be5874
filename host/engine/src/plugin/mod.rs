//! Plugins: found, checked, loaded and called.

/// Shared libraries over the process's libtorch.
pub mod native;
