//! What every function that the host lends to plugins begins with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use plugin_api::abi::Ctx;

use super::context::Context;

/// Nothing may unwind into a plugin.
pub(super) fn guard<T>(broken: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(broken)
}

/// # Safety
/// `ctx` must be one the host made, still alive.
pub(super) unsafe fn context<'a>(ctx: *mut Ctx) -> Option<&'a Context> {
    // SAFETY: as the caller promises; contexts are only ever shared.
    unsafe { ctx.cast::<Context>().as_ref() }
}

/// # Safety
/// `sizes` must point to `ndim` numbers.
pub(super) unsafe fn shape(ndim: i32, sizes: *const i64) -> Vec<i64> {
    // SAFETY: as the caller promises.
    (0..usize::try_from(ndim).unwrap_or(0)).map(|i| unsafe { *sizes.add(i) }).collect()
}
