//! What an embedder returns when it cannot do what was asked.

use std::fmt;

use crate::abi::{Status, status};
use crate::config::ConfigError;

/// The result of an embedder's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The settings are wrong.
    Config,
    /// An input is wrong.
    Argument,
    /// It cannot be done.
    Unsupported,
    /// libtorch refused an operation.
    Torch,
    /// Anything else.
    Internal,
}

/// A failure, for the host to report under the embedder's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What is wrong, in a sentence.
    pub message: String,
    /// JSON pointer to the setting that is wrong.
    pub config_path: Option<String>,
}

impl Error {
    /// A failure of some kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), config_path: None }
    }

    /// A wrong input.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }

    /// A wrong setting; `path` is a JSON pointer, `/dim`.
    pub fn config(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Config, message: message.into(), config_path: Some(path.into()) }
    }

    pub(super) fn status(&self) -> Status {
        match self.kind {
            ErrorKind::Config => status::CONFIG,
            ErrorKind::Argument => status::ARGUMENT,
            ErrorKind::Unsupported => status::UNSUPPORTED,
            ErrorKind::Torch => status::TORCH,
            ErrorKind::Internal => status::INTERNAL,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.config_path {
            Some(path) if !path.is_empty() => write!(f, "{path}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::config(error.path, error.message)
    }
}

/// The text of a libtorch error up to its C++ backtrace, which is long and says nothing to the reader. `text` may be
/// escaped, as `unwrap` prints it.
pub(crate) fn without_backtrace(text: &str) -> &str {
    let end = ["\nException raised from", "\\nException raised from"].iter().filter_map(|mark| text.find(mark)).min();
    text[..end.unwrap_or(text.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libtorch_error_is_its_first_lines() {
        let text = "mat1 and mat2 shapes cannot be multiplied\nException raised from meta at x.cpp:210\nframe #0: ...";
        assert_eq!(without_backtrace(text), "mat1 and mat2 shapes cannot be multiplied");
        assert_eq!(without_backtrace("a\\nException raised from b"), "a");
        assert_eq!(without_backtrace("two\nlines"), "two\nlines");
    }
}
