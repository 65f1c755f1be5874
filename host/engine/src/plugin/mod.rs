//! Plugins: found, checked, loaded and called.

/// Components: compiled, limited and checked.
pub mod wasm;
