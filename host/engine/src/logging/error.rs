//! What can go wrong when something is written for people.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A file for people could not be written, or read back.
#[derive(Debug, Error)]
pub enum LogError {
    /// A file or folder cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line of the metrics is not a record.
    #[error("{}:{line}: not a metrics record: {source}", path.display())]
    Record {
        /// The metrics file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A picture cannot be encoded.
    #[error("{}: cannot be encoded: {reason}", path.display())]
    Encode {
        /// The file it was for.
        path: PathBuf,
        /// What the encoder says.
        reason: String,
    },
}
