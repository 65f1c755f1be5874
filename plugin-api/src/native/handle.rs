//! What an embedder computes with: the host's tensors by handle, or those of a libtorch of its own.

use crate::abi;

/// A tensor as the C ABI hands it over. [`Tensor`](super::Tensor) computes with the host's operations; with the feature
/// `tch`, tch's tensor computes by itself.
pub trait Handle: Sized + 'static {
    /// The libtorch that the plugin brings with it; empty for none.
    const TORCH_VERSION: &'static str;
    /// The oldest minor version of the C ABI whose host it works with.
    const ABI_MINOR_MIN: u16;

    /// Takes over a handle.
    ///
    /// # Safety
    /// `handle` must be live, and nobody else may release it, unless the result is never dropped.
    unsafe fn from_handle(handle: *mut abi::Tensor) -> Self;

    /// Gives the handle away.
    fn into_handle(self) -> *mut abi::Tensor;
}
