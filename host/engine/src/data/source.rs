//! What a source of samples is.

use anneal_torch::random::Stream;

use super::{Sample, SampleError};

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

    /// Reads sample `index` of `0..num_samples()`.
    ///
    /// Everything random in it comes from `draw`, so that a sample is the same whichever thread reads it, and when.
    ///
    /// # Errors
    /// When its file cannot be read, or does not hold what the config says.
    fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError>;
}
