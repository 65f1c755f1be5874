//! What each worker is reading, to be told when it takes too long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The sample that a worker is reading.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<Option<(usize, Instant)>>>);

impl Held {
    /// Takes note that sample `index` is read from now on, until the result is dropped.
    pub(super) fn hold(&self, index: usize) -> Holding<'_> {
        self.set(Some((index, Instant::now())));
        Holding(self)
    }

    /// The sample that is being read, and for how long.
    pub(super) fn now(&self) -> Option<(usize, Duration)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.map(|(index, since)| (index, since.elapsed()))
    }

    fn set(&self, held: Option<(usize, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

/// A sample, while it is read.
pub(super) struct Holding<'a>(&'a Held);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
