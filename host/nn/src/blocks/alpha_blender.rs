//! The blend of a spatial and a temporal branch.

use tch::{Kind, Tensor};

use crate::config::MergeStrategy;
use crate::params::{Init, Path};

/// `alpha * spatial + (1 - alpha) * temporal`.
#[derive(Debug)]
pub struct AlphaBlender {
    mix_factor: Tensor,
    strategy: MergeStrategy,
}

impl AlphaBlender {
    /// Key `mix_factor`: a buffer when fixed, else a parameter that starts at `merge_factor` in front of the sigmoid.
    pub fn new(path: &Path, strategy: MergeStrategy, merge_factor: f64) -> Self {
        let start = Init::Const(merge_factor);
        let mix_factor = match strategy {
            MergeStrategy::Fixed => path.buffer("mix_factor", &[1], start),
            MergeStrategy::Learned | MergeStrategy::LearnedWithImages => path.param("mix_factor", &[1], start),
        };
        Self { mix_factor, strategy }
    }

    /// The spatial branch's weight: one for all frames, or one for each where images are marked.
    ///
    /// # Shapes
    /// - `image_only_indicator`: `[b, t]`, not 0 where a frame is an image of its own; no images without it
    /// - result: `[1, 1]` or `[b, t]`
    pub fn alpha(&self, image_only_indicator: Option<&Tensor>) -> Tensor {
        let mix = self.mix_factor.unsqueeze(0);
        match (self.strategy, image_only_indicator) {
            (MergeStrategy::Fixed, _) => mix,
            (MergeStrategy::Learned, _) | (MergeStrategy::LearnedWithImages, None) => mix.sigmoid(),
            (MergeStrategy::LearnedWithImages, Some(images)) => {
                let mix = mix.sigmoid();
                mix.ones_like().where_self(&images.to_kind(Kind::Bool), &mix)
            }
        }
    }

    /// # Shapes
    /// - `spatial`, `temporal`, result: `[b*t, s, d]`
    /// - `image_only_indicator`: `[b, t]`
    pub fn blend(&self, spatial: &Tensor, temporal: &Tensor, image_only_indicator: Option<&Tensor>) -> Tensor {
        let alpha = self.alpha(image_only_indicator).reshape([-1, 1, 1]); // [b, t] -> [b*t, 1, 1]
        temporal.lerp_tensor(spatial, &alpha.to_kind(spatial.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::Device;

    fn check(strategy: MergeStrategy, want: [f64; 2]) {
        let params = Params::new(Device::Cpu, 1);
        let blender = AlphaBlender::new(&params.root(), strategy, 0.5);
        assert_eq!(params.entries()[0].tensor.requires_grad(), strategy != MergeStrategy::Fixed);
        let options = (Kind::Float, Device::Cpu);
        let (spatial, temporal) = (Tensor::ones([2, 1, 1], options), Tensor::zeros([2, 1, 1], options));
        let images = Tensor::from_slice(&[0f32, 1.0]).view([1, 2]);
        let out = blender.blend(&spatial, &temporal, Some(&images));
        for (i, want) in want.iter().enumerate() {
            let got = out.double_value(&[i as i64, 0, 0]);
            assert!((got - want).abs() < 1e-6, "{strategy:?} {got} {want}");
        }
    }

    #[test]
    fn alpha_weighs_the_spatial_branch_and_images_take_it_alone() {
        check(MergeStrategy::Fixed, [0.5, 0.5]);
        check(MergeStrategy::Learned, [0.622_459, 0.622_459]);
        check(MergeStrategy::LearnedWithImages, [0.622_459, 1.0]);
    }

    #[test]
    fn without_an_indicator_nothing_is_an_image() {
        let blender = AlphaBlender::new(&Params::new(Device::Cpu, 1).root(), MergeStrategy::LearnedWithImages, 0.0);
        assert_eq!(blender.alpha(None).double_value(&[0, 0]), 0.5);
    }
}
