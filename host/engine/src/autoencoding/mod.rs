//! Training of an autoencoder: reconstruction, regularization, and an adversary.
//!
//! Esser et al. 2021 (VQGAN) and Rombach et al. 2022 (latent diffusion) describe it. Unlike the reference's, a step trains
//! the autoencoder and, once it has started, the adversary, both on the same batch and the same reconstruction.

mod adversary;
mod loss;
mod model;

pub use adversary::Adversary;
pub use loss::ReconstructionLoss;
pub use model::{AutoencoderModel, Reconstruction};

#[cfg(test)]
mod tests;

/// What a batch gave, by name, for people.
pub type Terms = Vec<(String, f64)>;
