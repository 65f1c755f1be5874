//! The encoded world of each kind, which a component carries so that the encoder knows its exports.

/// `world discretization-plugin`.
pub const DISCRETIZATION: &[u8] = include_bytes!("worlds/discretization.bin");
/// `world sigma-sampling-plugin`.
pub const SIGMA_SAMPLING: &[u8] = include_bytes!("worlds/sigma-sampling.bin");
/// `world guidance-plugin`.
pub const GUIDANCE: &[u8] = include_bytes!("worlds/guidance.bin");
/// `world learning-rate-plugin`.
pub const LEARNING_RATE: &[u8] = include_bytes!("worlds/learning-rate.bin");
/// `world weighting-plugin`.
pub const WEIGHTING: &[u8] = include_bytes!("worlds/weighting.bin");
/// `world sampler-plugin`.
pub const SAMPLER: &[u8] = include_bytes!("worlds/sampler.bin");

/// A world as the array that a link section needs.
pub const fn section<const N: usize>(world: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(world);
    bytes
}
