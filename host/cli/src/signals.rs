//! Signals that ask a run to save, and to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals as Incoming;
use signal_hook::low_level;

use crate::exit::{Exit, Failure};

/// Time that verbs have which take no other from their user.
pub const GRACE: Duration = Duration::from_secs(600);

/// What signals have asked of a run: SIGINT and SIGTERM to save and stop, SIGUSR1 to save and go on. A second signal to
/// stop ends the process at once, and so does the end of the grace period; what is half written never has its name.
#[derive(Debug, Clone)]
pub struct Signals(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    /// The signal that asks to stop, or 0.
    stop: AtomicI32,
    save: AtomicBool,
}

impl Signals {
    /// Listens from here on. After a signal to stop there is so much time to finish the step and to save.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn listen(grace: Duration) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(Exit::Internal, format!("cannot listen for signals: {error}"));
        let asked = Arc::new(Asked::default());
        let mut incoming = Incoming::new([SIGINT, SIGTERM, SIGUSR1]).map_err(failed)?;
        let told = asked.clone();
        let listener = std::thread::Builder::new().name("signals".to_owned());
        let listen = move || incoming.forever().for_each(|signal| told.take(signal, grace));
        listener.spawn(listen).map_err(failed)?;
        Ok(Self(asked))
    }

    /// The signal that asked to stop, if one came.
    pub fn received(&self) -> Option<i32> {
        Some(self.0.stop.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// Whether a checkpoint was asked for since the last time.
    pub fn take_save(&self) -> bool {
        self.0.save.swap(false, Ordering::SeqCst)
    }
}

impl Asked {
    fn take(&self, signal: i32, grace: Duration) {
        if signal == SIGUSR1 {
            self.save.store(true, Ordering::SeqCst);
            return;
        }
        if self.stop.swap(signal, Ordering::SeqCst) != 0 {
            low_level::exit(128 + signal);
        }
        let seconds = grace.as_secs();
        tracing::warn!(
            "stopping: what is begun is finished and saved, within {seconds} s; another signal ends it at once"
        );
        let end_late = move || {
            std::thread::sleep(grace);
            tracing::error!("not finished within {seconds} s: ended; what was saved before is whole");
            low_level::exit(128 + signal);
        };
        if std::thread::Builder::new().name("grace".to_owned()).spawn(end_late).is_err() {
            // Without the clock the step has all the time it needs.
            tracing::warn!("no thread could be started to watch over the {seconds} s");
        }
    }
}

/// The exit code of a run that `signal` stopped.
pub fn exit_of(signal: i32) -> Exit {
    if signal == SIGTERM { Exit::Terminated } else { Exit::Interrupted }
}
