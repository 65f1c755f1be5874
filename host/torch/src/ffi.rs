//! The shim's C entries, and its errors as values.

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Kind;
use thiserror::Error;
use torch_sys::C_tensor;

/// A failure inside libtorch, with its text (first lines, no backtrace).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("libtorch: {0}")]
pub struct TorchError(pub String);

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AutocastState {
    enabled: c_int,
    dtype: c_int,
    cache: c_int,
}

pub(crate) type Run =
    unsafe extern "C" fn(*mut c_void, *const *mut C_tensor, usize, *mut *mut C_tensor, usize) -> c_int;
pub(crate) type DropClosure = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn anneal_torch_last_error() -> *const c_char;
    pub(crate) fn anneal_torch_version() -> *const c_char;
    pub(crate) fn anneal_torch_set_error(text: *const c_char, len: usize);
    pub(crate) fn anneal_torch_fused_adam(
        param: *mut C_tensor,
        grad: *mut C_tensor,
        exp_avg: *mut C_tensor,
        exp_avg_sq: *mut C_tensor,
        max_exp_avg_sq: *mut C_tensor,
        step: *mut C_tensor,
        grad_scale: *mut C_tensor,
        decoupled: c_int,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
    pub(crate) fn anneal_torch_fused_sgd(
        param: *mut C_tensor,
        grad: *mut C_tensor,
        momentum_buffer: *mut C_tensor,
        grad_scale: *mut C_tensor,
        lr: f64,
        momentum: f64,
        dampening: f64,
        weight_decay: f64,
        nesterov: c_int,
        is_first: c_int,
    ) -> c_int;
    pub(crate) fn anneal_torch_keep_grad_in(param: *mut C_tensor, home: *mut C_tensor) -> c_int;
    pub(crate) fn anneal_torch_clear_grad(param: *mut C_tensor) -> c_int;
    pub(crate) fn anneal_torch_has_grad(param: *mut C_tensor) -> c_int;
    pub(crate) fn anneal_torch_version_counter(tensor: *mut C_tensor) -> i64;
    pub(crate) fn anneal_torch_count(for_cpu: c_int, live: *mut i64) -> c_int;
    pub(crate) fn anneal_torch_counted(live: *mut i64, peak: *mut i64, flops: *mut i64) -> c_int;
    pub(crate) fn anneal_torch_gpu_memory(
        device: c_int,
        held: *mut i64,
        peak: *mut i64,
        peak_reserved: *mut i64,
    ) -> c_int;
    pub(crate) fn anneal_torch_gpu_reset_peak(device: c_int) -> c_int;
    pub(crate) fn anneal_torch_is_meta(tensor: *mut C_tensor) -> c_int;
    pub(crate) fn anneal_torch_empty_meta(
        sizes: *const i64,
        rank: usize,
        kind: c_int,
        out: *mut *mut C_tensor,
    ) -> c_int;
    pub(crate) fn anneal_torch_arange_like(n: i64, like: *mut C_tensor, out: *mut *mut C_tensor) -> c_int;
    pub(crate) fn anneal_torch_zeros_like(
        sizes: *const i64,
        rank: usize,
        like: *mut C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;
    pub(crate) fn anneal_torch_to_like(tensor: *mut C_tensor, like: *mut C_tensor, out: *mut *mut C_tensor) -> c_int;
    pub(crate) fn anneal_torch_geglu(x: *mut C_tensor, bias: *mut C_tensor, out: *mut *mut C_tensor) -> c_int;
    pub(crate) fn anneal_torch_conv_same(
        x: *mut C_tensor,
        weight: *mut C_tensor,
        bias: *mut C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;
    pub(crate) fn anneal_torch_autocast_push(cuda: c_int, kind: c_int, old: *mut AutocastState) -> c_int;
    pub(crate) fn anneal_torch_autocast_pop(cuda: c_int, old: *const AutocastState) -> c_int;
    pub(crate) fn anneal_torch_checkpoint(
        inputs: *const *mut C_tensor,
        n: usize,
        closure: *mut c_void,
        run: Run,
        drop: DropClosure,
        outputs: *mut *mut C_tensor,
        capacity: usize,
        num_outputs: *mut usize,
    ) -> c_int;
    pub(crate) fn anneal_torch_op_find(name: *const c_char, overload: *const c_char, out: *mut *const c_void) -> c_int;
    pub(crate) fn anneal_torch_op_call(
        op: *const c_void,
        device_type: c_int,
        device_index: c_int,
        args: *const c_void,
        num_args: usize,
        kwargs: *const c_void,
        num_kwargs: usize,
        value_size: usize,
        results: *mut c_void,
        num_results: usize,
    ) -> c_int;
    pub(crate) fn anneal_torch_tensor_info(
        tensor: *mut C_tensor,
        dtype: *mut c_int,
        device_type: *mut c_int,
        device_index: *mut c_int,
        rank: *mut c_int,
        sizes: *mut *const i64,
        strides: *mut *const i64,
        requires_grad: *mut c_int,
        is_meta: *mut c_int,
    ) -> c_int;
    pub(crate) fn anneal_torch_from_host(
        data: *const c_void,
        dtype: c_int,
        sizes: *const i64,
        rank: usize,
        device_type: c_int,
        device_index: c_int,
        out: *mut *mut C_tensor,
    ) -> c_int;
    pub(crate) fn anneal_torch_to_host(tensor: *mut C_tensor, dst: *mut c_void, bytes: usize) -> c_int;
}

/// libtorch's number of a kind (`c10::ScalarType`), which tch keeps to itself.
pub(crate) fn scalar_type(kind: Kind) -> c_int {
    match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::ComplexHalf => 8,
        Kind::ComplexFloat => 9,
        Kind::ComplexDouble => 10,
        Kind::Bool => 11,
        Kind::QInt8 => 12,
        Kind::QUInt8 => 13,
        Kind::QInt32 => 14,
        Kind::BFloat16 => 15,
        Kind::Float8e5m2 => 23,
        Kind::Float8e4m3fn => 24,
        Kind::Float8e5m2fnuz => 25,
        Kind::Float8e4m3fnuz => 26,
    }
}

/// The shim's last error of this thread, if `code` says there is one.
pub(crate) fn check(code: c_int) -> Result<(), TorchError> {
    if code >= 0 {
        return Ok(());
    }
    Err(TorchError(last_error()))
}

/// The text of the shim's last error on this thread.
pub(crate) fn last_error() -> String {
    // SAFETY: the shim returns a NUL-terminated text of this thread that lives until its next call.
    unsafe { CStr::from_ptr(anneal_torch_last_error()) }.to_string_lossy().into_owned()
}
