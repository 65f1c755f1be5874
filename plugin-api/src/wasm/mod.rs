//! WASM plugins: pure scalar functions of diffusion, and samplers that drive latents the host holds.
//!
//! A plugin is a `cdylib` crate; its traits are implemented on the settings themselves:
//!
//! ```
//! use plugin_api::wasm::prelude::*;
//!
//! /// The schedule of Karras et al. 2022.
//! #[derive(Config)]
//! struct Karras {
//!     /// Smallest sigma.
//!     #[config(default = 0.002, exclusive_min = 0.0)]
//!     sigma_min: f64,
//!     /// Largest sigma.
//!     #[config(default = 80.0, exclusive_min = 0.0)]
//!     sigma_max: f64,
//!     /// Exponent: the higher, the more steps at small sigmas.
//!     #[config(default = 7.0, min = 0.1, max = 100.0)]
//!     rho: f64,
//! }
//!
//! impl Discretization for Karras {
//!     fn sigmas(&self, n: u32) -> Result<Vec<f64>> {
//!         let (high, low) = (self.sigma_max.powf(1.0 / self.rho), self.sigma_min.powf(1.0 / self.rho));
//!         let last = f64::from(n.max(2) - 1);
//!         Ok((0..n).map(|i| (high + f64::from(i) / last * (low - high)).powf(self.rho)).collect())
//!     }
//! }
//!
//! export_plugin! { discretization "karras" => Karras }
//! # fn main() {}
//! ```
//!
//! The same code compiles natively, so its tests are plain `cargo test`; [`testing`] stands in for the host.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[allow(missing_docs)]
#[rustfmt::skip]
pub mod bindings;
/// The sigmas of DDPM models.
pub mod ddpm;
mod entry;
mod error;
mod export;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod glue;
mod kinds;
#[cfg(target_arch = "wasm32")]
#[path = "latent_wasm.rs"]
mod latent;
#[cfg(not(target_arch = "wasm32"))]
#[path = "latent_native.rs"]
mod latent;
/// The host's log.
pub mod log;
/// A host of plain numbers for a plugin's own tests.
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[doc(hidden)]
pub mod worlds;

pub use entry::{Entry, EntryDescriptor, Plugin, build};
pub use error::{Error, ErrorCode, Result};
pub use kinds::{Cost, Discretization, DrawKind, Guidance, LearningRate, Sampler, SigmaSampling, Weighting};
pub use latent::{Latent, Run};

/// What a plugin's source needs.
pub mod prelude {
    pub use super::{
        Cost, Discretization, DrawKind, Entry, Error, Guidance, Latent, LearningRate, Result, Run, Sampler,
        SigmaSampling, Weighting, log,
    };
    pub use crate::config::{Config, ConfigError, OneOrMany};
    pub use crate::export_plugin;
}
