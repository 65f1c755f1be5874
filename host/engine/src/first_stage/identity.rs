//! The first stage of models that work on pixels.

use tch::Tensor;

use super::FirstStage;

/// Latents are the pixels.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdentityFirstStage;

impl FirstStage for IdentityFirstStage {
    fn moments(&self, x: &Tensor) -> Tensor {
        x.shallow_clone()
    }

    fn code(&self, moments: &Tensor, _noise: &Tensor) -> Tensor {
        moments.shallow_clone()
    }

    fn code_shape(&self, image: [i64; 3]) -> [i64; 3] {
        image
    }

    fn decode(&self, z: &Tensor) -> Tensor {
        z.shallow_clone()
    }
}
