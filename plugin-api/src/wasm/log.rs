//! The host's log; lines appear under the plugin's name. Natively, in tests, they are dropped.

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the author.
    Trace,
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// Whether a line of this level is kept; ask before building a costly one.
pub fn enabled(level: Level) -> bool {
    #[cfg(target_arch = "wasm32")]
    return super::bindings::anneal::plugin::log::enabled(level.into());
    #[cfg(not(target_arch = "wasm32"))]
    {
        let _ = level;
        false
    }
}

/// Writes a line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    super::bindings::anneal::plugin::log::write(level.into(), message, "{}");
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, message);
}

/// Writes a line worth knowing.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a line about something odd.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

#[cfg(target_arch = "wasm32")]
impl From<Level> for super::bindings::anneal::plugin::log::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}
