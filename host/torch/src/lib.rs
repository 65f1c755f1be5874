//! What tch lacks, over one small C++ shim of libtorch, and the counter-based random streams.

mod ffi;

/// Gradients as views, version counters, meta tensors, raw handles.
pub mod tensor;
/// Activations that libtorch has only as several operations.
pub mod activation;
/// Lower precision, chosen by libtorch operation by operation.
pub mod autocast;
/// Activation checkpointing.
pub mod checkpoint;
/// Convolutions that keep the size of their input.
pub mod conv;
/// What a computation allocates and multiplies.
pub mod count;
/// CUDA, loaded at run time.
pub mod cuda;
/// Operations by name, with plain values as arguments.
pub mod dispatch;
/// libtorch's default generators.
pub mod generator;
/// Whether autograd records.
pub mod grad_mode;
/// Memory figures of the process.
pub mod memory;
/// The fused steps of Adam, AdamW and SGD.
pub mod optim;
/// Tensors made where another one is.
pub mod place;
/// Counter-based random streams.
pub mod random;

pub use ffi::TorchError;
