//! Native plugins: embedders over libtorch tensors, in the host's process.
//!
//! An embedder is a struct with settings, parameters that it declares and the host owns, and a `forward`. Autograd
//! records what `forward` does, so a trainable embedder needs no code of its own. A whole plugin:
//!
//! ```no_run
//! use plugin_api::native::prelude::*;
//!
//! /// One learned row for each class.
//! #[derive(Config)]
//! struct Settings {
//!     /// Number of classes.
//!     #[config(min = 1)]
//!     n_classes: i64,
//!     /// Width of a row.
//!     #[config(min = 1)]
//!     dim: i64,
//! }
//!
//! struct Class(Param);
//!
//! impl Embedder for Class {
//!     type Config = Settings;
//!     fn new(settings: Settings, params: &mut Params) -> Result<Self> {
//!         let shape = [settings.n_classes, settings.dim];
//!         Ok(Self(params.declare("embedding.weight", &shape, Init::Normal { std: 1.0 })))
//!     }
//!     fn forward(&self, call: &Call, inputs: &Inputs) -> Result<Outputs> {
//!         let rows = call.param(self.0).f_index_select(0, inputs.tensor()?)?;
//!         Ok(Outputs::to(Slot::Vector, rows))
//!     }
//! }
//!
//! export_plugin! { embedder "class" => Class }
//! # fn main() {}
//! ```
//!
//! It is built as a `cdylib` with the feature `native`, against the host's version of libtorch, and needs a
//! `plugin.toml` beside it:
//!
//! ```toml
//! schema-version = 1
//! id = "acme.class"
//! version = "0.1.0"
//!
//! [api]
//! abi = "1.0"
//!
//! [artifact.x86_64-unknown-linux-gnu]
//! path = "libacme_class.so"
//!
//! [torch]
//! link = "exact"
//! version = "2.11"
//!
//! [[entry]]
//! name = "class"
//! kind = "embedder"
//! schema = "schema/class.json"
//! ```
//!
//! Operations of tch come in two forms. Those that start with `f_` return errors, which `?` passes to the host as
//! text. The others panic, which the host reports too, but after a panic the instance is lost.

#[cfg(panic = "abort")]
compile_error!(
    "a native plugin must unwind, or its first panic ends the host: remove `panic = \"abort\"` from its profile"
);

mod embedder;
mod error;
mod export;
mod host;
mod panics;

/// Embedders run without a host, in a plugin's own unit tests.
pub mod testing;

pub use embedder::{Call, Embedder, Init, Input, Inputs, Outputs, Param, ParamDecl, Params, Slot};
pub use error::{Error, ErrorKind, Result};
pub use host::{Level, log, log_enabled};
pub use tch;

#[doc(hidden)]
pub use export::{Entry, plugin_api};

/// Exports embedders by name: `export_plugin! { embedder "class" => Class, embedder "scalar" => Scalar }`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_native_plugin {
    ($(embedder $name:literal => $embedder:ty),+ $(,)?) => {
        /// What the host looks up in the library.
        #[unsafe(no_mangle)]
        pub extern "C" fn anneal_plugin_entry_v1() -> *const $crate::abi::PluginApi {
            const ENTRIES: &[$crate::native::Entry] = &[$($crate::native::Entry::embedder::<$embedder>($name)),+];
            $crate::native::plugin_api(ENTRIES)
        }
    };
}
pub use crate::__export_native_plugin as export_plugin;

/// What the source of a plugin needs.
pub mod prelude {
    pub use super::{Call, Embedder, Error, Init, Input, Inputs, Outputs, Param, Params, Result, Slot, export_plugin};
    pub use crate::config::{Config, ConfigError};
    pub use tch::{Kind, Tensor};
}
