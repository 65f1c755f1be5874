//! Classifier-free guidance: the model's two answers, and a scale for each frame that blends them.

use tch::Tensor;

use super::{ExtraInputs, per_row};
use crate::conditioner::{Conditions, Slot, repeat_rows};
use crate::error::{ComponentError, ErrorCode};

/// Scales of guidance over a run: one row for each sigma of the grid, one column for each frame of a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Guider {
    sigmas: Vec<f64>,
    scales: Vec<f64>,
    num_frames: usize,
    additional: Vec<Slot>,
}

/// A batch doubled for guidance, its unconditional half first.
#[derive(Debug)]
pub struct Doubled {
    /// `[2n, c, h, w]`.
    pub x: Tensor,
    /// Conditions of both halves.
    pub conditions: Conditions,
    /// The network's other inputs for both halves.
    pub extra: ExtraInputs,
}

impl Guider {
    /// A guider from a table of scales, row-major `[sigmas.len(), num_frames]`. `additional` names conditions beyond
    /// vector, crossattn and concat that are doubled too.
    ///
    /// # Errors
    /// When an additional key is no condition.
    pub fn new(
        sigmas: &[f64],
        scales: Vec<f64>,
        num_frames: usize,
        additional: &[String],
    ) -> Result<Self, ComponentError> {
        let additional = additional.iter().map(|key| match key.as_str() {
            "cond_view" => Ok(Slot::CondView),
            "cond_motion" => Ok(Slot::CondMotion),
            other => {
                let message = format!(
                    "`{other}` in sampling.additional_cond_keys is no condition; those are cond_view, cond_motion"
                );
                Err(ComponentError::new("guidance", ErrorCode::InvalidConfig, message))
            }
        });
        Ok(Self { sigmas: sigmas.to_vec(), scales, num_frames, additional: additional.collect::<Result<_, _>>()? })
    }

    /// The doubled batch. Conditions that are not doubled are taken from `cond`.
    ///
    /// # Errors
    /// When a condition is present in one half only.
    pub fn double(
        &self,
        x: &Tensor,
        cond: &Conditions,
        uncond: &Conditions,
        extra: &ExtraInputs,
    ) -> Result<Doubled, ComponentError> {
        let mut conditions = Conditions::default();
        for (slot, value) in cond.iter() {
            let doubled =
                matches!(slot, Slot::Vector | Slot::Crossattn | Slot::Concat) || self.additional.contains(&slot);
            if !doubled {
                conditions.set(slot, value.shallow_clone());
                continue;
            }
            let Some(other) = uncond.get(slot) else {
                let message = format!("the condition `{}` has no unconditional counterpart", slot.name());
                return Err(ComponentError::new("guidance", ErrorCode::InvalidArgument, message));
            };
            // The halves come one after the other, so a row a scene may still be repeated over its frames later.
            let rows = other.size()[0].max(value.size()[0]);
            let of_rows = |t: &Tensor| repeat_rows(t, rows).unwrap_or_else(|| t.shallow_clone());
            conditions.set(slot, Tensor::cat(&[of_rows(other), of_rows(value)], 0));
        }
        Ok(Doubled { x: Tensor::cat(&[x, x], 0), conditions, extra: extra.doubled() })
    }

    /// `uncond + scale * (cond - uncond)`, the scale by frame and, where the table says so, by sigma.
    ///
    /// # Shapes
    /// - `both`: `[2n, c, h, w]`, the unconditional half first; `n` a multiple of the frames
    /// - result: `[n, c, h, w]`
    pub fn blend(&self, both: &Tensor, sigma: f64) -> Tensor {
        let halves = both.chunk(2, 0);
        let (uncond, cond) = (&halves[0], &halves[1]);
        let rows = uncond.size()[0] as usize;
        let frames = self.scales_at(sigma);
        let scales: Vec<f64> = (0..rows).map(|row| frames[row % self.num_frames]).collect();
        let scale = per_row(&scales, uncond.dim(), uncond.device());
        uncond + (cond - uncond) * scale
    }

    /// The row of the grid's sigma nearest to `sigma` (in logarithm): samplers also ask between the grid's sigmas.
    fn scales_at(&self, sigma: f64) -> &[f64] {
        let distance = |i: usize| (self.sigmas[i].max(f64::MIN_POSITIVE).ln() - sigma.ln()).abs();
        let row = (0..self.sigmas.len()).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
        &self.scales[row * self.num_frames..(row + 1) * self.num_frames]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn equal_halves_are_left_alone_and_scale_one_is_the_condition() {
        let (u, c) = (
            Tensor::randn([4, 2, 3, 3], (Kind::Float, Device::Cpu)),
            Tensor::randn([4, 2, 3, 3], (Kind::Float, Device::Cpu)),
        );
        let guider = Guider::new(&[10.0, 1.0], vec![3.0, 1.0, 1.0, 1.0], 2, &[]).unwrap();
        assert!(guider.blend(&Tensor::cat(&[&u, &u], 0), 10.0).allclose(&u, 1e-6, 1e-6, false));
        assert!(guider.blend(&Tensor::cat(&[&u, &c], 0), 1.2).allclose(&c, 1e-5, 1e-5, false));
        // At sigma 10 the first frame of each scene has scale 3, the second scale 1.
        let blended = guider.blend(&Tensor::cat(&[&u, &c], 0), 9.0);
        assert!(blended.get(2).allclose(&(u.get(2) + (c.get(2) - u.get(2)) * 3.0), 1e-5, 1e-5, false));
        assert!(blended.get(3).allclose(&c.get(3), 1e-5, 1e-5, false));
    }

    #[test]
    fn halves_do_not_interleave_when_a_scene_has_one_row() {
        let mut cond = Conditions::default();
        let mut uncond = Conditions::default();
        cond.set(Slot::Vector, Tensor::ones([2, 1], (Kind::Float, Device::Cpu)));
        uncond.set(Slot::Vector, Tensor::zeros([2, 1], (Kind::Float, Device::Cpu)));
        let guider = Guider::new(&[1.0], vec![1.0; 3], 3, &[]).unwrap();
        let x = Tensor::zeros([6, 1, 1, 1], (Kind::Float, Device::Cpu));
        let doubled = guider.double(&x, &cond, &uncond, &ExtraInputs::default()).unwrap();
        let vector = repeat_rows(doubled.conditions.get(Slot::Vector).unwrap(), 12).unwrap();
        let rows = Vec::<f32>::try_from(vector.reshape([-1])).unwrap();
        assert_eq!(rows, [[0.0; 6], [1.0; 6]].concat());
    }
}
