//! `low-scale-encoder`: small images as noised latents, for a network that enlarges them.

use plugin_api::tch::prelude::*;

use crate::frame_encoder::{EncoderSizes, FrameEncoder, Latent};
use crate::tree::Tree;
use crate::uniform;

/// Images become latents, are noised at a level drawn for each of them, and resized.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// The autoencoder's encoder. Without it images are taken as they are.
    pub encoder: Option<EncoderSizes>,
    /// Channels of a latent, to which what the encoder gives is mapped (`quant_conv`).
    #[config(min = 1)]
    pub embed_dim: Option<i64>,
    /// What is taken of what the encoder gives.
    #[config(default = Latent::Sample)]
    pub latent: Latent,
    /// Variance of the noise that the first step adds.
    #[config(exclusive_min = 0.0, exclusive_max = 1.0)]
    pub linear_start: f64,
    /// Variance of the noise that the last step adds.
    #[config(exclusive_min = 0.0, exclusive_max = 1.0)]
    pub linear_end: f64,
    /// Steps from clean to noise.
    #[config(default = 1000, min = 1)]
    pub timesteps: i64,
    /// Levels that are drawn are below this.
    #[config(default = 250, min = 1)]
    pub max_noise_level: i64,
    /// Rows and columns of the result; 0 keeps those of the latent.
    #[config(default = 64, min = 0)]
    pub output_size: i64,
    /// Multiplies the latents before the noise.
    #[config(default = 1.0, exclusive_min = 0.0)]
    pub scale_factor: f64,
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    match settings.max_noise_level <= settings.timesteps {
        true => Ok(()),
        false => Err(ConfigError::new("/max_noise_level", format!("there are {} levels", settings.timesteps))),
    }
}

/// Upstream's `LowScaleEncoder`, whose constructor fails there. Its tables follow from the settings and are not saved.
pub struct LowScaleEncoder {
    encoder: FrameEncoder,
    /// Factors of latent and noise at each level.
    factors: Vec<(f64, f64)>,
    settings: Settings,
}

/// The square roots of the part of the signal and of the noise after each step. Variances grow as the square of a line
/// (Rombach et al. 2022).
fn factors(settings: &Settings) -> Vec<(f64, f64)> {
    let (start, end) = (settings.linear_start.sqrt(), settings.linear_end.sqrt());
    let last = (settings.timesteps - 1).max(1) as f64;
    let mut signal = 1.0;
    let step = |i: i64| {
        let beta = (start + (end - start) * i as f64 / last).powi(2);
        signal *= 1.0 - beta;
        (f64::sqrt(signal), f64::sqrt(1.0 - signal))
    };
    (0..settings.timesteps).map(step).collect()
}

impl Embedder<Tensor> for LowScaleEncoder {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let Settings { embed_dim, latent, .. } = settings;
        let at = Tree::new(params).into_sub("model");
        let encoder = FrameEncoder::new(at, settings.encoder.as_ref(), embed_dim, latent)?;
        Ok(Self { encoder, factors: factors(&settings), settings })
    }

    /// # Shapes
    /// - input: images `[n, c, h, w]`
    /// - outputs: concat `[n, z, output_size, output_size]`, and the noise level as vector `[n, 1]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let Settings { scale_factor, max_noise_level, output_size, .. } = self.settings;
        let latents = self.encoder.forward(call, inputs.tensor()?, None)? * scale_factor;
        let (device, kind) = (latents.device(), latents.kind());
        let levels = uniform::below(call, "noise_level", latents.size()[0], max_noise_level)?;
        let noise = call.normal("noise", &latents.size())?.to_device(device).to_kind(kind);
        let of_level = |values: Vec<f64>| {
            let table = Tensor::from_slice(&values).to_kind(Kind::Float);
            table.index_select(0, &levels).to_device(device).to_kind(kind).reshape([-1, 1, 1, 1])
        };
        let (signal, rest) = self.factors.iter().copied().unzip();
        let noised = latents * of_level(signal) + noise * of_level(rest);
        let resized = match output_size {
            0 => noised,
            size => noised.f_upsample_nearest2d([size, size], None, None)?,
        };
        let levels = levels.to_device(device).to_kind(kind).unsqueeze(1);
        Ok(Outputs::to(Slot::Concat, resized).and(Slot::Vector, levels))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;

    #[test]
    fn latents_are_noised_at_their_levels() {
        let settings = json!({ "linear_start": 0.25, "linear_end": 0.25, "timesteps": 4, "max_noise_level": 2,
            "output_size": 4, "scale_factor": 0.5 });
        let images = Tensor::ones([2, 1, 2, 2], (Kind::Float, Device::Cpu));
        let fixture = Fixture::<LowScaleEncoder>::new(settings).unwrap().scenes(2, 1);
        let fixture = fixture.draw("noise_level", Tensor::from_slice(&[-1.0_f32, 1.0])).draw("noise", &images * 2.0);
        let outputs = fixture.train(&[&images]).unwrap();
        assert_eq!(outputs[0].1.size(), [2, 1, 4, 4]);
        for (row, signal) in [(0, 0.75_f64), (1, 0.5625)] {
            let expected = 0.5 * signal.sqrt() + 2.0 * (1.0 - signal).sqrt();
            assert!((outputs[0].1.double_value(&[row, 0, 3, 3]) - expected).abs() < 1e-6);
            assert_eq!(outputs[1].1.double_value(&[row, 0]), row as f64);
        }
        let many = json!({ "linear_start": 0.1, "linear_end": 0.2, "timesteps": 4 });
        assert!(Fixture::<LowScaleEncoder>::new(many).err().unwrap().to_string().starts_with("/max_noise_level"));
    }
}
