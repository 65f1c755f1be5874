//! What can be wrong with data, with the path it is wrong at.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A sample that cannot be read.
#[derive(Debug, Error)]
pub enum SampleError {
    /// A file or folder cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not an image, or a damaged one.
    #[error("{}: not a readable image: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: image::ImageError,
    },
    /// An image has more pixels than are decoded.
    #[error("{}: the image has {}x{} pixels (rows x columns), at most {max} in all are read; make it smaller", path.display(), size[0], size[1])]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Rows and columns of the image.
        size: [u32; 2],
        /// Pixels that are read.
        max: u64,
    },
    /// An image has another size than the config says.
    #[error(
        "{}: the image is {}x{} pixels (rows x columns), data.source.size says {}x{}; set data.source.resize to scale it",
        path.display(), got[0], got[1], expected[0], expected[1]
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Rows and columns of the config.
        expected: [u32; 2],
        /// Rows and columns of the image.
        got: [u32; 2],
    },
    /// Something of a sample is damaged, or is not there.
    #[error("{place}: {reason}")]
    Unusable {
        /// The file, and where in it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A source panicked.
    #[error("sample {index} of {origin}: the source panicked: {message}")]
    Panicked {
        /// The source.
        origin: String,
        /// Index of the sample in the source.
        index: usize,
        /// The panic's message.
        message: String,
    },
}

/// What ends the supply of batches.
#[derive(Debug, Error)]
pub enum DataError {
    /// A file or folder of the config cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder holds no sample.
    #[error("{}: the dataset is empty: {wanted}", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What was looked for in it.
        wanted: String,
    },
    /// A clip has too few frames.
    #[error(
        "{}: the clip has {got} frames, {needed} are needed for data.source.num_frames and data.source.stride",
        path.display()
    )]
    ClipTooShort {
        /// The clip's folder.
        path: PathBuf,
        /// Frames needed.
        needed: usize,
        /// Frames there are.
        got: usize,
    },
    /// A file of a clip cannot be put in order.
    #[error("{}: {reason}", path.display())]
    FrameName {
        /// The file.
        path: PathBuf,
        /// What is wrong with its name.
        reason: String,
    },
    /// A model file cannot be read.
    #[error("{}: not a readable glTF model: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: gltf::Error,
    },
    /// A model file is broken, or asks for what the rasteriser does not do.
    #[error("{}: {reason}", path.display())]
    UnusableModel {
        /// The file.
        path: PathBuf,
        /// What is wrong, or not supported.
        reason: String,
    },
    /// The model has no animation of that name.
    #[error("{}: no animation is called {name:?}; the model has: {}", path.display(), available.join(", "))]
    UnknownAnimation {
        /// The file.
        path: PathBuf,
        /// The name in the config.
        name: String,
        /// Names the file has.
        available: Vec<String>,
    },
    /// A file of the source is damaged, or is not of its kind.
    #[error("{place}: {reason}")]
    Unusable {
        /// The file, and where in it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting of the source makes no sense.
    #[error("data.source.{key}: {reason}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A sample cannot be read, and `data.on_bad_sample` is `fail`.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// More samples than `data.bad_samples_max` cannot be read.
    #[error("more than data.bad_samples_max = {max} samples cannot be read; the last: {last}")]
    TooManyBad {
        /// The limit.
        max: usize,
        /// The sample that broke it.
        last: SampleError,
    },
    /// No sample of the source can be read.
    #[error("none of the {num_samples} samples can be read; the last: {last}")]
    AllBad {
        /// Samples of the source.
        num_samples: usize,
        /// The last of them.
        last: SampleError,
    },
    /// Samples of a source do not fit into one batch.
    #[error("samples of one source differ in their {what}: {expected} and {got}")]
    Uneven {
        /// What they differ in.
        what: String,
        /// What the first has.
        expected: String,
        /// What another has.
        got: String,
    },
    /// A loader thread could not be started.
    #[error("cannot start a loader thread: {0}")]
    Thread(io::Error),
    /// A loader thread is gone, and its batch with it.
    #[error("loader thread {worker} has died{}", reading.as_ref().map_or(String::new(), |name| format!(" while it read {name}")))]
    WorkerDied {
        /// Its number.
        worker: usize,
        /// What it was reading.
        reading: Option<String>,
    },
    /// No batch came before the run was asked to stop.
    #[error("no batch came before the run was asked to stop")]
    Interrupted,
    /// The loader gave an error before; there are no batches after it.
    #[error("the loader has stopped after an error")]
    Stopped,
}
