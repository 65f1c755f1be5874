//! The model: first stage, conditioner, network and denoiser together.

use tch::{Kind, Tensor};

use super::{Denoiser, ExtraInputs, Loss, StepDraws, Wrapper, add_noise};
use crate::conditioner::{Conditioner, Pass};
use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};
use crate::first_stage::{LatentCodec, posterior_noise};

/// Everything between a batch and a loss, or between noise and pictures.
pub struct Model {
    /// The batch entry that is learned.
    pub input_key: String,
    /// Batch entries that go to the network as they are.
    pub extra_inputs: Vec<String>,
    /// Pixels to latents and back.
    pub first_stage: LatentCodec,
    /// Batch entries to conditions.
    pub conditioner: Conditioner,
    /// The network in its wrapper.
    pub network: Wrapper,
    /// The preconditioning around the network.
    pub denoiser: Denoiser,
}

impl Model {
    /// The pixels that are learned.
    ///
    /// # Errors
    /// When the batch has no such entry.
    pub fn input<'a>(&self, batch: &'a Batch) -> Result<&'a Tensor, ComponentError> {
        batch.tensors.get(&self.input_key).ok_or_else(|| {
            let keys: Vec<&str> = batch.tensors.keys().map(String::as_str).collect();
            let message = format!("the batch has no entry `{}`; it has {}", self.input_key, keys.join(", "));
            ComponentError::new("model.input_key", ErrorCode::InvalidConfig, message)
        })
    }

    /// The shape `[b*t, c, h, w]` of the latents of a batch.
    ///
    /// # Errors
    /// When the batch lacks the input, or it is not made of pictures.
    pub fn latent_shape(&self, batch: &Batch) -> Result<[i64; 4], ComponentError> {
        let [n, c, h, w] = self.picture_shape(batch)?;
        let [c, h, w] = self.first_stage.latent_shape([c, h, w]);
        Ok([n, c, h, w])
    }

    fn picture_shape(&self, batch: &Batch) -> Result<[i64; 4], ComponentError> {
        let size = self.input(batch)?.size();
        <[i64; 4]>::try_from(&size[..]).map_err(|_| {
            let component = format!("batch entry {}", self.input_key);
            ComponentError::new(component, ErrorCode::InvalidArgument, format!("must be [n, c, h, w], not {size:?}"))
        })
    }

    /// The clean latents of a batch.
    ///
    /// # Shapes
    /// - result: `[b*t, c, h, w]` f32
    ///
    /// # Errors
    /// When the batch lacks the input.
    pub fn encode(&self, batch: &Batch, seed: u64) -> Result<Tensor, ComponentError> {
        let pixels = self.input(batch)?;
        let [n, c, h, w] = self.picture_shape(batch)?;
        let [noise_c, noise_h, noise_w] = self.first_stage.noise_shape([c, h, w]);
        let of_scene = [n / batch.num_scenes().max(1), noise_c, noise_h, noise_w];
        let noise = posterior_noise(seed, &batch.sample_ids, of_scene);
        Ok(self.first_stage.encode(pixels, &noise.to_device(pixels.device())))
    }

    /// The training loss of a batch: the mean over rows of the weighted distance.
    ///
    /// # Errors
    /// When a component fails.
    pub fn loss(&self, loss: &mut Loss, batch: &Batch, seed: u64, train: bool) -> Result<Tensor, ComponentError> {
        let clean = self.encode(batch, seed)?;
        let draws = loss.draw(batch, &clean.size(), seed)?;
        self.loss_of(loss, batch, &clean, &draws, Pass { seed, training: train, force_zero: &[] })
    }

    /// As [`Model::loss`] at one noise level, under noise that depends on seed and scenes alone, nothing dropped.
    ///
    /// # Errors
    /// When a component fails.
    pub fn loss_at(&self, sigma: f64, loss: &mut Loss, batch: &Batch, seed: u64) -> Result<Tensor, ComponentError> {
        let clean = self.encode(batch, seed)?;
        let draws = loss.draw_at(sigma, batch, &clean.size(), seed);
        self.loss_of(loss, batch, &clean, &draws, Pass { seed, training: false, force_zero: &[] })
    }

    fn loss_of(
        &self,
        loss: &mut Loss,
        batch: &Batch,
        clean: &Tensor,
        draws: &StepDraws,
        pass: Pass<'_>,
    ) -> Result<Tensor, ComponentError> {
        let train = pass.training;
        let conditions = self.conditioner.embed(batch, pass)?;
        let extra = ExtraInputs::from_batch(batch, &self.extra_inputs)?;
        let noised = add_noise(clean, &draws.noise.to_device(clean.device()), &draws.sigmas);
        let denoised = self.denoiser.denoise(&self.network, &noised, &draws.sigmas, &conditions, &extra, train)?;
        let weighed = loss.weighting.weigh(&draws.sigmas, clean.device(), train)?;
        Ok(loss.of_rows(&denoised, clean, &weighed).mean(Kind::Float))
    }
}
