//! From what a compiler wrote to a plugin's folder; `anneal plugin build` and `cargo xtask plugins` both do it so.

mod libraries;
mod component;
mod install;

pub use component::{encode, is_component, with_world};
pub use install::{FileError, Files, install, keep_only};
pub use libraries::{Library, libraries};

/// The target that WASM plugins are compiled for.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
