//! One execution of a target, watched: its memory by the allocator, its time by a thread.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::Target;
use crate::memory::Bound;

/// Executions so far.
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

/// Runs a target on an input.
pub fn execute(target: &Target, data: &[u8]) {
    let _bound = Bound::new(target.bytes_max(data.len()));
    (target.run)(data);
    EXECUTIONS.fetch_add(1, Relaxed);
}

/// Ends the process when an execution takes too long. The deadline is generous: it is no measure of speed.
#[derive(Debug)]
pub struct Watchdog;

impl Watchdog {
    /// Starts to watch.
    pub fn start(deadline: Duration) -> Self {
        thread::spawn(move || {
            let (mut seen, mut since) = (EXECUTIONS.load(Relaxed), Instant::now());
            loop {
                thread::sleep(deadline / 20);
                let now = EXECUTIONS.load(Relaxed);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > deadline {
                    end(&format!("a hang: an execution takes more than {} s", deadline.as_secs_f64()));
                }
            }
        });
        Self
    }
}

/// Says why, and ends the process as a fault does that nothing can catch.
pub fn end(why: &str) -> ! {
    // There is nobody left to tell of a standard error that is closed.
    let _ = writeln!(std::io::stderr(), "{why}");
    std::process::abort()
}
