//! Normalisation over groups of channels.

use tch::{Kind, Tensor};

use crate::params::{Init, Path};

const GROUPS: i64 = 32;

/// Group normalisation over 32 groups.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    in_f32: bool,
}

impl GroupNorm {
    /// The norm of residual blocks: computed in f32 whatever comes in, and cast back; eps 1e-5.
    ///
    /// # Panics
    /// When 32 does not divide `channels`.
    pub fn in_f32(path: &Path, channels: i64) -> Self {
        Self::build(path, channels, 1e-5, true)
    }

    /// The norm in front of attention: computed in the input's own kind; eps 1e-6.
    ///
    /// # Panics
    /// When 32 does not divide `channels`.
    pub fn of_attention(path: &Path, channels: i64) -> Self {
        Self::build(path, channels, 1e-6, false)
    }

    fn build(path: &Path, channels: i64, eps: f64, in_f32: bool) -> Self {
        assert!(channels % GROUPS == 0, "`{}`: {GROUPS} groups do not divide {channels} channels", path.prefix());
        Self {
            weight: path.param("weight", &[channels], Init::Const(1.0)),
            bias: path.param("bias", &[channels], Init::Const(0.0)),
            eps,
            in_f32,
        }
    }

    /// Statistics are taken over a group's channels and all positions.
    ///
    /// # Shapes
    /// - `x`, result: `[n, c, ...]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let norm = |x: &Tensor| x.group_norm(GROUPS, Some(&self.weight), Some(&self.bias), self.eps, true);
        if self.in_f32 && x.kind() != Kind::Float { norm(&x.to_kind(Kind::Float)).to_kind(x.kind()) } else { norm(x) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::Device;

    #[test]
    fn a_group_has_mean_zero_and_the_eps_is_its_own() {
        let params = Params::new(Device::Cpu, 1);
        // One channel a group with the values -d and d: normalised to d / sqrt(d^2 + eps).
        let d = 1e-3f64;
        let x = Tensor::from_slice(&[-d as f32, d as f32]).view([1, 1, 2]).expand([1, 32, 2], false);
        for (norm, eps) in [
            (GroupNorm::in_f32(&params.root().sub("a"), 32), 1e-5),
            (GroupNorm::of_attention(&params.root().sub("b"), 32), 1e-6),
        ] {
            let want = d / (d * d + eps).sqrt();
            let got = norm.forward(&x).double_value(&[0, 31, 1]);
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }

    #[test]
    fn half_precision_is_computed_in_f32_and_cast_back() {
        let norm = GroupNorm::in_f32(&Params::new(Device::Cpu, 1).root(), 32);
        let x = (Tensor::randn([2, 32, 5, 5], (Kind::Float, Device::Cpu)) + 100.0).to_kind(Kind::BFloat16);
        let y = norm.forward(&x);
        assert_eq!(y.kind(), Kind::BFloat16);
        let want = norm.forward(&x.to_kind(Kind::Float));
        assert!((y.to_kind(Kind::Float) - want).abs().max().double_value(&[]) < 0.02);
    }

    #[test]
    #[should_panic(expected = "48 channels")]
    fn groups_divide_the_channels() {
        GroupNorm::in_f32(&Params::meta().root(), 48);
    }
}
