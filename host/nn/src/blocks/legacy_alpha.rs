//! The weight of a blend as the first SV4D blocks computed it.

use tch::{Kind, Tensor};

use crate::config::MergeStrategy;
use crate::params::{Init, Path};

/// How the legacy weight comes about, in front of the sigmoid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyMergeStrategy {
    /// `mix_factor`, a buffer.
    Fixed,
    /// `mix_factor`, a parameter.
    Learned,
    /// As learned, and 1 where a frame is an image of its own.
    LearnedWithImages,
    /// 1 where a frame is an image of its own, else 0.
    FixedWithImages,
}

impl From<MergeStrategy> for LegacyMergeStrategy {
    fn from(strategy: MergeStrategy) -> Self {
        match strategy {
            MergeStrategy::Fixed => Self::Fixed,
            MergeStrategy::Learned => Self::Learned,
            MergeStrategy::LearnedWithImages => Self::LearnedWithImages,
        }
    }
}

/// The weight and the parameter it is made of.
#[derive(Debug)]
pub struct LegacyAlpha {
    mix_factor: Option<Tensor>,
    strategy: LegacyMergeStrategy,
    apply_sigmoid: bool,
}

impl LegacyAlpha {
    /// Key `mix_factor`, unless images decide alone.
    pub fn new(path: &Path, strategy: LegacyMergeStrategy, merge_factor: f64, apply_sigmoid: bool) -> Self {
        let start = Init::Const(merge_factor);
        let mix_factor = match strategy {
            LegacyMergeStrategy::Fixed => Some(path.buffer("mix_factor", &[1], start)),
            LegacyMergeStrategy::Learned | LegacyMergeStrategy::LearnedWithImages => {
                Some(path.param("mix_factor", &[1], start))
            }
            LegacyMergeStrategy::FixedWithImages => None,
        };
        Self { mix_factor, strategy, apply_sigmoid }
    }

    /// # Shapes
    /// - `image_only_indicator`: `[b, t]`, not 0 where a frame is an image of its own
    /// - result: `[1, 1]` or `[b, t]`
    pub fn alpha(&self, image_only_indicator: Option<&Tensor>) -> Tensor {
        get_alpha(self.strategy, self.mix_factor.as_ref(), image_only_indicator, self.apply_sigmoid)
    }
}

/// The sigmoid comes last, so that images weigh `sigmoid(1)` and a fixed factor goes through it as well.
///
/// # Shapes
/// - `mix_factor`: `[1]`
/// - `image_only_indicator`: `[b, t]`
/// - result: `[1, 1]` without images, else `[b, t]`
///
/// # Panics
/// When the strategy needs what is not given.
pub fn get_alpha(
    strategy: LegacyMergeStrategy,
    mix_factor: Option<&Tensor>,
    image_only_indicator: Option<&Tensor>,
    apply_sigmoid: bool,
) -> Tensor {
    let mix = || mix_factor.unwrap_or_else(|| panic!("{strategy:?} needs a mix_factor")).unsqueeze(0);
    let images = || image_only_indicator.unwrap_or_else(|| panic!("{strategy:?} needs an image_only_indicator"));
    let alpha = match strategy {
        LegacyMergeStrategy::Fixed | LegacyMergeStrategy::Learned => mix(),
        LegacyMergeStrategy::LearnedWithImages => {
            let mix = mix();
            mix.ones_like().where_self(&images().to_kind(Kind::Bool), &mix)
        }
        LegacyMergeStrategy::FixedWithImages => images().to_kind(Kind::Float),
    };
    if apply_sigmoid { alpha.sigmoid() } else { alpha }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::Device;

    fn check(strategy: LegacyMergeStrategy, apply_sigmoid: bool, want: [f64; 2]) {
        let alpha = LegacyAlpha::new(&Params::new(Device::Cpu, 1).root(), strategy, 0.5, apply_sigmoid);
        let images = Tensor::from_slice(&[0f32, 1.0]).view([1, 2]);
        let got = alpha.alpha(Some(&images)).expand([1, 2], false);
        for (i, want) in want.iter().enumerate() {
            let got = got.double_value(&[0, i as i64]);
            assert!((got - want).abs() < 1e-6, "{strategy:?} {got} {want}");
        }
    }

    #[test]
    fn the_sigmoid_comes_last() {
        check(LegacyMergeStrategy::Fixed, true, [0.622_459, 0.622_459]);
        check(LegacyMergeStrategy::Learned, false, [0.5, 0.5]);
        check(LegacyMergeStrategy::LearnedWithImages, true, [0.622_459, 0.731_059]);
        check(LegacyMergeStrategy::FixedWithImages, true, [0.5, 0.731_059]);
        check(LegacyMergeStrategy::FixedWithImages, false, [0.0, 1.0]);
    }
}
