//! The SDK of plugin authors: settings, traits and export macros for native and WASM plugins.

// The derive names this crate as `plugin_api`, also in its own tests.
#[cfg(test)]
extern crate self as plugin_api;

/// A plugin's settings: one struct is the parser, the checks and the JSON Schema.
pub mod config;
/// The C ABI of native plugins.
#[cfg(feature = "abi")]
pub mod abi;
/// What a native plugin is written with.
#[cfg(feature = "native")]
pub mod native;
/// What a native plugin is written with that brings a libtorch of its own.
#[cfg(feature = "tch")]
pub mod tch;
/// WASM plugins: schedules, weightings and samplers.
#[cfg(feature = "wasm")]
pub mod wasm;
