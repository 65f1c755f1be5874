//! How much the calls of components cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static CALLS: AtomicU64 = AtomicU64::new(0);
static NANOS: AtomicU64 = AtomicU64::new(0);

/// Calls of WASM plugins in this process so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Calls into components.
    pub calls: u64,
    /// Time in them and in the crossing, without what the host did meanwhile (the model, tensors).
    pub time: Duration,
}

/// Calls of WASM plugins in this process so far; the difference of two answers is what happened between them.
pub fn stats() -> Stats {
    Stats { calls: CALLS.load(Ordering::Relaxed), time: Duration::from_nanos(NANOS.load(Ordering::Relaxed)) }
}

/// Adds one call.
pub fn record(time: Duration) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    NANOS.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
