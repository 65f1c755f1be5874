//! What can be wrong with what people give to be sampled from.

use std::path::PathBuf;

use thiserror::Error;

use super::super::{DataError, SampleError};

/// Pictures, videos or numbers that a model cannot be given.
#[derive(Debug, Error)]
pub enum GivenError {
    /// The run's data source does not make scenes of pictures.
    #[error("scenes of the run's data source `{kind}` cannot be made from pictures: {reason}")]
    NoForm {
        /// The source's kind.
        kind: &'static str,
        /// Why not.
        reason: String,
    },
    /// The model's scenes are of another form.
    #[error("the model makes {makes}; {remedy}")]
    OtherForm {
        /// What its scenes are.
        makes: String,
        /// What to give instead.
        remedy: String,
    },
    /// A list has a number for more or fewer views than there are.
    #[error("{got} {what} are given, and the model has {expected}")]
    Count {
        /// What the list is of.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be, in words.
        expected: String,
    },
    /// A number that makes no sense.
    #[error("{what} is {got}, which is not {expected}")]
    Number {
        /// What it is for.
        what: &'static str,
        /// The number.
        got: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// There is nothing at a path that could be sampled from.
    #[error("{}: {reason}", path.display())]
    Nothing {
        /// The file or folder.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// A value is given for an entry that the model does not read.
    #[error("the model reads no entry `{entry}`; it reads {}", known.join(", "))]
    UnknownEntry {
        /// The entry.
        entry: String,
        /// Those that it reads.
        known: Vec<String>,
    },
    /// The model reads an entry that does not follow from what is given.
    #[error("the model reads the entry `{entry}`, which does not follow from what is given; {remedy}")]
    MissingEntry {
        /// The entry.
        entry: String,
        /// What to do.
        remedy: String,
    },
    /// Nothing says of what size the pictures are.
    #[error("nothing says of what size the model's pictures are; give --size ROWSxCOLUMNS")]
    NoSize,
    /// The model makes no pictures of a size.
    #[error("the model makes pictures whose sides are multiples of {divisor} pixels, not of {}x{}", size[0], size[1])]
    Size {
        /// Rows and columns.
        size: [u32; 2],
        /// What both must be multiples of.
        divisor: i64,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A folder cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
}
