//! Event files, which TensorBoard and what else reads its format show while a run goes on.
//!
//! Each time a run goes on, what is behind its step is cut off the files that are there, and a file of a later name takes
//! what follows. It begins with a session's start, at which a TensorBoard that is open drops what it has read of these
//! steps. A file is never removed, replaced, or written to again once another follows: a reader that is in the middle of it
//! would get stuck, or lose its place.

mod message;
mod record;
mod summary;
mod files;
#[cfg(test)]
mod tests;

pub use files::EventFiles;
pub use message::{Event, Image, SessionLog, Summary, SummaryValue, Value, What};
pub(super) use summary::{picture, scalars};
