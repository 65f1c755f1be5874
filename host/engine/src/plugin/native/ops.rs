//! The host's tensor operations as functions that it lends to plugins.

use std::ffi::{CStr, c_char, c_void};
use std::mem::{offset_of, size_of};
use std::ptr;

use anneal_torch::dispatch::{self, Op, OpError, Place};
use anneal_torch::tensor;
use plugin_api::abi::{self, Ctx, Status, Str, status};

use super::call::{context, guard, shape};
use super::context::Context;

// libtorch's side reads the plugin's values in place.
const _: () = assert!(size_of::<abi::Value>() == size_of::<dispatch::Value<'_>>());
const _: () = assert!(offset_of!(abi::Kwarg, value) == size_of::<Str>());

/// Runs `body` for the context of a call; what fails is reported to it, and remembered for `last_error`.
///
/// # Safety
/// `ctx` must be one the host made, still alive.
unsafe fn reported(ctx: *mut Ctx, body: impl FnOnce(&Context) -> Result<(), OpError>) -> Status {
    guard(status::INTERNAL, || {
        // SAFETY: as the caller promises.
        let Some(context) = (unsafe { context(ctx) }) else { return status::ARGUMENT };
        let Err(error) = body(context) else { return status::OK };
        let code = match &error {
            // libtorch has the shapes of some operations in Python alone.
            OpError::Torch(text) if text.contains("with Meta tensors") => status::UNSUPPORTED,
            OpError::Torch(_) => status::TORCH,
            OpError::Argument(_) => status::ARGUMENT,
            OpError::Unsupported(_) => status::UNSUPPORTED,
        };
        context.fail(code, error.to_string());
        code
    })
}

fn refused(what: &str) -> OpError {
    OpError::Argument(what.to_owned())
}

/// Where a call makes tensors; there is no such place outside of one.
fn place(context: &Context, function: &str) -> Result<Place, OpError> {
    context.place().ok_or_else(|| OpError::Argument(format!("{function} is called inside forward, on its thread")))
}

pub(super) unsafe extern "C" fn tensor_info(
    ctx: *mut Ctx,
    handle: *const abi::Tensor,
    out: *mut abi::TensorInfo,
) -> Status {
    let body = |_: &Context| {
        if handle.is_null() || out.is_null() {
            return Err(refused("tensor_info: a null pointer"));
        }
        // SAFETY: the plugin passes a live handle.
        let borrowed = unsafe { tensor::borrow(handle.cast_mut()) };
        let info = dispatch::info(&borrowed)?;
        // SAFETY: the plugin has set the size of its struct.
        let known = unsafe { (*out).struct_size };
        let filled = abi::TensorInfo {
            struct_size: known,
            dtype: info.dtype,
            device_type: info.place.device_type,
            device_index: info.place.device_index,
            ndim: info.rank,
            sizes: info.sizes,
            strides: info.strides,
            requires_grad: info.requires_grad.into(),
            is_meta: info.is_meta.into(),
        };
        let len = known.min(size_of::<abi::TensorInfo>());
        // SAFETY: the plugin's struct is at least `len` bytes long.
        unsafe { ptr::copy_nonoverlapping((&raw const filled).cast::<u8>(), out.cast::<u8>(), len) };
        Ok(())
    };
    // SAFETY: the plugin passes the context of the running call.
    unsafe { reported(ctx, body) }
}

pub(super) unsafe extern "C" fn tensor_from_host(
    ctx: *mut Ctx,
    data: *const c_void,
    dtype: i32,
    ndim: i32,
    sizes: *const i64,
    out: *mut *mut abi::Tensor,
) -> Status {
    let body = |context: &Context| {
        if out.is_null() || (ndim > 0 && sizes.is_null()) {
            return Err(refused("tensor_from_host: a null pointer"));
        }
        let place = place(context, "tensor_from_host")?;
        // SAFETY: the plugin passes `ndim` sizes, as many values as they say, and a place for the handle.
        unsafe {
            let made = dispatch::from_host(data, dtype, &shape(ndim, sizes), place);
            *out = tensor::release(made.map_err(|error| prefixed("tensor_from_host", &error))?);
        }
        Ok(())
    };
    // SAFETY: the plugin passes the context of the running call.
    unsafe { reported(ctx, body) }
}

pub(super) unsafe extern "C" fn tensor_to_host(
    ctx: *mut Ctx,
    handle: *const abi::Tensor,
    dst: *mut c_void,
    bytes: usize,
) -> Status {
    let body = |context: &Context| {
        if handle.is_null() || (dst.is_null() && bytes > 0) {
            return Err(refused("tensor_to_host: a null pointer"));
        }
        place(context, "tensor_to_host")?;
        // SAFETY: the plugin passes a live handle and `bytes` writable bytes.
        let copied = unsafe { dispatch::to_host(&tensor::borrow(handle.cast_mut()), dst, bytes) };
        copied.map_err(|error| prefixed("tensor_to_host", &error))
    };
    // SAFETY: the plugin passes the context of the running call.
    unsafe { reported(ctx, body) }
}

fn prefixed(function: &str, error: &OpError) -> OpError {
    let text = format!("{function}: {error}");
    match error {
        OpError::Torch(_) => OpError::Torch(text),
        OpError::Argument(_) => OpError::Argument(text),
        OpError::Unsupported(_) => OpError::Unsupported(text),
    }
}

pub(super) unsafe extern "C" fn op_find(
    ctx: *mut Ctx,
    name: *const c_char,
    overload: *const c_char,
    out: *mut *const abi::Op,
) -> Status {
    let body = |_: &Context| {
        if name.is_null() || overload.is_null() || out.is_null() {
            return Err(refused("op_find: a null pointer"));
        }
        // SAFETY: the plugin passes NUL-terminated texts and a place for the operation.
        unsafe { *out = Op::find(CStr::from_ptr(name), CStr::from_ptr(overload))?.as_ptr().cast() };
        Ok(())
    };
    // SAFETY: the plugin passes the context of the running call.
    unsafe { reported(ctx, body) }
}

pub(super) unsafe extern "C" fn op_call(
    ctx: *mut Ctx,
    op: *const abi::Op,
    args: *const abi::Value,
    num_args: usize,
    kwargs: *const abi::Kwarg,
    num_kwargs: usize,
    value_size: usize,
    results: *mut abi::Value,
    num_results: usize,
) -> Status {
    let body = |context: &Context| {
        let absent = |array: bool, count: usize| array && count > 0;
        if op.is_null()
            || absent(args.is_null(), num_args)
            || absent(kwargs.is_null(), num_kwargs)
            || absent(results.is_null(), num_results)
        {
            return Err(refused("op_call: a null pointer"));
        }
        if value_size < size_of::<abi::Value>() || !value_size.is_multiple_of(align_of::<abi::Value>()) {
            return Err(OpError::Argument(format!(
                "op_call: values of {value_size} bytes, at least {} are needed",
                size_of::<abi::Value>()
            )));
        }
        let place = place(context, "op_call")?;
        // SAFETY: the plugin passes an operation that `op_find` gave it, and arrays as long as it says.
        unsafe {
            Op::from_ptr(op.cast()).call_raw(
                place,
                args.cast(),
                num_args,
                kwargs.cast(),
                num_kwargs,
                value_size,
                results.cast(),
                num_results,
            )
        }
    };
    // SAFETY: the plugin passes the context of the running call.
    unsafe { reported(ctx, body) }
}

pub(super) unsafe extern "C" fn last_error(ctx: *mut Ctx) -> Str {
    // SAFETY: the plugin passes the context of the running call.
    guard(Str::EMPTY, || unsafe { context(ctx) }.map_or(Str::EMPTY, Context::last_failure))
}
