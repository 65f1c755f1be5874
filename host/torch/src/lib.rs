//! What tch lacks, over one small C++ shim of libtorch, and the counter-based random streams.

pub mod random;
