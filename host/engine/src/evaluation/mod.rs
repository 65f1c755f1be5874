//! How close pictures are to those they should be, and sets of pictures to each other.

mod frechet;
mod similarity;

pub use frechet::{FrechetError, frechet_distance};
pub use similarity::{psnr, ssim};
