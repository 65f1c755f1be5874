//! `video-prediction-with-encoder`: conditioning frames as latents, with noise augmentation.

use anneal_nn::layers::timestep_embedding;
use plugin_api::tch::Device;
use plugin_api::tch::prelude::*;

use crate::frame_encoder::{EncoderSizes, FrameEncoder, Latent};
use crate::tree::Tree;
use crate::uniform;

/// Conditioning frames are noised, encoded, scaled, and repeated so that each frame of a clip has one.
///
/// In training a noise level is drawn for each scene: `ln sigma ~ N(noise_p_mean, noise_p_std)`, or one of
/// `noise_sigmas`; in sampling it is `noise_sigma`. With none of them the frames stay clean.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// Conditioning frames of a scene. With more than one, frames are not repeated.
    #[config(default = 1, min = 1)]
    pub n_cond_frames: i64,
    /// How often a scene's only conditioning frame is repeated: the frames of a clip. 0 counts them in each batch.
    #[config(default = 1, min = 0)]
    pub n_copies: i64,
    /// The encoder. Without it frames are taken as they are.
    pub encoder: Option<EncoderSizes>,
    /// Channels of a latent, to which what the encoder gives is mapped (`quant_conv`).
    #[config(min = 1)]
    pub embed_dim: Option<i64>,
    /// What is taken of what the encoder gives.
    #[config(default = Latent::Mean)]
    pub latent: Latent,
    /// Mean of the logarithm of the noise level in training.
    pub noise_p_mean: Option<f64>,
    /// Standard deviation of the logarithm of the noise level in training.
    #[config(min = 0.0)]
    pub noise_p_std: Option<f64>,
    /// Noise levels of which one is drawn in training.
    #[config(min = 0.0)]
    pub noise_sigmas: Option<Vec<f64>>,
    /// The noise level in sampling: 0.02 if not given and levels are drawn in training. Where none are drawn it is
    /// the level in training too.
    #[config(min = 0.0)]
    pub noise_sigma: Option<f64>,
    /// Emit the noise level too, as a vector of sinusoids of this width.
    #[config(min = 1)]
    pub sigma_dim: Option<i64>,
    /// Multiplies the latents.
    #[config(default = 1.0, exclusive_min = 0.0)]
    pub scale_factor: f64,
    /// Frames encoded at a time; all at once if not given.
    #[config(min = 1)]
    pub en_and_decode_n_samples_a_time: Option<i64>,
}

/// What SVD's samplers add to the conditioning frame.
const SAMPLING_SIGMA: f64 = 0.02;

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    if settings.noise_p_mean.is_some() != settings.noise_p_std.is_some() {
        return Err(ConfigError::new("", "`noise_p_mean` and `noise_p_std` are given together or not at all"));
    }
    if let Some(sigmas) = &settings.noise_sigmas {
        if settings.noise_p_mean.is_some() {
            return Err(ConfigError::new("/noise_sigmas", "does not go with `noise_p_mean`"));
        }
        if sigmas.is_empty() {
            return Err(ConfigError::new("/noise_sigmas", "holds no noise level"));
        }
    }
    let has_level = settings.draws() || settings.noise_sigma.is_some();
    if settings.sigma_dim.is_some() && !has_level {
        let message = "there is no noise level to emit: give `noise_p_mean` and `noise_p_std`, `noise_sigmas`, or \
                       `noise_sigma`";
        return Err(ConfigError::new("/sigma_dim", message));
    }
    Ok(())
}

impl Settings {
    /// Whether noise levels are drawn in training.
    fn draws(&self) -> bool {
        self.noise_p_mean.is_some() || self.noise_sigmas.is_some()
    }
}

/// Upstream's `VideoPredictionEmbedderWithEncoder`. The decoder that upstream keeps and never runs is not declared.
pub struct VideoPrediction {
    encoder: FrameEncoder,
    settings: Settings,
}

impl Embedder<Tensor> for VideoPrediction {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let Settings { embed_dim, latent, .. } = settings;
        let at = Tree::new(params);
        let encoder = FrameEncoder::new(at.into_sub("encoder"), settings.encoder.as_ref(), embed_dim, latent)?;
        Ok(Self { encoder, settings })
    }

    /// # Shapes
    /// - input: conditioning frames `[b * n_cond_frames, c, h, w]`
    /// - outputs: concat `[n, z, h', w']`, and with `sigma_dim` vector `[n, sigma_dim]`, where `n` is `b * n_copies`
    ///   for one conditioning frame a scene and `b * n_cond_frames` for several
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
        let noised = match &sigmas {
            Some(sigmas) => {
                let noise = call.normal("noise", &frames.size())?.type_as(frames);
                let per_frame = repeat(sigmas, n_cond_frames).type_as(frames);
                frames + noise * per_frame.reshape([-1, 1, 1, 1])
            }
            None => frames.shallow_clone(),
        };
        let latents = self.encoder.forward(call, &noised, self.settings.en_and_decode_n_samples_a_time)?;
        let copies = match (n_cond_frames, n_copies) {
            (1, 0) => call.frames_per_scene(),
            (1, copies) => copies,
            _ => 1,
        };
        let outputs = Outputs::to(Slot::Concat, repeat(&(latents * scale_factor), copies)); // [b, ...] -> [b*t, ...]
        let (Some(dim), Some(sigmas)) = (sigma_dim, sigmas) else { return Ok(outputs) };
        let embedded = timestep_embedding(&sigmas.type_as(&frames.to_kind(Kind::Float)), dim, 10000.0);
        Ok(outputs.and(Slot::Vector, repeat(&embedded, copies * n_cond_frames)))
    }
}

impl VideoPrediction {
    /// The noise level of each scene, f32 `[b]` on the CPU; `None` if frames stay clean.
    fn sigmas(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let Settings { noise_p_mean, noise_p_std, noise_sigmas, noise_sigma, .. } = &self.settings;
        let scenes = call.num_scenes();
        if let (true, Some(mean), Some(std)) = (call.training(), noise_p_mean, noise_p_std) {
            return Ok(Some((call.normal("sigma", &[scenes])? * *std + *mean).exp()));
        }
        if let (true, Some(sigmas)) = (call.training(), noise_sigmas) {
            let table = Tensor::from_slice(sigmas).to_kind(Kind::Float);
            return Ok(Some(table.f_index_select(0, &uniform::below(call, "sigma", scenes, sigmas.len() as i64)?)?));
        }
        let fixed = noise_sigma.or(self.settings.draws().then_some(SAMPLING_SIGMA));
        Ok(fixed.map(|sigma| Tensor::full([scenes], sigma, (Kind::Float, Device::Cpu))))
    }
}

/// Each row `times` times in place: `(b) -> (b t)`.
fn repeat(rows: &Tensor, times: i64) -> Tensor {
    if times == 1 { rows.shallow_clone() } else { rows.repeat_interleave_self_int(times, 0, None) }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn encoder() -> Value {
        json!({ "ch": 32, "ch_mult": [1, 1], "num_res_blocks": 0, "attn_resolutions": [], "resolution": 8, "z_channels": 4 })
    }

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    #[test]
    fn latents_are_scaled_and_repeated_and_keys_are_upstreams() {
        let settings = json!({ "encoder": encoder(), "embed_dim": 4, "n_copies": 3, "scale_factor": 0.5 });
        let fixture = Fixture::<VideoPrediction>::new(settings).unwrap().scenes(2, 3);
        let names: Vec<&str> = fixture.declared().iter().map(|decl| decl.name.as_str()).collect();
        for name in ["encoder.encoder.conv_in.weight", "encoder.quant_conv.bias"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(names.iter().all(|name| !name.contains("decoder")));
        let frames = random(&[2, 3, 8, 8]);
        let counted = json!({ "encoder": encoder(), "embed_dim": 4, "n_copies": 0 });
        let counted =
            Fixture::<VideoPrediction>::new(counted).unwrap().scenes(2, 5).train(&[&frames]).unwrap().remove(0);
        assert_eq!(counted.1.size(), [10, 4, 4, 4]);
        let value = fixture.train(&[&frames]).unwrap().remove(0);
        assert_eq!((value.0, value.1.size()), (Some(Slot::Concat), vec![6, 4, 4, 4]));
        assert!(value.1.get(1).equal(&value.1.get(0)) && !value.1.get(3).equal(&value.1.get(0)));
    }

    #[test]
    fn chunks_change_nothing_and_moments_are_a_plain_encoders() {
        let latents = |more: Value| {
            let mut settings = json!({ "encoder": encoder(), "n_cond_frames": 3 });
            settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let mut fixture = Fixture::<VideoPrediction>::new(settings).unwrap().scenes(1, 3);
            let names: Vec<String> = fixture.declared().iter().map(|decl| decl.name.clone()).collect();
            for name in &names {
                let param = fixture.param(name);
                let values = Tensor::arange(param.numel() as i64, (Kind::Float, Device::Cpu));
                *param = (values * 0.7).sin().reshape(param.size()) * 0.1;
            }
            let frames = (Tensor::arange(3 * 3 * 64, (Kind::Float, Device::Cpu)) * 0.3).sin().reshape([3, 3, 8, 8]);
            (names[0].clone(), fixture.sample(&[&frames]).unwrap().remove(0).1)
        };
        let (_, all) = latents(json!({}));
        let (_, chunked) = latents(json!({ "en_and_decode_n_samples_a_time": 2 }));
        assert!(all.allclose(&chunked, 1e-4, 1e-5, false));
        let (key, moments) = latents(json!({ "latent": "moments" }));
        assert_eq!((key.as_str(), moments.size()), ("encoder.conv_in.weight", vec![3, 8, 4, 4]));
        assert!(moments.narrow(1, 0, 4).allclose(&all, 1e-4, 1e-5, false));
    }

    #[test]
    fn noise_levels_are_drawn_in_training_and_fixed_in_sampling() {
        let (frames, noise) = (random(&[2, 3, 4, 4]), random(&[2, 3, 4, 4]));
        let fixture = |settings: Value, z: [f32; 2]| {
            let fixture = Fixture::<VideoPrediction>::new(settings).unwrap().scenes(2, 1);
            fixture.draw("sigma", Tensor::from_slice(&z)).draw("noise", noise.shallow_clone())
        };
        let table = fixture(json!({ "noise_sigmas": [1.0, 2.0, 3.0, 4.0], "sigma_dim": 2 }), [-2.0, 0.1]);
        let outputs = table.train(&[&frames]).unwrap();
        for (row, sigma) in [(0, 1.0_f64), (1, 3.0)] {
            let expected = frames.get(row) + noise.get(row) * sigma;
            assert!(outputs[0].1.get(row).allclose(&expected, 1e-5, 1e-6, false));
            assert!((outputs[1].1.double_value(&[row, 0]) - sigma.cos()).abs() < 1e-6);
        }
        let sampled = table.sample(&[&frames]).unwrap().remove(0).1;
        assert!(sampled.allclose(&(&frames + &noise * SAMPLING_SIGMA), 1e-5, 1e-6, false));
        let gaussian = fixture(json!({ "noise_p_mean": -1.0, "noise_p_std": 0.5 }), [2.0, -2.0]);
        let value = gaussian.train(&[&frames]).unwrap().remove(0).1;
        assert!(value.get(0).allclose(&(frames.get(0) + noise.get(0)), 1e-5, 1e-6, false));
    }

    #[test]
    fn settings_that_do_not_fit_are_told() {
        let error = |settings: Value| Fixture::<VideoPrediction>::new(settings).err().unwrap().to_string();
        assert!(error(json!({ "sigma_dim": 4 })).starts_with("/sigma_dim"));
        assert!(error(json!({ "embed_dim": 4 })).starts_with("/embed_dim"));
        let mut odd = encoder();
        odd["ch"] = json!(20);
        assert!(error(json!({ "encoder": odd })).starts_with("/encoder/ch"));
        let both = json!({ "noise_p_mean": 0.0, "noise_p_std": 1.0, "noise_sigmas": [1.0] });
        assert!(error(both).starts_with("/noise_sigmas"));
    }
}
