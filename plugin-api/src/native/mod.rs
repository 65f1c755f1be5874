//! Native plugins: embedders and weightings over the host's tensors, in the host's process.
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
//!         let rows = op::embedding(call.param(self.0), inputs.tensor()?)?;
//!         Ok(Outputs::to(Slot::Vector, rows))
//!     }
//! }
//!
//! export_plugin! { embedder "class" => Class }
//! # fn main() {}
//! ```
//!
//! It is built as a `cdylib` with the feature `native`, without any libtorch, and needs a `plugin.toml` beside it:
//!
//! ```toml
//! schema-version = 1
//! id = "acme.class"
//! version = "0.1.0"
//!
//! [api]
//! abi = "1.1"
//!
//! [artifact.x86_64-unknown-linux-gnu]
//! path = "libacme_class.so"
//!
//! [[entry]]
//! name = "class"
//! kind = "embedder"
//! schema = "schema/class.json"
//! ```
//!
//! # Operations
//!
//! All operations are the host's, called by name: [`op`] has functions for those that embedders need most, and
//! [`op!`] calls any other, `op!("aten::roll", "", x, [1], [2])?`. Their errors carry libtorch's text; after one the
//! embedder may go on or return it. Operations exist inside `forward` only. Those that write to an argument (`add_`,
//! `out=`) or draw random numbers are refused: inputs and parameters are read only, and random numbers come from
//! [`Call::normal`], so that a run can be repeated. New tensors ([`op::zeros`], [`Tensor::from_slice`]) are made where
//! the call's parameters and inputs are.
//!
//! A call costs half a microsecond more than in the host itself, and a few where autograd records (`anneal bench ops`
//! measures it), which is little beside what one operation does. A plugin that wants all of tch, or its own C++, links libtorch itself: see the
//! module `tch`, behind the feature of that name. In C, `anneal_plugin.h` describes the same functions.

#[cfg(panic = "abort")]
compile_error!(
    "a native plugin must unwind, or its first panic ends the host: remove `panic = \"abort\"` from its profile"
);

mod embedder;
mod error;
mod export;
mod handle;
mod host;
mod host_ops;
mod panics;
mod params;
mod tensor;
mod value;
mod weighting;

/// The host's operations.
pub mod op;

pub use embedder::{Call, Embedder, Input, Inputs, Outputs, Slot};
pub use error::{Error, ErrorKind, Result};
pub use handle::Handle;
pub use host::{Level, log, log_enabled};
pub use params::{Init, Param, ParamDecl, Params};
pub use tensor::{Device, Dtype, Element, Tensor};
pub use weighting::{Weighed, Weighting};

#[cfg(feature = "tch")]
pub(crate) use error::without_backtrace;

pub use crate::__native_op as op;

#[doc(hidden)]
pub use export::{Entry, plugin_api};

/// Exports embedders and weightings by name: `export_plugin! { embedder "class" => Class, weighting "u" => Learned }`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_native_plugin {
    ($($kind:ident $name:literal => $entry:ty),+ $(,)?) => {
        /// What the host looks up in the library.
        #[unsafe(no_mangle)]
        pub extern "C" fn anneal_plugin_entry_v1() -> *const $crate::abi::PluginApi {
            const ENTRIES: &[$crate::native::Entry] = &[$($crate::native::Entry::$kind::<$entry, _>($name)),+];
            $crate::native::plugin_api(ENTRIES)
        }
    };
}
pub use crate::__export_native_plugin as export_plugin;

/// What the source of a plugin needs.
pub mod prelude {
    pub use super::op::Absent;
    pub use super::{Call, Embedder, Error, Init, Input, Inputs, Outputs, Param, Params, Result, Slot, export_plugin};
    pub use super::{Device, Dtype, Tensor, Weighed, Weighting, op};
    pub use crate::config::{Config, ConfigError};
}
