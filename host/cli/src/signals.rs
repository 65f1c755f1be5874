//! Signals that ask a run to save and stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::{Exit, Failure};

/// Remembers the first SIGINT or SIGTERM; a second one ends the process at once.
#[derive(Debug, Clone)]
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Listens from here on.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn listen() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            let seen = flag.clone();
            let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let register = || -> std::io::Result<()> {
                // In this order: a signal ends the process if it is the second, and arms that otherwise.
                signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())?;
                signal_hook::flag::register(signal, armed.clone())?;
                signal_hook::flag::register_usize(signal, seen, signal as usize)?;
                Ok(())
            };
            register().map_err(|error| Failure::new(Exit::Internal, format!("cannot listen for signals: {error}")))?;
        }
        Ok(Self(flag))
    }

    /// The signal that asked to stop, if one came.
    pub fn received(&self) -> Option<i32> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }
}

/// The exit code of a run that `signal` stopped.
pub fn exit_of(signal: i32) -> Exit {
    if signal == SIGTERM { Exit::Terminated } else { Exit::Interrupted }
}
