//! What a source of samples is.

use std::path::Path;

use anneal_torch::random::Stream;
use sha2::{Digest, Sha256};

use super::{Sample, SampleError};
use crate::digest::hex;

/// A set of samples, read one at a time from any thread.
pub trait Source: Send + Sync {
    /// The source's kind, as configs name it.
    fn kind(&self) -> &'static str;

    /// Samples of one epoch; at least 1.
    fn num_samples(&self) -> usize;

    /// The bucket of each sample, where samples differ in their shapes: a batch holds samples of one bucket. None when all
    /// are alike.
    fn buckets(&self) -> Option<&[u32]> {
        None
    }

    /// What it is made of: names, each with its size in bytes or frames. A run that goes on is told when they are others.
    fn contents(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    /// What sample `index` is called in messages: the file it is read from, where it has one.
    fn name(&self, index: usize) -> String {
        format!("sample {index}")
    }

    /// Reads sample `index` of `0..num_samples()`.
    ///
    /// Everything random in it comes from `draw`, so that a sample is the same whichever thread reads it, and when.
    ///
    /// # Errors
    /// When its file cannot be read, or does not hold what the config says.
    fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError>;
}

/// SHA-256 of what a source says of itself: its kind, how many samples it has in which buckets, and what it is made of.
pub fn fingerprint(source: &dyn Source) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{}\n", source.kind(), source.num_samples()));
    for bucket in source.buckets().unwrap_or_default() {
        hash.update(bucket.to_le_bytes());
    }
    for (name, size) in source.contents() {
        hash.update(format!("{name}\n{size}\n"));
    }
    hex(&hash.finalize())
}

/// A file as a part of a source: its name, and its size, 0 if that cannot be told.
pub(super) fn of_file(path: &Path) -> (String, u64) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (name, path.metadata().map_or(0, |metadata| metadata.len()))
}
