//! libtorch's default generators, which only dropout draws from.

/// Seeds the generators of the CPU and, where CUDA is loaded, of all GPUs.
pub fn seed(seed: u64) {
    // The bits matter, not the sign.
    tch::manual_seed(seed.cast_signed());
}
