//! The autoencoder as its training sees it.

use anneal_nn::autoencoder::{Autoencoder, AutoencoderConfig, Latent};
use anneal_torch::autocast::Autocast;
use tch::{Kind, Tensor};

use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};
use crate::first_stage::posterior_noise;

/// An autoencoder in training.
#[derive(Debug)]
pub struct AutoencoderModel {
    /// The batch entry that is learned.
    pub input_key: String,
    /// The network.
    pub autoencoder: Autoencoder,
    /// Its settings.
    pub config: AutoencoderConfig,
    /// The kind that autocast computes in; the parameters' own if none.
    pub compute: Option<Kind>,
}

/// Pictures and what the autoencoder makes of them.
#[derive(Debug)]
pub struct Reconstruction {
    /// The pictures, `[b*t, c, h, w]` f32.
    pub input: Tensor,
    /// Their reconstructions, alike.
    pub output: Tensor,
    /// The regularizer's terms by name.
    pub terms: Vec<(String, Tensor)>,
    /// The latents, `[b*t, c, h/f, w/f]` f32, without a gradient.
    pub latents: Tensor,
}

impl AutoencoderModel {
    /// Encodes and decodes a batch. Frames of a scene are one video to a decoder of videos.
    ///
    /// # Errors
    /// When the batch lacks the input, or it has no four axes.
    pub fn reconstruct(&self, batch: &Batch, seed: u64, train: bool) -> Result<Reconstruction, ComponentError> {
        let wrong = |message: String| {
            ComponentError::new(format!("batch entry {}", self.input_key), ErrorCode::InvalidArgument, message)
        };
        let input = batch.tensors.get(&self.input_key).ok_or_else(|| wrong("is missing".to_owned()))?;
        let [n, c, h, w] = input.size()[..] else {
            return Err(wrong(format!("must be [n, c, h, w], not {:?}", input.size())));
        };
        let factor = self.config.downsampling();
        let rows = n / batch.num_scenes().max(1);
        let of_scene = [rows, self.config.noise_channels(c), h / factor, w / factor];
        let noise = posterior_noise(seed, &batch.sample_ids, of_scene).to_device(input.device());
        Ok(self.reconstruct_with(input, &noise, rows, train))
    }

    /// Encodes, draws codes with `noise`, and decodes.
    ///
    /// # Shapes
    /// - `input`: `[b*t, c, h, w]` in `[-1, 1]`
    /// - `noise`: `[b*t, ...]`, standard normal
    pub fn reconstruct_with(&self, input: &Tensor, noise: &Tensor, frames: i64, train: bool) -> Reconstruction {
        let _autocast = self.compute.map(|kind| Autocast::new(input.device(), kind));
        let Latent { z, terms, .. } = self.autoencoder.encode_with_terms(input, Some(noise), train);
        let output = self.autoencoder.decode(&z, frames, train);
        let latents = z.detach().to_kind(Kind::Float);
        let (input, output) = (input.to_kind(Kind::Float), output.to_kind(Kind::Float));
        Reconstruction { input, output, terms, latents }
    }
}
