//! tch in native plugins, for who wants all of it and builds for one version of libtorch.
//!
//! The feature `tch` turns [tch](https://docs.rs/tch) into a second way to write an embedder: `impl Embedder<Tensor>`
//! with this module's prelude, whose `Tensor` is tch's. The rest is as in [`native`](crate::native). The library links
//! libtorch, must be built against the host's version, and says so in `plugin.toml`:
//!
//! ```toml
//! [torch]
//! link = "exact"
//! version = "2.11"
//! ```
//!
//! ```no_run
//! use plugin_api::tch::prelude::*;
//!
//! /// Takes none.
//! #[derive(Config)]
//! struct Settings {}
//!
//! struct Doubled;
//!
//! impl Embedder<Tensor> for Doubled {
//!     type Config = Settings;
//!     fn new(_: Settings, _: &mut Params) -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn forward(&self, _: &Call, inputs: &Inputs) -> Result<Outputs> {
//!         Ok(Outputs::by_rank(inputs.tensor()? * 2.0))
//!     }
//! }
//!
//! export_plugin! { embedder "doubled" => Doubled }
//! # fn main() {}
//! ```
//!
//! Operations of tch come in two forms. Those that start with `f_` return errors, which `?` passes to the host as
//! text. The others panic, which the host reports too, but after a panic the instance is lost.

use std::mem::ManuallyDrop;

pub use ::tch::*;

use crate::abi;
use crate::native::{Error, ErrorKind, Handle, without_backtrace};

/// Embedders run without a host, in a plugin's own unit tests.
pub mod testing;

impl Handle for ::tch::Tensor {
    const TORCH_VERSION: &'static str = env!("ANNEAL_TORCH_VERSION");
    const ABI_MINOR_MIN: u16 = 0;

    unsafe fn from_handle(handle: *mut abi::Tensor) -> Self {
        // SAFETY: as the caller promises; a handle of the host is one of the process's libtorch.
        unsafe { Self::from_ptr(handle.cast()) }
    }

    fn into_handle(self) -> *mut abi::Tensor {
        ManuallyDrop::new(self).as_mut_ptr().cast()
    }
}

impl From<::tch::TchError> for Error {
    fn from(error: ::tch::TchError) -> Self {
        let text = match error {
            ::tch::TchError::Torch(text) => text,
            other => other.to_string(),
        };
        Self::new(ErrorKind::Torch, format!("libtorch: {}", without_backtrace(&text)))
    }
}

/// What the source of a plugin needs.
pub mod prelude {
    pub use crate::config::{Config, ConfigError};
    pub use crate::native::{Embedder, Error, Init, Param, Params, Result, Slot, Weighting, export_plugin};
    pub use ::tch::{Kind, Tensor};

    /// What a call is about, beside its inputs.
    pub type Call<'a> = crate::native::Call<'a, Tensor>;
    /// An entry of the batch.
    pub type Input<'a> = crate::native::Input<'a, Tensor>;
    /// The inputs of a call.
    pub type Inputs<'a> = crate::native::Inputs<'a, Tensor>;
    /// The embeddings of a call.
    pub type Outputs = crate::native::Outputs<Tensor>;
    /// What a weighting makes of sigmas.
    pub type Weighed = crate::native::Weighed<Tensor>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_tch_is_the_first_lines_of_libtorchs() {
        let text = "mat1 and mat2 shapes cannot be multiplied\nException raised from meta at x.cpp:210\nframe #0: ...";
        let error = Error::from(::tch::TchError::Torch(text.to_owned()));
        assert_eq!(error.message, "libtorch: mat1 and mat2 shapes cannot be multiplied");
    }
}
