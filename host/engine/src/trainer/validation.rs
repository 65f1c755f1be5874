//! How well a model does on scenes that it is not trained on.

use std::collections::BTreeMap;

use anneal_nn::Lpips;
use anneal_torch::grad_mode;
use tch::{Kind, Tensor};

use crate::autoencoding::AutoencoderModel;
use crate::data::Batch;
use crate::diffusion::{Loss, Model, Sampling};
use crate::error::ComponentError;
use crate::evaluation::{psnr, ssim};

/// Numbers by name: `loss`, `loss_at_0.3`, `psnr`, `psnr_copy` and so on.
pub type Scores = BTreeMap<String, f64>;

/// Equal pictures count as so many dB, so that their mean with others is a number.
const PSNR_MAX: f64 = 100.0;

/// Validation of a diffusion model.
pub struct Validation {
    /// The scenes, one a batch, so that memory is that of one.
    pub batches: Vec<Batch>,
    /// Noise levels of the loss.
    pub sigmas: Vec<f64>,
    /// How samples are made, if they are.
    pub sampling: Option<Sampling>,
    /// Sample with the moving average where there is one.
    pub use_ema: bool,
    /// The entry that is copied for the first baseline.
    pub copied_key: String,
    /// The second baseline: the mean picture of each frame, `[t, c, h, w]`.
    pub mean: Option<Tensor>,
    /// The perceptual distance.
    pub lpips: Option<Lpips>,
    /// Seed of noise.
    pub seed: u64,
}

impl Validation {
    /// The scores of `model`, averaged over scenes.
    ///
    /// # Errors
    /// When a component fails.
    pub fn run(&mut self, model: &Model, loss: &mut Loss) -> Result<Scores, ComponentError> {
        let _no_grad = grad_mode::no_grad();
        let mut sums = Sums::default();
        for batch in &self.batches {
            let mut total = 0.0;
            for &sigma in &self.sigmas {
                let at = model.loss_at(sigma, loss, batch, self.seed)?.to_kind(Kind::Double).double_value(&[]);
                sums.add(&format!("loss_at_{sigma}"), at);
                total += at;
            }
            sums.add("loss", total / self.sigmas.len() as f64);
            let Some(sampling) = &mut self.sampling else { continue };
            let truth = model.input(batch)?;
            let latents = sampling.run(model, batch, self.seed, &mut |_, _, _| true)?;
            let samples = model.first_stage.decode(&latents, batch.frames_per_scene);
            sums.compare("", &samples, truth, self.lpips.as_ref());
            if let Some(copies) = copies(batch, &self.copied_key, truth) {
                sums.compare("_copy", &copies, truth, self.lpips.as_ref());
            }
            if let Some(mean) = self.mean.as_ref().filter(|mean| mean.size() == truth.size()) {
                sums.compare("_mean", mean, truth, self.lpips.as_ref());
            }
        }
        Ok(sums.means())
    }
}

/// The entry's picture for every frame it conditions: one for the whole scene, or one for each time of all views.
fn copies(batch: &Batch, key: &str, like: &Tensor) -> Option<Tensor> {
    let given = batch.tensors.get(key)?;
    let (rows, wanted) = (*given.size().first()?, like.size()[0]);
    if given.size().get(1..) != like.size().get(1..) || rows == 0 || wanted % rows != 0 {
        return None;
    }
    Some(given.repeat_interleave_self_int(wanted / rows, 0, wanted))
}

/// The mean picture of each frame over some scenes, of which one is held at a time: `[t, c, h, w]`; none of no scenes, or
/// where they lack the entry.
///
/// # Errors
/// Those of `batches`.
pub fn mean_pictures<E>(batches: impl Iterator<Item = Result<Batch, E>>, key: &str) -> Result<Option<Tensor>, E> {
    let (mut sum, mut count): (Option<Tensor>, f64) = (None, 0.0);
    for batch in batches {
        let Some(pictures) = batch?.tensors.remove(key) else { return Ok(None) };
        sum = Some(sum.map_or_else(|| pictures.copy(), |sum| sum + &pictures));
        count += 1.0;
    }
    Ok(sum.map(|sum| sum / count))
}

/// Validation of an autoencoder.
#[derive(Debug)]
pub struct AutoencoderValidation {
    /// The scenes, one a batch.
    pub batches: Vec<Batch>,
    /// The perceptual distance.
    pub lpips: Option<Lpips>,
    /// Seed of the posterior's noise.
    pub seed: u64,
}

impl AutoencoderValidation {
    /// The scores of `model`'s reconstructions, averaged over scenes.
    ///
    /// # Errors
    /// When a component fails.
    pub fn run(&self, model: &AutoencoderModel) -> Result<Scores, ComponentError> {
        let _no_grad = grad_mode::no_grad();
        let mut sums = Sums::default();
        for batch in &self.batches {
            let made = model.reconstruct(batch, self.seed, false)?;
            sums.compare("", &made.output, &made.input, self.lpips.as_ref());
            let rec = (&made.output - &made.input).abs().mean(Kind::Double).double_value(&[]);
            sums.add("rec", rec);
            for (name, term) in &made.terms {
                sums.add(name, term.to_kind(Kind::Double).double_value(&[]));
            }
        }
        Ok(sums.means())
    }
}

/// Sums of scores over scenes, to become means.
#[derive(Debug, Default)]
struct Sums(BTreeMap<String, (f64, u32)>);

impl Sums {
    fn add(&mut self, name: &str, value: f64) {
        let (sum, count) = self.0.entry(name.to_owned()).or_default();
        *sum += value;
        *count += 1;
    }

    /// Adds the likeness of a scene's frames `x` and `target` under names that end in `suffix`. PSNR is of the scene as a
    /// whole: a copy of the one frame that is given would otherwise lift the mean over frames without bound.
    fn compare(&mut self, suffix: &str, x: &Tensor, target: &Tensor, lpips: Option<&Lpips>) {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let as_one = |frames: &Tensor| frames.flatten(0, 1).unsqueeze(0);
        let peaks: Vec<f64> = psnr(&as_one(x), &as_one(target)).into_iter().map(|psnr| psnr.min(PSNR_MAX)).collect();
        self.add(&format!("psnr{suffix}"), mean(&peaks));
        if let Some(alike) = ssim(x, target) {
            self.add(&format!("ssim{suffix}"), mean(&alike));
        }
        if let Some(lpips) = lpips {
            let apart = lpips.forward(&x.to_kind(Kind::Float), target).mean(Kind::Double);
            self.add(&format!("lpips{suffix}"), apart.double_value(&[]));
        }
    }

    fn means(self) -> Scores {
        self.0.into_iter().map(|(name, (sum, count))| (name, sum / f64::from(count.max(1)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn pictures(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([-1, 1, 1, 1]).expand([-1, 3, 16, 16], false)
    }

    fn batch(entries: &[(&str, Tensor)]) -> Batch {
        Batch {
            tensors: entries.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone())).collect(),
            texts: BTreeMap::new(),
            integers: BTreeMap::new(),
            sample_ids: vec![1],
            frames_per_scene: 4,
        }
    }

    #[test]
    fn copies_are_of_the_time_they_belong_to() {
        let like = pictures(&[0.0; 4]);
        let one = copies(&batch(&[("c", pictures(&[0.5]))]), "c", &like).unwrap();
        assert!(one.equal(&pictures(&[0.5; 4])));
        // Two times of two views, rows `(t v)`.
        let two = copies(&batch(&[("c", pictures(&[0.5, -0.5]))]), "c", &like).unwrap();
        assert!(two.equal(&pictures(&[0.5, 0.5, -0.5, -0.5])));
        assert!(copies(&batch(&[("c", pictures(&[0.0; 3]))]), "c", &like).is_none());
        assert!(copies(&batch(&[]), "c", &like).is_none());
        let small = Tensor::zeros([1, 3, 8, 8], (Kind::Float, Device::Cpu));
        assert!(copies(&batch(&[("c", small)]), "c", &like).is_none());
    }

    #[test]
    fn the_mean_picture_is_of_each_frame() {
        let scenes = || [&[0.0, 1.0], &[0.5, 0.0]].map(|values| Ok::<_, String>(batch(&[("x", pictures(values))])));
        let mean = |key: &str, count: usize| mean_pictures(scenes().into_iter().take(count), key).unwrap();
        assert!(mean("x", 2).unwrap().equal(&pictures(&[0.25, 0.5])));
        assert!(mean("y", 2).is_none() && mean("x", 0).is_none());
        assert_eq!(mean_pictures([Err("unreadable")].into_iter(), "x").unwrap_err(), "unreadable");
    }

    #[test]
    fn scores_are_averaged_over_scenes() {
        let mut sums = Sums::default();
        sums.compare("_copy", &pictures(&[0.0]), &pictures(&[0.2]), None);
        sums.compare("_copy", &pictures(&[0.0]), &pictures(&[0.02]), None);
        let means = sums.means();
        // An error of 0.1 of the range is 20 dB, one of 0.01 40 dB.
        assert!((means["psnr_copy"] - 30.0).abs() < 1e-4 && means["ssim_copy"] < 1.0, "{means:?}");
        // Within a scene errors are averaged: one frame as it should be is worth 3 dB of two, not more.
        let mut sums = Sums::default();
        sums.compare("", &pictures(&[0.0, 0.2]), &pictures(&[0.2, 0.2]), None);
        assert!((sums.means()["psnr"] - 23.0103).abs() < 1e-3);
    }
}
