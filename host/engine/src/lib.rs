//! The engine: from a config file to a trained video diffusion model (or the autoencoder beneath it) and samples from it.
//!
//! Modules stand in the order a batch meets them, and each uses only what is listed above it.

mod bounded;
mod digest;
/// What can go wrong, with the fields a person needs to mend it.
pub mod error;
/// The run's settings: TOML in, checked and typed settings out.
pub mod config;
/// Where batches come from.
pub mod data;
/// Values computed before, found again by what they were computed from.
pub mod cache;
/// Frozen weights that lie in the CPU's memory between uses.
pub mod off_load;
/// Pixels to latents and back.
pub mod first_stage;
/// Batch entries to what the network is conditioned on.
pub mod conditioner;
/// Noise levels, denoiser, loss, guidance and sampling.
pub mod diffusion;
/// Videos to the views of all their times, window by window.
pub mod generation;
/// Reconstruction, regularization and adversary of an autoencoder in training.
pub mod autoencoding;
/// How close pictures are to those they should be.
pub mod evaluation;
/// What a run writes for people: metrics, pictures, progress.
pub mod logging;
/// Named tensors in files, ours and others'.
pub mod weights;
/// The training loop, its state and its checkpoints.
pub mod trainer;
/// Weights in other libraries' layouts.
pub mod layouts;
/// Plugins: found, checked, loaded and called.
pub mod plugin;
/// A checked config to a runnable model and trainer.
pub mod assemble;
