//! An allocator that counts, and ends the process where an execution allocates more than its bound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// As many may be.
static LIVE_MAX: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Counting;

// SAFETY: the system's allocator does the work; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Counts bytes before they are allocated: what is past the bound is never asked of the system.
fn more(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed).saturating_add(bytes);
    if live > LIVE_MAX.load(Relaxed) {
        past_the_bound(bytes, live);
    }
}

/// Unwinding out of an allocator is not allowed, so the process ends.
#[cold]
fn past_the_bound(bytes: usize, live: usize) -> ! {
    let max = LIVE_MAX.swap(usize::MAX, Relaxed);
    let trace = Backtrace::force_capture();
    crate::watch::end(&format!("too much memory: {bytes} bytes more, {} past the bound\n{trace}", live - max))
}

/// Ends the process when more than `bytes_max` are allocated on top of what is, as long as this lives.
pub struct Bound;

impl Bound {
    /// Sets the bound.
    pub fn new(bytes_max: usize) -> Self {
        LIVE_MAX.store(LIVE.load(Relaxed).saturating_add(bytes_max), Relaxed);
        Self
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        LIVE_MAX.store(usize::MAX, Relaxed);
    }
}
