//! How a plugin says that it failed.

use std::fmt;

use crate::config::ConfigError;

/// A result of a plugin's function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What class of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The settings are wrong.
    InvalidConfig,
    /// An argument of the call is wrong.
    InvalidArgument,
    /// The plugin cannot do what was asked.
    Unsupported,
    /// A number left its range.
    Numeric,
    /// The host's limit of calls, latents or memory is reached.
    BudgetExhausted,
    /// The user asked to stop.
    Cancelled,
    /// Anything else.
    Internal,
}

/// A failure that the host shows to the user, with the plugin's name before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What class of failure it is.
    pub code: ErrorCode,
    /// What went wrong.
    pub message: String,
    /// JSON pointer into the settings, where the error is about one of them.
    pub path: Option<String>,
}

impl Error {
    /// A failure of a class.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: None }
    }

    /// The setting at a JSON pointer is wrong.
    pub fn invalid_config(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..Self::new(ErrorCode::InvalidConfig, message) }
    }

    /// An argument of the call is wrong.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// The plugin cannot do what was asked.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unsupported, message)
    }

    /// A number left its range.
    pub fn numeric(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Numeric, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{path}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::invalid_config(error.path, error.message)
    }
}
