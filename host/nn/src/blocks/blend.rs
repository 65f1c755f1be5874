//! The blend of two branches, in one of the two ways that blocks over time know.

use tch::Tensor;

use super::{AlphaBlender, LegacyAlpha, LegacyMergeStrategy};
use crate::config::MergeStrategy;
use crate::params::Path;

/// How a block blends its branches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BlendConfig {
    /// By an [`AlphaBlender`].
    Mixer {
        /// Where the weight comes from.
        strategy: MergeStrategy,
        /// Its start.
        factor: f64,
    },
    /// By a [`LegacyAlpha`].
    Legacy {
        /// Where the weight comes from.
        strategy: LegacyMergeStrategy,
        /// Its start.
        factor: f64,
        /// Whether it goes through a sigmoid.
        apply_sigmoid: bool,
    },
}

/// A weight between two branches.
#[derive(Debug)]
pub enum Blend {
    /// Learned where frames are no images.
    Mixer(AlphaBlender),
    /// With the sigmoid last.
    Legacy(LegacyAlpha),
}

impl Blend {
    /// Keys `time_mixer.mix_factor` or `mix_factor`.
    pub fn new(path: &Path, config: BlendConfig) -> Self {
        match config {
            BlendConfig::Mixer { strategy, factor } => {
                Self::Mixer(AlphaBlender::new(&path.sub("time_mixer"), strategy, factor))
            }
            BlendConfig::Legacy { strategy, factor, apply_sigmoid } => {
                Self::Legacy(LegacyAlpha::new(path, strategy, factor, apply_sigmoid))
            }
        }
    }

    /// # Shapes
    /// - `image_only_indicator`: `[b, t]`
    /// - result: `[1, 1]` or `[b, t]`
    pub fn alpha(&self, image_only_indicator: Option<&Tensor>) -> Tensor {
        match self {
            Self::Mixer(blender) => blender.alpha(image_only_indicator),
            Self::Legacy(alpha) => alpha.alpha(image_only_indicator),
        }
    }

    /// `alpha * spatial + (1 - alpha) * temporal`
    ///
    /// # Shapes
    /// - `spatial`, `temporal`, result: `[b*t, s, d]`
    /// - `image_only_indicator`: `[b, t]`
    pub fn blend(&self, spatial: &Tensor, temporal: &Tensor, image_only_indicator: Option<&Tensor>) -> Tensor {
        let alpha = self.alpha(image_only_indicator).reshape([-1, 1, 1]); // [b, t] -> [b*t, 1, 1]
        temporal.lerp_tensor(spatial, &alpha.to_kind(spatial.kind()))
    }
}
