//! What a component may take: instructions, time, memory, handles.

use std::time::{Duration, Instant};

use thiserror::Error;
use wasmtime::ResourceLimiter;

/// Instructions of one call of a schedule or a weighting. Scalar arithmetic takes thousands; this takes about 0.1 s.
pub const CALL_FUEL: u64 = 200_000_000;
/// Instructions of instantiation and `init`: interpreters of dynamic languages start here.
pub const START_FUEL: u64 = 2_000_000_000;
/// Instructions a sampler gets for each call of the model, beside those of one call.
pub const DENOISE_FUEL: u64 = 20_000_000;
/// Time of the guest alone in one call. Fuel comes first: this catches what fuel cannot price.
pub const GUEST_TIME: Duration = Duration::from_secs(5);
/// Period of the clock that looks at the guest's time.
pub const TICK: Duration = Duration::from_millis(10);
/// Bytes a guest may hand over in one call.
pub const HOSTCALL_BYTES: usize = 8 << 20;
/// Handles on latents and noise in a store.
pub const HANDLES: usize = 256;
/// The guest's stack.
pub const STACK_BYTES: usize = 512 << 10;
/// Linear memory of a store if the manifest asks for no more, and the most it may ask for.
pub const MEMORY_MIB: u32 = 64;
pub const MEMORY_MIB_MAX: u32 = 512;
/// Size of a component file.
pub const COMPONENT_BYTES: u64 = 64 << 20;
/// Latents alive at once in a sampling run, whatever the sampler estimates.
pub const LIVE_LATENTS: u32 = 16;
/// Characters of an error text that are kept.
pub const MESSAGE_CHARS: usize = 16_384;

/// Calls of the model in a run of `num_steps`, whatever the sampler estimates.
pub fn denoise_calls(num_steps: u32) -> u32 {
    num_steps.saturating_mul(8).saturating_add(16)
}

/// Counts the memory of a store over all its memories.
#[derive(Debug)]
pub struct Memory {
    used: usize,
    cap: usize,
}

/// A component asked for more memory than it may have.
#[derive(Debug, Error)]
#[error("{wanted} bytes of memory, where {cap} are allowed")]
pub struct MemoryExceeded {
    wanted: usize,
    cap: usize,
}

/// A component computed for longer than it may.
#[derive(Debug, Error)]
#[error("more than {limit:?} in one call")]
pub struct TimeExceeded {
    limit: Duration,
}

impl Memory {
    pub fn new(mib: u32) -> Self {
        Self { used: 0, cap: (mib as usize) << 20 }
    }

    /// Bytes of all memories.
    pub fn used(&self) -> usize {
        self.used
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used + (desired - current);
        if wanted > self.cap {
            // A refusal that the guest can see ends in a bare `unreachable`; an error names the limit.
            return Err(MemoryExceeded { wanted, cap: self.cap }.into());
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 100_000)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }
}

/// The guest's own time in a call: what the host does for it meanwhile does not count.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    host: Duration,
    limit: Duration,
}

impl Clock {
    pub fn new(limit: Duration) -> Self {
        Self { started: Instant::now(), host: Duration::ZERO, limit }
    }

    pub fn start_call(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Takes time that the host spent out of the guest's.
    pub fn exclude(&mut self, spent: Duration) {
        self.host += spent;
    }

    pub fn guest_time(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.host)
    }

    pub fn check(&self) -> Result<(), TimeExceeded> {
        if self.guest_time() > self.limit { Err(TimeExceeded { limit: self.limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_over_memories() {
        let mut memory = Memory::new(1);
        assert!(memory.memory_growing(0, 600 << 10, None).unwrap());
        let error = memory.memory_growing(0, 600 << 10, None).unwrap_err();
        assert_eq!(error.to_string(), "1228800 bytes of memory, where 1048576 are allowed");
    }

    #[test]
    fn the_hosts_time_does_not_count() {
        let mut clock = Clock::new(Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(40));
        assert!(clock.check().is_err());
        clock.exclude(Duration::from_millis(40));
        clock.check().unwrap();
    }
}
