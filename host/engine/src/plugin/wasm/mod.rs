//! WASM plugins: components compiled once, run within limits, and believed only after their results are checked.
//!
//! A plugin is a pure function of its inputs: the host makes every draw and holds every tensor, and a component can
//! import nothing but the interfaces of `anneal:plugin`, and, where its manifest asks for it, a WASI with nothing behind it.

mod ask;
mod bindings;
mod cache;
mod component;
mod contract;
mod entry;
mod imports;
mod limits;
mod null_wasi;
mod report;
mod runtime;
mod sampler;
mod schedules;
mod session;
mod state;
mod stats;

pub use ask::{Answer, Asked, NoAnswer, Question};
pub use cache::CodeCache;
pub use component::{Diagnostic, WasmPlugin};
pub use entry::Cost;
pub use runtime::WasmRuntime;
pub use stats::{Stats, stats};

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod tests;
