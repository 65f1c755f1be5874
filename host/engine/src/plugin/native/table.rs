//! The host's functions, all of them or a variant for plugins to be tried on, and what a trial sees.

use std::cell::RefCell;
use std::ffi::c_void;
use std::mem::{offset_of, size_of};
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use plugin_api::abi::{self, Ctx, HostApi, Sink, Status, Str, status, tag};

use super::api::host_api;
use super::call::{context, guard};

/// Which of the host's functions a plugin is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// All there are.
    Full,
    /// All, counting the handles a plugin holds, and failing where [`fail_operation`] says.
    Counting,
    /// Those of a later minor version: the struct is longer, and what follows is noise.
    Newer,
    /// Those of an earlier minor version: the struct is shorter, and what follows is noise.
    Older(u16),
}

/// Room for members that this host does not have, bytes.
const LATER: usize = 512;
/// What fills it: as a pointer, one that nobody may follow.
const NOISE: u8 = 0xA5;

static LIVE: AtomicI64 = AtomicI64::new(0);
static CALLED: AtomicU64 = AtomicU64::new(0);
static FAILS_AT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LEFT: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// Handles that plugins on [`Table::Counting`] hold.
pub fn live_handles() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// Has the `number`-th operation from now on fail, the first is 1; 0 for none. Returns how many were called since the
/// last time.
pub fn fail_operation(number: u64) -> u64 {
    FAILS_AT.store(number, Ordering::Relaxed);
    CALLED.swap(0, Ordering::Relaxed)
}

/// What calls on this thread left changed since the last time, though the host has set it right.
pub fn take_left_changed() -> Vec<&'static str> {
    LEFT.take()
}

pub(super) fn left_changed(what: &'static str) {
    LEFT.with_borrow_mut(|left| left.push(what));
}

impl Table {
    /// The table, which lives as long as the process.
    pub(super) fn api(self) -> *const HostApi {
        match self {
            Self::Full => host_api(),
            Self::Counting => Box::leak(Box::new(counting())),
            Self::Newer => {
                let mut later = copy();
                (later.struct_size, later.abi_minor) = (size_of::<HostApi>() + LATER, u16::MAX);
                padded(&later, size_of::<HostApi>())
            }
            Self::Older(minor) => {
                let mut earlier = copy();
                let len =
                    if minor < abi::ABI_MINOR_OPS { offset_of!(HostApi, tensor_info) } else { size_of::<HostApi>() };
                (earlier.struct_size, earlier.abi_minor) = (len, minor);
                padded(&earlier, len)
            }
        }
    }
}

fn copy() -> HostApi {
    // SAFETY: the table is plain data: numbers, texts that last and functions.
    unsafe { ptr::read(host_api()) }
}

/// The first `len` bytes of a table, followed by noise.
fn padded(api: &HostApi, len: usize) -> *const HostApi {
    let words = (size_of::<HostApi>() + LATER).div_ceil(size_of::<u64>());
    let room: &'static mut [u64] = Box::leak(vec![u64::from_ne_bytes([NOISE; 8]); words].into_boxed_slice());
    // SAFETY: the room is longer than the table, aligned as it is, and lives as long as the process.
    unsafe { ptr::copy_nonoverlapping(ptr::from_ref(api).cast::<u8>(), room.as_mut_ptr().cast::<u8>(), len) };
    room.as_ptr().cast()
}

fn counting() -> HostApi {
    HostApi {
        tensor_retain: Some(retain),
        tensor_release: Some(release),
        draw_normal: Some(draw_normal),
        emit_output: Some(emit_output),
        tensor_from_host: Some(from_host),
        op_call: Some(op_call),
        ..copy()
    }
}

fn held(status: Status, handle: *mut *mut abi::Tensor) -> Status {
    // SAFETY: after success the host has written a handle there.
    if status == status::OK && !unsafe { *handle }.is_null() {
        LIVE.fetch_add(1, Ordering::Relaxed);
    }
    status
}

unsafe extern "C" fn retain(handle: *const abi::Tensor) -> *mut abi::Tensor {
    // SAFETY: as the plugin promises.
    let other = host_api().tensor_retain.map_or(ptr::null_mut(), |retain| unsafe { retain(handle) });
    LIVE.fetch_add(i64::from(!other.is_null()), Ordering::Relaxed);
    other
}

unsafe extern "C" fn release(handle: *mut abi::Tensor) {
    LIVE.fetch_sub(i64::from(!handle.is_null()), Ordering::Relaxed);
    if let Some(release) = host_api().tensor_release {
        // SAFETY: as the plugin promises.
        unsafe { release(handle) };
    }
}

unsafe extern "C" fn draw_normal(
    ctx: *mut Ctx,
    purpose: Str,
    ndim: i32,
    sizes: *const i64,
    out: *mut *mut abi::Tensor,
) -> Status {
    let Some(draw) = host_api().draw_normal else { return status::INTERNAL };
    // SAFETY: as the plugin promises.
    held(unsafe { draw(ctx, purpose, ndim, sizes, out) }, out)
}

unsafe extern "C" fn emit_output(sink: *mut Sink, slot: Str, owned: *mut abi::Tensor) -> Status {
    LIVE.fetch_sub(i64::from(!owned.is_null()), Ordering::Relaxed);
    // SAFETY: as the plugin promises.
    host_api().emit_output.map_or(status::INTERNAL, |emit| unsafe { emit(sink, slot, owned) })
}

unsafe extern "C" fn from_host(
    ctx: *mut Ctx,
    data: *const c_void,
    dtype: i32,
    ndim: i32,
    sizes: *const i64,
    out: *mut *mut abi::Tensor,
) -> Status {
    let Some(make) = host_api().tensor_from_host else { return status::INTERNAL };
    // SAFETY: as the plugin promises.
    held(unsafe { make(ctx, data, dtype, ndim, sizes, out) }, out)
}

unsafe extern "C" fn op_call(
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
    let number = CALLED.fetch_add(1, Ordering::Relaxed) + 1;
    if number == FAILS_AT.load(Ordering::Relaxed) {
        return guard(status::INTERNAL, || {
            // SAFETY: the plugin passes the context of the running call.
            if let Some(context) = unsafe { context(ctx) } {
                context.fail(status::TORCH, format!("operation {number} was told to fail"));
            }
            status::TORCH
        });
    }
    let Some(call) = host_api().op_call else { return status::INTERNAL };
    // SAFETY: as the plugin promises.
    let code = unsafe { call(ctx, op, args, num_args, kwargs, num_kwargs, value_size, results, num_results) };
    if code == status::OK && value_size >= size_of::<abi::Value>() {
        // SAFETY: after success the host has written that many results, `value_size` bytes apart.
        let written = (0..num_results).map(|i| unsafe { &*results.byte_add(i * value_size) });
        let handles = written.map(|value| match value.tag {
            tag::TENSOR => 1,
            tag::TENSORS => i64::from(value.len),
            _ => 0,
        });
        LIVE.fetch_add(handles.sum(), Ordering::Relaxed);
    }
    code
}
