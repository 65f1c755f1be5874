//! The host's tensor operations, as the SDK calls them.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::error::{Error, ErrorKind, Result};
use super::handle::Handle;
use super::host::{Host, too_old};
use super::tensor::{Dtype, Tensor};
use super::value::Value;
use crate::abi::{self, HostApi, Kwarg, Status, status};

/// A function of the host's table, or why there is none.
macro_rules! function {
    ($host:expr, $name:ident) => {
        // SAFETY: the table lives as long as the process, and is as long as it says.
        unsafe { abi::member!($host.api, HostApi, $name) }.ok_or_else(|| too_old(stringify!($name)))
    };
}

impl Host {
    /// The error of a host function that returned `code`, in the host's words.
    fn outcome(&self, code: Status) -> Result<()> {
        let kind = match code {
            status::OK => return Ok(()),
            status::ARGUMENT => ErrorKind::Argument,
            status::UNSUPPORTED => ErrorKind::Unsupported,
            status::TORCH => ErrorKind::Torch,
            _ => ErrorKind::Internal,
        };
        let last_error = function!(self, last_error)?;
        // SAFETY: the context is that of the running call or of the plugin, and the text lasts until the next failure.
        let text = unsafe { last_error(self.ctx()).to_text() };
        Err(Error::new(kind, text))
    }

    /// Another handle of a tensor; null when there is no memory for it.
    pub(super) fn retain(&self, handle: *mut abi::Tensor) -> *mut abi::Tensor {
        // SAFETY: the handle is live.
        function!(self, tensor_retain).map_or(ptr::null_mut(), |retain| unsafe { retain(handle) })
    }

    /// Frees a handle that is ours.
    pub(super) fn release(&self, handle: *mut abi::Tensor) {
        if let Ok(release) = function!(self, tensor_release) {
            // SAFETY: the handle is live, and given up here.
            unsafe { release(handle) };
        }
    }

    pub(super) fn tensor_info(&self, tensor: &Tensor, info: &mut abi::TensorInfo) -> Result<()> {
        let tensor_info = function!(self, tensor_info)?;
        // SAFETY: the handle is live, and the struct says how long it is.
        self.outcome(unsafe { tensor_info(self.ctx(), tensor.handle(), info) })
    }

    /// # Safety
    /// `data` must point to as many values of the dtype as the sizes say.
    pub(super) unsafe fn tensor_from_host(&self, data: *const c_void, dtype: Dtype, sizes: &[i64]) -> Result<Tensor> {
        let from_host = function!(self, tensor_from_host)?;
        let mut out = ptr::null_mut();
        // SAFETY: as the caller promises; sizes and the place for the handle outlive the call.
        let code = unsafe { from_host(self.ctx(), data, dtype.0, sizes.len() as i32, sizes.as_ptr(), &raw mut out) };
        self.outcome(code)?;
        // SAFETY: the host hands over a live handle.
        Ok(unsafe { Tensor::from_handle(out) })
    }

    /// # Safety
    /// `dst` must be writable for `bytes` bytes.
    pub(super) unsafe fn tensor_to_host(&self, tensor: &Tensor, dst: *mut c_void, bytes: usize) -> Result<()> {
        let to_host = function!(self, tensor_to_host)?;
        // SAFETY: as the caller promises, and the handle is live.
        self.outcome(unsafe { to_host(self.ctx(), tensor.handle(), dst, bytes) })
    }

    pub(super) fn op_find(&self, name: &CStr, overload: &CStr) -> Result<*const abi::Op> {
        let find = function!(self, op_find)?;
        let mut out = ptr::null();
        // SAFETY: both texts and the place for the operation outlive the call.
        self.outcome(unsafe { find(self.ctx(), name.as_ptr(), overload.as_ptr(), &raw mut out) })?;
        Ok(out)
    }

    /// # Safety
    /// `op` must come from [`Host::op_find`].
    pub(super) unsafe fn op_call(
        &self,
        op: *const abi::Op,
        args: &[Value<'_>],
        kwargs: &[Kwarg],
        results: &mut [abi::Value],
    ) -> Result<()> {
        let call = function!(self, op_call)?;
        // A `Value` is an `abi::Value` with a lifetime.
        let first = args.as_ptr().cast::<abi::Value>();
        let (size, count) = (size_of::<abi::Value>(), results.len());
        let (kwargs, num_kwargs) = (kwargs.as_ptr(), kwargs.len());
        // SAFETY: as the caller promises; the arrays are as long as is told, and outlive the call.
        self.outcome(unsafe {
            call(self.ctx(), op, first, args.len(), kwargs, num_kwargs, size, results.as_mut_ptr(), count)
        })
    }
}
