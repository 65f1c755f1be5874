//! `frames-concat`: conditioning frames as channels of the network's input, with noise augmentation.

use plugin_api::tch::prelude::*;

use crate::scalar::sinusoids;

/// Conditioning frames are noised, scaled, and repeated so that each frame of a clip has one.
///
/// In training a noise level is drawn for each scene, `ln sigma ~ N(noise_p_mean, noise_p_std)`; in sampling it is
/// `noise_sigma`. With neither the frames stay clean.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// Conditioning frames of a scene. With more than one, frames are not repeated.
    #[config(default = 1, min = 1)]
    pub n_cond_frames: i64,
    /// How often a scene's only conditioning frame is repeated: the frames of a clip. 0 counts them in each batch.
    #[config(default = 1, min = 0)]
    pub n_copies: i64,
    /// Mean of the logarithm of the noise level in training.
    pub noise_p_mean: Option<f64>,
    /// Standard deviation of the logarithm of the noise level in training.
    #[config(min = 0.0)]
    pub noise_p_std: Option<f64>,
    /// The noise level in sampling: 0.02 if not given and levels are drawn in training. Where none are drawn it is
    /// the level in training too.
    #[config(min = 0.0)]
    pub noise_sigma: Option<f64>,
    /// Emit the noise level too, as a vector of sinusoids of this width.
    #[config(min = 1)]
    pub sigma_dim: Option<i64>,
    /// Multiplies the frames after the noise.
    #[config(default = 1.0, exclusive_min = 0.0)]
    pub scale_factor: f64,
}

/// What SVD's samplers add to the conditioning frame.
const SAMPLING_SIGMA: f64 = 0.02;

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    if settings.noise_p_mean.is_some() != settings.noise_p_std.is_some() {
        return Err(ConfigError::new("", "`noise_p_mean` and `noise_p_std` are given together or not at all"));
    }
    if settings.sigma_dim.is_some() && settings.noise_p_mean.is_none() && settings.noise_sigma.is_none() {
        return Err(ConfigError::new(
            "/sigma_dim",
            "there is no noise level to emit: give `noise_p_mean` and `noise_p_std`, or `noise_sigma`",
        ));
    }
    Ok(())
}

/// Upstream's `VideoPredictionEmbedderWithEncoder` around an identity encoder.
pub struct FramesConcat {
    settings: Settings,
}

impl Embedder<Tensor> for FramesConcat {
    type Config = Settings;

    fn new(settings: Settings, _: &mut Params) -> Result<Self> {
        Ok(Self { settings })
    }

    /// # Shapes
    /// - input: conditioning frames `[b * n_cond_frames, c, h, w]`
    /// - outputs: concat `[n, c, h, w]`, and with `sigma_dim` vector `[n, sigma_dim]`, where `n` is `b * n_copies` for
    ///   one conditioning frame a scene and `b * n_cond_frames` for several
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let Settings { n_cond_frames, n_copies, scale_factor, sigma_dim, .. } = self.settings;
        let frames = inputs.tensor()?;
        let expected = call.num_scenes() * n_cond_frames;
        if frames.dim() != 4 || frames.size()[0] != expected {
            let (scenes, size) = (call.num_scenes(), frames.size());
            let message = format!(
                "wants [{expected}, c, h, w]: {n_cond_frames} conditioning frames for each of {scenes} scenes; got {size:?}"
            );
            return Err(Error::argument(message));
        }
        let sigmas = self.sigmas(call)?;
        let value = match &sigmas {
            Some(sigmas) => {
                let noise = call.normal("noise", &frames.size())?.to_device(frames.device()).to_kind(frames.kind());
                let per_frame = repeat(sigmas, n_cond_frames).to_device(frames.device()).to_kind(frames.kind());
                frames + noise * per_frame.reshape([-1, 1, 1, 1])
            }
            None => frames.shallow_clone(),
        };
        let copies = match (n_cond_frames, n_copies) {
            (1, 0) => call.frames_per_scene(),
            (1, copies) => copies,
            _ => 1,
        };
        let outputs = Outputs::to(Slot::Concat, repeat(&(value * scale_factor), copies)); // [b, ...] -> [b*t, ...]
        let (Some(dim), Some(sigmas)) = (sigma_dim, sigmas) else { return Ok(outputs) };
        let embedded = sinusoids(&sigmas.to_device(frames.device()), dim, 10000.0);
        Ok(outputs.and(Slot::Vector, repeat(&embedded, copies * n_cond_frames)))
    }
}

impl FramesConcat {
    /// The noise level of each scene, `[b]` on the CPU; `None` if frames stay clean.
    fn sigmas(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let Settings { noise_p_mean, noise_p_std, noise_sigma, .. } = self.settings;
        if let (true, Some(mean), Some(std)) = (call.training(), noise_p_mean, noise_p_std) {
            return Ok(Some((call.normal("sigma", &[call.num_scenes()])? * std + mean).exp()));
        }
        let fixed = noise_sigma.or(noise_p_mean.and(Some(SAMPLING_SIGMA)));
        Ok(fixed.map(|sigma| Tensor::full([call.num_scenes()], sigma, (Kind::Float, plugin_api::tch::Device::Cpu))))
    }
}

/// Each row `times` times in place: `(b) -> (b t)`.
fn repeat(rows: &Tensor, times: i64) -> Tensor {
    if times == 1 { rows.shallow_clone() } else { rows.repeat_interleave_self_int(times, 0, None) }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn fixture(settings: Value) -> Fixture<FramesConcat> {
        Fixture::new(settings).unwrap()
    }

    #[test]
    fn the_noise_level_is_drawn_for_each_scene_and_shared_by_its_copies() {
        let (frames, noise) = (random(&[2, 3, 4, 4]), random(&[2, 3, 4, 4]));
        let settings =
            json!({ "n_copies": 3, "noise_p_mean": -3.0, "noise_p_std": 0.5, "sigma_dim": 6, "scale_factor": 0.5 });
        let z = Tensor::from_slice(&[-1.0_f32, 2.0]);
        let fixture = fixture(settings).scenes(2, 3).draw("sigma", z).draw("noise", noise.shallow_clone());
        let outputs = fixture.train(&[&frames]).unwrap();
        let sigmas = [(-3.5_f64).exp(), (-2.0_f64).exp()];
        assert_eq!((outputs[0].0, outputs[0].1.size()), (Some(Slot::Concat), vec![6, 3, 4, 4]));
        for row in 0..6 {
            let scene = row / 3;
            let expected = (frames.get(scene) + noise.get(scene) * sigmas[scene as usize]) * 0.5;
            assert!(outputs[0].1.get(row).allclose(&expected, 1e-5, 1e-6, false), "row {row}");
        }
        assert_eq!((outputs[1].0, outputs[1].1.size()), (Some(Slot::Vector), vec![6, 6]));
        let first_cosine = outputs[1].1.get(4).double_value(&[0]);
        assert!((first_cosine - sigmas[1].cos()).abs() < 1e-6, "{first_cosine}");
    }

    #[test]
    fn sampling_uses_a_fixed_level() {
        let (frames, noise) = (random(&[1, 3, 2, 2]), random(&[1, 3, 2, 2]));
        let level = |settings: Value| {
            let outputs = fixture(settings).draw("noise", noise.shallow_clone()).sample(&[&frames]).unwrap();
            ((&outputs[0].1 - &frames) / &noise).mean(Kind::Double).double_value(&[])
        };
        assert!((level(json!({ "noise_p_mean": -3.0, "noise_p_std": 0.5 })) - 0.02).abs() < 1e-3);
        assert!((level(json!({ "noise_p_mean": -3.0, "noise_p_std": 0.5, "noise_sigma": 0.25 })) - 0.25).abs() < 1e-3);
        assert!((level(json!({ "noise_sigma": 0.5 })) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn without_a_level_frames_stay_clean_and_several_are_not_repeated() {
        let frames = random(&[6, 3, 2, 2]);
        let clean = fixture(json!({ "n_cond_frames": 3, "n_copies": 4 })).scenes(2, 4).train(&[&frames]).unwrap();
        assert_eq!(clean.len(), 1);
        assert_eq!(clean[0].1, frames);
        let counted = fixture(json!({ "n_copies": 0 })).scenes(3, 5).train(&[&frames.narrow(0, 0, 3)]).unwrap();
        assert!(counted[0].1.equal(&frames.narrow(0, 0, 3).repeat_interleave_self_int(5, 0, None)));
        let noised = fixture(json!({ "n_cond_frames": 3, "noise_sigma": 1e-5, "sigma_dim": 8 }));
        let outputs = noised.scenes(2, 3).draw("noise", random(&[6, 3, 2, 2])).train(&[&frames]).unwrap();
        assert_eq!(outputs[1].1.size(), [6, 8]);
    }

    #[test]
    fn settings_and_inputs_that_do_not_fit_are_refused() {
        let error = |settings: Value| Fixture::<FramesConcat>::new(settings).err().unwrap().to_string();
        assert!(error(json!({ "noise_p_mean": 0.0 })).contains("together"));
        assert!(error(json!({ "sigma_dim": 8 })).starts_with("/sigma_dim: there is no noise level"));
        let wrong = fixture(json!({})).scenes(2, 4).train(&[&random(&[3, 3, 2, 2])]).unwrap_err();
        assert!(wrong.message.contains("[2, c, h, w]") && wrong.message.contains("[3, 3, 2, 2]"), "{wrong}");
    }
}
