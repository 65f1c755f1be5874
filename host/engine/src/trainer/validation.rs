//! How well a model does on scenes that it is not trained on.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use anneal_nn::Lpips;
use anneal_torch::grad_mode;
use tch::{Kind, Tensor};

use crate::autoencoding::AutoencoderModel;
use crate::data::Batch;
use crate::diffusion::{Loss, Model, Sampling};
use crate::error::{ComponentError, ErrorCode};
use crate::evaluation::{ClipSets, Frechet, psnr, ssim};

/// Numbers by name: `loss`, `loss_at_0.3`, `psnr`, `psnr_copy` and so on.
pub type Scores = BTreeMap<String, f64>;

/// Equal pictures count as so many dB, so that their mean with others is a number.
const PSNR_MAX: f64 = 100.0;

/// Validation of a diffusion model while it trains.
pub struct Validation {
    /// The scenes, one a batch, so that memory is that of one.
    pub scenes: Vec<Batch>,
    /// How it does on them.
    pub scoring: Scoring,
}

impl Validation {
    /// The scores of `model`, averaged over scenes.
    ///
    /// # Errors
    /// When a component fails.
    pub fn run(&mut self, model: &Model, loss: &mut Loss) -> Result<Scores, ComponentError> {
        self.scoring.run(self.scenes.iter().map(Ok::<_, ComponentError>), model, loss)
    }
}

/// What a diffusion model is scored by.
pub struct Scoring {
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
    /// The distances of all scenes together.
    pub frechet: Option<Frechet>,
    /// Seed of noise.
    pub seed: u64,
}

impl Scoring {
    /// The scores of `model` on `scenes`, one a batch, of which one is held at a time: means over them, and Fréchet distances
    /// of all together.
    ///
    /// # Errors
    /// When a component fails, and those of `scenes`.
    pub fn run<B: Borrow<Batch>, E: From<ComponentError>>(
        &mut self,
        scenes: impl Iterator<Item = Result<B, E>>,
        model: &Model,
        loss: &mut Loss,
    ) -> Result<Scores, E> {
        let _no_grad = grad_mode::no_grad();
        let mut tally = Tally::default();
        for batch in scenes {
            self.add(batch?.borrow(), model, loss, &mut tally)?;
        }
        Ok(tally.scores()?)
    }

    fn add(&mut self, batch: &Batch, model: &Model, loss: &mut Loss, tally: &mut Tally) -> Result<(), ComponentError> {
        let mut total = 0.0;
        for &sigma in &self.sigmas {
            let at = model.loss_at(sigma, loss, batch, self.seed)?.to_kind(Kind::Double).double_value(&[]);
            tally.add(&format!("loss_at_{sigma}"), at);
            total += at;
        }
        tally.add("loss", total / self.sigmas.len() as f64);
        let Some(sampling) = &mut self.sampling else { return Ok(()) };
        let truth = model.input(batch)?;
        let latents = sampling.run(model, batch, self.seed, &mut |_, _, _| true)?;
        let samples = model.first_stage.decode(&latents, batch.frames_per_scene);
        let copies = copies(batch, &self.copied_key, truth);
        let mean = self.mean.as_ref().filter(|mean| mean.size() == truth.size());
        let made = [("", Some(&samples)), ("_copy", copies.as_ref()), ("_mean", mean)];
        for (suffix, made) in made.into_iter().filter_map(|(suffix, made)| Some((suffix, made?))) {
            tally.compare(suffix, made, truth, self.lpips.as_ref());
            tally.add_clips(suffix, made, self.frechet.as_ref())?;
        }
        tally.add_true_clips(truth, self.frechet.as_ref())
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
    pub scenes: Vec<Batch>,
    /// How it does on them.
    pub scoring: AutoencoderScoring,
}

impl AutoencoderValidation {
    /// The scores of `model`'s reconstructions, averaged over scenes.
    ///
    /// # Errors
    /// When a component fails.
    pub fn run(&self, model: &AutoencoderModel) -> Result<Scores, ComponentError> {
        self.scoring.run(self.scenes.iter().map(Ok::<_, ComponentError>), model)
    }
}

/// What an autoencoder is scored by.
#[derive(Debug)]
pub struct AutoencoderScoring {
    /// The perceptual distance.
    pub lpips: Option<Lpips>,
    /// The distances of all scenes together.
    pub frechet: Option<Frechet>,
    /// Seed of the posterior's noise.
    pub seed: u64,
}

impl AutoencoderScoring {
    /// The scores of `model`'s reconstructions of `scenes`, of which one is held at a time.
    ///
    /// # Errors
    /// When a component fails, and those of `scenes`.
    pub fn run<B: Borrow<Batch>, E: From<ComponentError>>(
        &self,
        scenes: impl Iterator<Item = Result<B, E>>,
        model: &AutoencoderModel,
    ) -> Result<Scores, E> {
        let _no_grad = grad_mode::no_grad();
        let mut tally = Tally::default();
        for batch in scenes {
            let made = model.reconstruct(batch?.borrow(), self.seed, false)?;
            tally.compare("", &made.output, &made.input, self.lpips.as_ref());
            tally.add_clips("", &made.output, self.frechet.as_ref())?;
            tally.add_true_clips(&made.input, self.frechet.as_ref())?;
            let rec = (&made.output - &made.input).abs().mean(Kind::Double).double_value(&[]);
            tally.add("rec", rec);
            for (name, term) in &made.terms {
                tally.add(name, term.to_kind(Kind::Double).double_value(&[]));
            }
        }
        Ok(tally.scores()?)
    }
}

/// What scenes have given so far.
#[derive(Debug, Default)]
struct Tally {
    /// Sum and number of each score's values, to become their mean.
    sums: BTreeMap<String, (f64, u32)>,
    /// Features of clips, to be compared as sets.
    clips: ClipSets,
}

impl Tally {
    fn add(&mut self, name: &str, value: f64) {
        let (sum, count) = self.sums.entry(name.to_owned()).or_default();
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

    /// Adds a scene's images to the set of those that end in `suffix`.
    fn add_clips(&mut self, suffix: &str, images: &Tensor, frechet: Option<&Frechet>) -> Result<(), ComponentError> {
        let Some(frechet) = frechet else { return Ok(()) };
        self.clips.add(frechet, suffix, images).map_err(|error| of_frechet(&error))
    }

    /// Adds a scene's true images.
    fn add_true_clips(&mut self, images: &Tensor, frechet: Option<&Frechet>) -> Result<(), ComponentError> {
        let Some(frechet) = frechet else { return Ok(()) };
        self.clips.add_truth(frechet, images).map_err(|error| of_frechet(&error))
    }

    fn scores(self) -> Result<Scores, ComponentError> {
        let mut scores = self.clips.distances().map_err(|error| of_frechet(&error))?;
        scores.extend(self.sums.into_iter().map(|(name, (sum, count))| (name, sum / f64::from(count.max(1)))));
        Ok(scores)
    }
}

/// An encoder of features is a component as a plugin is: what it says while it runs is about what it is given.
fn of_frechet(error: &dyn std::error::Error) -> ComponentError {
    ComponentError::new("validation.frechet", ErrorCode::Numeric, error.to_string())
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
        let mut tally = Tally::default();
        tally.compare("_copy", &pictures(&[0.0]), &pictures(&[0.2]), None);
        tally.compare("_copy", &pictures(&[0.0]), &pictures(&[0.02]), None);
        let means = tally.scores().unwrap();
        // An error of 0.1 of the range is 20 dB, one of 0.01 40 dB.
        assert!((means["psnr_copy"] - 30.0).abs() < 1e-4 && means["ssim_copy"] < 1.0, "{means:?}");
        // Within a scene errors are averaged: one frame as it should be is worth 3 dB of two, not more.
        let mut tally = Tally::default();
        tally.compare("", &pictures(&[0.0, 0.2]), &pictures(&[0.2, 0.2]), None);
        assert!((tally.scores().unwrap()["psnr"] - 23.0103).abs() < 1e-3);
    }
}
