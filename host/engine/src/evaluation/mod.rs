//! How close pictures are to those they should be, and sets of pictures to each other.

mod clips;
mod encoder;
mod frechet;
mod similarity;
mod clip_sets;

pub use clip_sets::{ClipSet, ClipSetError, ClipSets, Frechet, Protocol, SceneForm};
pub use encoder::{EncoderError, FeatureEncoder};
pub use frechet::{FrechetError, frechet_distance};
pub use similarity::{psnr, ssim};
