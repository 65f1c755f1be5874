//! Where batches come from: sources of samples, and the loader that makes batches of them.

mod batch;

pub use batch::{Batch, Picture};
