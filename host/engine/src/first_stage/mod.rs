//! Pixels to latents and back: without gradients, in chunks, scaled.

mod autoencoder;
mod identity;

pub use autoencoder::AutoencoderFirstStage;
pub use identity::IdentityFirstStage;

use anneal_torch::random::Stream;
use anneal_torch::{autocast::Autocast, grad_mode};
use tch::{Kind, Tensor};

use crate::cache::{Cached, Key};

/// An autoencoder as the engine uses it, or the identity.
pub trait FirstStage: Send {
    /// What the code of `x` is drawn from, row by row: the moments of a Gaussian, or the code itself.
    ///
    /// # Shapes
    /// - `x`: `[n, 3, h, w]` f32 in `[-1, 1]`
    /// - result: `[n, ...]`
    fn moments(&self, x: &Tensor) -> Tensor;

    /// A sample of the code, drawn with `noise`.
    ///
    /// # Shapes
    /// - `moments`: `[n, ...]`, as [`FirstStage::moments`] gives them
    /// - `noise`: `[n, ...]` standard normal of [`FirstStage::noise_shape`], or not looked at where the code is not random
    /// - result: `[n, c, h/f, w/f]`
    fn code(&self, moments: &Tensor, noise: &Tensor) -> Tensor;

    /// The shape `[c, h/f, w/f]` of the code of one `[3, h, w]` image.
    fn code_shape(&self, image: [i64; 3]) -> [i64; 3];

    /// The shape of the noise that the code of one `[3, h, w]` image is drawn with.
    fn noise_shape(&self, image: [i64; 3]) -> [i64; 3] {
        self.code_shape(image)
    }

    /// Pixels of the codes `z`, whose rows are consecutive frames of one video.
    ///
    /// # Shapes
    /// - `z`: `[t, c, h/f, w/f]`
    /// - result: `[t, 3, h, w]`
    fn decode(&self, z: &Tensor) -> Tensor;
}

/// The noise that draws the codes of some scenes, each from its own stream.
///
/// # Shapes
/// - `of_scene`: `[t, c, h/f, w/f]`
/// - result: `[b*t, c, h/f, w/f]`
pub fn posterior_noise(seed: u64, sample_ids: &[u64], of_scene: [i64; 4]) -> Tensor {
    let noise = sample_ids.iter().map(|&id| Stream::new(seed, "posterior", id, 0).normal_tensor(&of_scene));
    Tensor::cat(&noise.collect::<Vec<_>>(), 0)
}

/// How the engine drives a first stage.
pub struct LatentCodec {
    first_stage: Box<dyn FirstStage>,
    /// Latents are the code times this.
    scale_factor: f64,
    /// Rows at a time; all at once if `None`.
    chunk: Option<i64>,
    /// The kind that autocast computes in; the parameters' own if `None`.
    compute: Option<Kind>,
    /// Where moments are kept, if they are.
    pub cached: Option<Cached>,
}

impl LatentCodec {
    /// A codec around `first_stage`; see `[model]` in the config for the arguments.
    pub fn new(first_stage: Box<dyn FirstStage>, scale_factor: f64, chunk: Option<i64>, compute: Option<Kind>) -> Self {
        Self { first_stage, scale_factor, chunk, compute, cached: None }
    }

    /// The shape `[c, h/f, w/f]` of the latent of one `[3, h, w]` image.
    pub fn latent_shape(&self, image: [i64; 3]) -> [i64; 3] {
        self.first_stage.code_shape(image)
    }

    /// The shape of the noise that the latent of one `[3, h, w]` image is drawn with.
    pub fn noise_shape(&self, image: [i64; 3]) -> [i64; 3] {
        self.first_stage.noise_shape(image)
    }

    /// The latent of `x`.
    ///
    /// # Shapes
    /// - `x`: `[n, 3, h, w]` in `[-1, 1]`
    /// - `noise`: `[n, ...]` standard normal of [`LatentCodec::noise_shape`]
    /// - result: `[n, c, h/f, w/f]` f32
    pub fn encode(&self, x: &Tensor, noise: &Tensor) -> Tensor {
        let _no_grad = grad_mode::no_grad();
        let _autocast = self.autocast(x);
        let moments = match &self.cached {
            None => self.moments(x),
            Some(cached) => self.moments_of_rows(x, cached),
        };
        self.first_stage.code(&moments, noise).to_kind(Kind::Float) * self.scale_factor
    }

    /// Moments in chunks.
    fn moments(&self, x: &Tensor) -> Tensor {
        let n = x.size()[0];
        let chunk = self.chunk.unwrap_or(n).max(1);
        let chunks = (0..n).step_by(chunk as usize);
        let moments = chunks.map(|first| self.first_stage.moments(&x.narrow(0, first, chunk.min(n - first))));
        Tensor::cat(&moments.collect::<Vec<_>>(), 0)
    }

    /// Moments, each row's from the cache where it is there.
    fn moments_of_rows(&self, x: &Tensor, cached: &Cached) -> Tensor {
        let rows: Vec<Tensor> = x.split(1, 0);
        let keys: Vec<Key> = rows.iter().map(|row| cached.key().tensor(row)).collect();
        let mut found: Vec<Option<Tensor>> = keys
            .iter()
            .map(|key| cached.get(key, x.device()).and_then(|entry| entry.into_iter().next()).map(|(_, row)| row))
            .collect();
        let missing: Vec<usize> = (0..rows.len()).filter(|&row| found[row].is_none()).collect();
        if !missing.is_empty() {
            let chosen: Vec<&Tensor> = missing.iter().map(|&row| &rows[row]).collect();
            for (&row, moments) in missing.iter().zip(self.moments(&Tensor::cat(&chosen, 0)).split(1, 0)) {
                if cached.fills() {
                    cached.put(&keys[row], &[("moments".to_owned(), moments.shallow_clone())]);
                }
                found[row] = Some(moments);
            }
        }
        Tensor::cat(&found.into_iter().flatten().collect::<Vec<_>>(), 0)
    }

    /// Pixels of the latents of scenes of `frames_per_scene` frames. A chunk never holds frames of two scenes,
    /// because a video decoder mixes what it is given.
    ///
    /// # Shapes
    /// - `latent`: `[b*t, c, h/f, w/f]`
    /// - result: `[b*t, 3, h, w]` f32
    pub fn decode(&self, latent: &Tensor, frames_per_scene: i64) -> Tensor {
        let _no_grad = grad_mode::no_grad();
        let _autocast = self.autocast(latent);
        let code = latent / self.scale_factor;
        let n = code.size()[0];
        let t = frames_per_scene.clamp(1, n.max(1));
        let chunk = self.chunk.unwrap_or(t).clamp(1, t);
        let mut pixels = Vec::new();
        for scene in (0..n).step_by(t as usize) {
            for first in (0..t).step_by(chunk as usize) {
                pixels.push(self.first_stage.decode(&code.narrow(0, scene + first, chunk.min(t - first))));
            }
        }
        Tensor::cat(&pixels, 0).to_kind(Kind::Float)
    }

    fn autocast(&self, like: &Tensor) -> Option<Autocast> {
        self.compute.map(|kind| Autocast::new(like.device(), kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Adds to each frame the mean of the frames it is decoded with, as a video decoder mixes them.
    struct Mixing;

    impl FirstStage for Mixing {
        fn moments(&self, x: &Tensor) -> Tensor {
            x.shallow_clone()
        }
        fn code(&self, moments: &Tensor, noise: &Tensor) -> Tensor {
            moments + noise
        }
        fn code_shape(&self, image: [i64; 3]) -> [i64; 3] {
            image
        }
        fn decode(&self, z: &Tensor) -> Tensor {
            z + z.mean_dim([0].as_slice(), true, Kind::Float)
        }
    }

    fn codec(chunk: Option<i64>) -> LatentCodec {
        LatentCodec::new(Box::new(Mixing), 0.5, chunk, None)
    }

    #[test]
    fn encoding_in_chunks_changes_nothing_and_keeps_no_graph() {
        let x = Tensor::randn([5, 3, 4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let noise = Tensor::randn([5, 3, 4, 4], (Kind::Float, Device::Cpu));
        let whole = codec(None).encode(&x, &noise);
        let chunked = codec(Some(2)).encode(&x, &noise);
        assert!(whole.equal(&chunked) && !whole.requires_grad());
        assert!(whole.allclose(&((&x + &noise) * 0.5), 1e-6, 1e-6, false));
    }

    #[test]
    fn decoding_never_mixes_two_scenes() {
        let z = Tensor::randn([6, 3, 2, 2], (Kind::Float, Device::Cpu));
        let both = codec(None).decode(&z, 3);
        let second = codec(None).decode(&z.narrow(0, 3, 3), 3);
        assert!(both.narrow(0, 3, 3).equal(&second));
        // A chunk is what the decoder sees as one video: two frames, then the third alone.
        let chunked = codec(Some(2)).decode(&z, 3);
        let third = codec(None).decode(&z.narrow(0, 2, 1), 1);
        assert!(chunked.narrow(0, 2, 1).equal(&third) && !chunked.equal(&both));
    }
}
