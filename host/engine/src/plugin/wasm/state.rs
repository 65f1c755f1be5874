//! The host's side of one store: its limits, the guest's log, and the way to a sampling session.

use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::bindings::anneal::plugin::log::Level;
use super::limits::{Clock, GUEST_TIME, Memory};
use super::null_wasi::NullWasi;
use super::session::{Job, Session};

/// Lines a plugin may log in a second.
const LINES_PER_SECOND: u32 = 1000;
/// Bytes of a line that are kept.
const LINE_BYTES: usize = 8 << 10;

/// What a store carries.
pub struct HostState {
    /// The component as messages name it, `anneal.samplers/euler-edm`.
    pub component: String,
    pub memory: Memory,
    pub clock: Clock,
    pub log: Log,
    /// What the guest has of WASI, if it may import it.
    pub wasi: NullWasi,
    /// Where requests go while a sampler runs.
    pub session: Option<Sender<Job>>,
}

impl HostState {
    pub fn new(component: String, memory_mib: u32) -> Self {
        let log = Log { second: Instant::now(), lines: 0, suppressed: 0, last_error: None };
        let (memory, clock) = (Memory::new(memory_mib), Clock::new(GUEST_TIME));
        Self { component, memory, clock, log, wasi: NullWasi::default(), session: None }
    }

    /// Readies the state for a call.
    pub fn start_call(&mut self) {
        self.clock.start_call();
        self.log.last_error = None;
    }

    /// Has the session's thread do something, and waits for its answer.
    pub fn ask<R: Send + 'static>(
        &mut self,
        request: impl FnOnce(&mut Session<'_>) -> R + Send + 'static,
    ) -> wasmtime::Result<R> {
        let started = Instant::now();
        let (answer, received) = bounded(1);
        self.tell(move |session| {
            // The guest waits for this answer; it is gone only if its thread is, and then no one needs it.
            let _ = answer.send(request(session));
        })?;
        let answer = received.recv().map_err(|_| session_ended());
        self.clock.exclude(started.elapsed());
        answer
    }

    /// Has the session's thread do something, some time before the next request.
    pub fn tell(&mut self, request: impl FnOnce(&mut Session<'_>) + Send + 'static) -> wasmtime::Result<()> {
        let Some(session) = &self.session else {
            return Err(wasmtime::Error::msg("a latent was used outside of `sample`"));
        };
        session.send(Box::new(request)).map_err(|_| session_ended())
    }

    /// A line of the guest's.
    pub fn write_log(&mut self, level: Level, message: &str, fields: &str) {
        let message = cut(message, LINE_BYTES);
        if level == Level::Error {
            self.log.last_error = Some(message.to_owned());
        }
        let (keep, suppressed) = self.log.admit(Instant::now());
        if let Some(count) = suppressed {
            tracing::warn!(target: "plugin", plugin = self.component, "{count} lines of log were suppressed");
        }
        if !keep {
            return;
        }
        let (plugin, fields) = (self.component.as_str(), cut(fields, LINE_BYTES));
        match level {
            Level::Trace => tracing::trace!(target: "plugin", plugin, fields, "{message}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, fields, "{message}"),
            Level::Info => tracing::info!(target: "plugin", plugin, fields, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, fields, "{message}"),
            Level::Error => tracing::error!(target: "plugin", plugin, fields, "{message}"),
        }
    }
}

fn session_ended() -> wasmtime::Error {
    wasmtime::Error::msg("the sampling session has ended")
}

/// The guest's log: how much of it there was, and its last line of an error in this call.
pub struct Log {
    second: Instant,
    lines: u32,
    suppressed: u32,
    pub last_error: Option<String>,
}

impl Log {
    /// Whether a line is kept, and how many were not in a second that has ended.
    fn admit(&mut self, now: Instant) -> (bool, Option<u32>) {
        let mut ended = None;
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            ended = Some(self.suppressed).filter(|count| *count > 0);
            (self.second, self.lines, self.suppressed) = (now, 0, 0);
        }
        let keep = self.lines < LINES_PER_SECOND;
        if keep {
            self.lines += 1
        } else {
            self.suppressed += 1
        }
        (keep, ended)
    }
}

/// The beginning of a text, ended at a character.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeps_a_thousand_lines_and_tells_of_the_rest() {
        let start = Instant::now();
        let mut log = Log { second: start, lines: 0, suppressed: 0, last_error: None };
        let kept = (0..1500).filter(|_| log.admit(start).0).count();
        assert_eq!(kept, 1000);
        assert_eq!(log.admit(start + Duration::from_secs(1)), (true, Some(500)));
        assert_eq!(log.admit(start + Duration::from_secs(2)), (true, None));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("ab", 9), "ab");
    }
}
