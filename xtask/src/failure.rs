//! What a verb reports when it cannot go on: what is missing, and the command that mends it.

use std::path::Path;

use anneal_packaging::FileError;

/// A failed verb.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong; empty when a child process has already said it.
    pub what: String,
    /// What mends it, usually a command.
    pub help: String,
    /// The exit code of xtask.
    pub code: u8,
}

impl Failure {
    /// A failure with a remedy.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into(), code: 1 }
    }

    /// A child process that has printed its own error ended with `code`.
    pub fn silent(code: u8) -> Self {
        Self { what: String::new(), help: String::new(), code }
    }

    /// A file operation failed.
    pub fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(
            format!("cannot {doing} {}: {error}", path.display()),
            "check the free space and the permissions there, then run the command again",
        )
    }

    /// Writes the failure to stderr.
    pub fn print(&self) {
        if !self.what.is_empty() {
            eprintln!("error: {}", self.what);
        }
        if !self.help.is_empty() {
            eprintln!("help: {}", self.help);
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::file(error.doing, &error.path, &error.source)
    }
}
