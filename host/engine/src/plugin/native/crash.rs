//! When a native plugin takes the process down with it: which one it was, and where.
//!
//! Native code shares the process, so a crash in it cannot be survived. But who reads the log should know whose it is, and a
//! plugin that ends the process must not make a run look as if it had ended well.

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, c_void, siginfo_t};

/// Signals of a crash, and their names.
const SIGNALS: [(c_int, &str); 5] =
    [(SIGSEGV, "SIGSEGV"), (SIGABRT, "SIGABRT"), (SIGBUS, "SIGBUS"), (SIGILL, "SIGILL"), (SIGFPE, "SIGFPE")];
/// The exit code of a run that a plugin broke.
const PLUGIN_FAILED: c_int = 4;

type Action = libc::sigaction;

/// What was done about each signal before.
static BEFORE: [AtomicPtr<Action>; 5] = [const { AtomicPtr::new(ptr::null_mut()) }; 5];

/// A function of a plugin that runs on this thread.
#[derive(Clone, Copy)]
struct Running {
    plugin: *const str,
    function: &'static str,
}

thread_local! {
    // Without an initialiser or a destructor, so that a signal handler may read it.
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// Marks this thread as inside a plugin's function while it lives.
pub(super) struct Inside<'a> {
    before: Option<Running>,
    plugin: std::marker::PhantomData<&'a str>,
}

/// This thread enters a function of the plugin.
pub(super) fn enter<'a>(plugin: &'a str, function: &'static str) -> Inside<'a> {
    let before = RUNNING.replace(Some(Running { plugin, function }));
    Inside { before, plugin: std::marker::PhantomData }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        RUNNING.set(self.before);
    }
}

/// From here on a crash inside a plugin, and an exit that a plugin calls, are told on standard error.
pub fn report_crashes() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for ((signal, _), before) in SIGNALS.iter().zip(&BEFORE) {
            // SAFETY: an action of zeros is a valid one, both pointers are to live structs, and the handler takes what
            // SA_SIGINFO promises.
            unsafe {
                let mut ours = MaybeUninit::<Action>::zeroed().assume_init();
                let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_signal;
                ours.sa_sigaction = handler as usize;
                // A stack that has overflown is none to run on; std has set up another one.
                ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                let old = Box::into_raw(Box::new(MaybeUninit::<Action>::zeroed().assume_init()));
                before.store(old, Ordering::Release);
                libc::sigaction(*signal, &raw const ours, old);
            }
        }
        // SAFETY: the function may be called whenever the process ends.
        unsafe { libc::atexit(on_exit) };
    });
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, machine: *mut c_void) {
    let number = SIGNALS.iter().position(|(known, _)| *known == signal);
    let (name, before) = number
        .map_or(("a signal", ptr::null_mut()), |number| (SIGNALS[number].1, BEFORE[number].load(Ordering::Acquire)));
    if let Some(running) = RUNNING.get() {
        tell(running, &["the process died of ", name]);
    }
    // SAFETY: what was to be done before is done now: std's own handler, or death.
    unsafe {
        match before.as_ref().map(|before| (before.sa_sigaction, before.sa_flags)) {
            Some((handler, flags)) if handler > libc::SIG_IGN && flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = std::mem::transmute(handler);
                handler(signal, info, machine);
                // std's handler comes back, so that the fault happens again and is fatal. A signal that was sent does not
                // happen again by itself.
                if (*info).si_code <= 0 {
                    die_of(signal);
                }
            }
            _ => die_of(signal),
        }
    }
}

/// Ends the process by a signal, once its handler returns.
fn die_of(signal: c_int) {
    // SAFETY: both take a number. The signal is held back until the handler returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

extern "C" fn on_exit() {
    if let Some(running) = RUNNING.get() {
        tell(running, &["it ended the process"]);
        // SAFETY: ends the process; what the run has written is on disk already.
        unsafe { libc::_exit(PLUGIN_FAILED) };
    }
}

/// Writes without allocating or locking, which a signal handler must not do.
fn tell(running: Running, what: &[&str]) {
    // SAFETY: the name outlives the call that it belongs to.
    let plugin = unsafe { &*running.plugin };
    let help = "\nhelp: a native plugin shares the process, so this cannot be contained; checkpoints are whole. \
                `anneal plugin check` finds such faults, each in a process of its own\n";
    let place = ["error: plugin ", plugin, ": ", running.function, ": "];
    for part in place.iter().chain(what).chain([&help]) {
        // SAFETY: the bytes live; what cannot be written cannot be told.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
}
