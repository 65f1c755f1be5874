//! The first stage of models that work on the latents of an autoencoder.

use anneal_nn::Path;
use anneal_nn::autoencoder::{Autoencoder, AutoencoderConfig};
use tch::Tensor;

use super::FirstStage;

/// An autoencoder as a first stage.
#[derive(Debug)]
pub struct AutoencoderFirstStage {
    autoencoder: Autoencoder,
    config: AutoencoderConfig,
}

impl AutoencoderFirstStage {
    /// Adds the autoencoder's parameters at `path`.
    ///
    /// # Panics
    /// When [`AutoencoderConfig::check`] has something to say.
    pub fn new(config: &AutoencoderConfig, path: &Path) -> Self {
        Self { autoencoder: Autoencoder::new(config, path), config: config.clone() }
    }
}

impl FirstStage for AutoencoderFirstStage {
    fn moments(&self, x: &Tensor) -> Tensor {
        self.autoencoder.encode_moments(x, false)
    }

    fn code(&self, moments: &Tensor, noise: &Tensor) -> Tensor {
        self.autoencoder.regularizer().regularize(moments, Some(noise), false).z
    }

    fn code_shape(&self, [c, h, w]: [i64; 3]) -> [i64; 3] {
        let factor = self.config.downsampling();
        [self.config.latent_channels(c), h / factor, w / factor]
    }

    fn noise_shape(&self, image: [i64; 3]) -> [i64; 3] {
        let [code, h, w] = self.code_shape(image);
        // Noise that is not looked at has the code's shape, so that callers need not ask whether there is any.
        let channels = self.config.noise_channels(image[0]);
        [if channels == 0 { code } else { channels }, h, w]
    }

    fn decode(&self, z: &Tensor) -> Tensor {
        self.autoencoder.decode(z, z.size()[0], false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::cache::{Cached, Component, Counts, Store};
    use crate::first_stage::LatentCodec;
    use anneal_nn::Params;
    use serde_json::json;
    use tch::{Device, Kind};

    fn codec(chunk: Option<i64>) -> LatentCodec {
        let coder = |kind: &str| {
            json!({ "kind": kind, "ch": 32, "out_ch": 3, "ch_mult": [1, 1], "num_res_blocks": 1,
            "attn_resolutions": [], "in_channels": 3, "resolution": 16, "z_channels": 4 })
        };
        let config = json!({ "kind": "autoencoding-engine", "encoder_config": coder("encoder"),
            "decoder_config": coder("video-decoder"), "regularizer_config": { "kind": "diagonal-gaussian" } });
        let config = serde_json::from_value(config).unwrap();
        let params = Params::new(Device::Cpu, 1);
        let first_stage = AutoencoderFirstStage::new(&config, &params.root());
        // What starts at zero would hide that frames are mixed.
        let _no_grad = anneal_torch::grad_mode::no_grad();
        for param in params.entries().iter().filter(|param| param.path.contains("time_stack.out_layers.3")) {
            let _ = param.tensor.shallow_clone().fill_(0.02);
        }
        LatentCodec::new(Box::new(first_stage), 0.5, chunk, None)
    }

    #[test]
    fn latents_have_the_shape_that_was_said_and_come_back_as_pixels() {
        let codec = codec(None);
        assert_eq!(codec.latent_shape([3, 16, 24]), [4, 8, 12]);
        let like = (Kind::Float, Device::Cpu);
        let (x, noise) = (Tensor::rand([4, 3, 16, 24], like), Tensor::randn([4, 4, 8, 12], like));
        let latents = codec.encode(&x, &noise);
        assert_eq!(latents.size(), [4, 4, 8, 12]);
        assert!(!latents.requires_grad() && !latents.equal(&codec.encode(&x, &noise.zeros_like())));
        assert_eq!(codec.decode(&latents, 2).size(), [4, 3, 16, 24]);
    }

    #[test]
    fn codes_are_drawn_with_noise_of_their_number() {
        let coder = |kind: &str| {
            json!({ "kind": kind, "ch": 32, "out_ch": 3, "ch_mult": [1, 1], "num_res_blocks": 1, "double_z": false,
            "attn_resolutions": [], "in_channels": 3, "resolution": 16, "z_channels": 4 })
        };
        let config = json!({ "kind": "autoencoding-engine", "encoder_config": coder("encoder"),
            "decoder_config": coder("decoder"), "regularizer_config":
            { "kind": "gumbel-quantizer", "num_hiddens": 4, "embedding_dim": 4, "n_embed": 6 } });
        let first_stage =
            AutoencoderFirstStage::new(&serde_json::from_value(config).unwrap(), &Params::new(Device::Cpu, 1).root());
        let codec = LatentCodec::new(Box::new(first_stage), 1.0, Some(1), None);
        assert_eq!((codec.latent_shape([3, 16, 16]), codec.noise_shape([3, 16, 16])), ([4, 8, 8], [6, 8, 8]));
        let like = (Kind::Float, Device::Cpu);
        let latent = codec.encode(&Tensor::rand([2, 3, 16, 16], like), &Tensor::randn([2, 6, 8, 8], like));
        assert_eq!(latent.size(), [2, 4, 8, 8]);
    }

    #[test]
    fn moments_are_kept_row_by_row_and_drawn_from_anew() {
        let dir = tempfile::tempdir().unwrap();
        let params = Params::new(Device::Cpu, 1).into_entries();
        let component = |settings: &str| Component {
            settings: settings.to_owned(),
            params: params.iter().map(|param| (param.path.clone(), param.tensor.shallow_clone())).collect(),
        };
        let cached = |fills, settings: &str| {
            let store = Arc::new(Store::new(dir.path(), fills));
            let mut codec = codec(Some(2));
            codec.cached = Some(Cached::new(store.clone(), component(settings)));
            (store, codec)
        };
        let like = (Kind::Float, Device::Cpu);
        let (x, noise) = (Tensor::rand([4, 3, 16, 16], like), Tensor::randn([4, 4, 8, 8], like));
        let plain = codec(Some(2)).encode(&x, &noise);
        let close = |latents: &Tensor| latents.allclose(&plain, 1e-5, 1e-6, false);
        let (store, filling) = cached(true, "a");
        assert!(close(&filling.encode(&x, &noise)) && store.counts() == Counts { found: 0, missed: 4, written: 4 });
        // A run finds all of them, whatever the noise; of other pictures it computes those that are not there.
        let (store, using) = cached(false, "a");
        assert!(close(&using.encode(&x, &noise)) && !using.encode(&x, &noise.zeros_like()).equal(&plain));
        assert_eq!(store.counts(), Counts { found: 8, missed: 0, written: 0 });
        let other = Tensor::cat(&[x.narrow(0, 1, 1), Tensor::rand([1, 3, 16, 16], like), x.narrow(0, 3, 1)], 0);
        let mixed = using.encode(&other, &noise.narrow(0, 0, 3));
        let plain = codec(None).encode(&other, &noise.narrow(0, 0, 3));
        assert!(
            (&mixed - &plain).abs().max().double_value(&[]) < 1e-4,
            "{}",
            (&mixed - &plain).abs().max().double_value(&[])
        );
        assert_eq!(store.counts(), Counts { found: 10, missed: 1, written: 0 });
        // With other settings nothing fits.
        let (store, other) = cached(false, "b");
        assert!(close(&other.encode(&x, &noise)) && store.counts().found == 0);
    }

    #[test]
    fn a_chunk_is_decoded_as_one_video() {
        let z = Tensor::randn([3, 4, 4, 4], (Kind::Float, Device::Cpu));
        let whole = codec(None).decode(&z, 3);
        let chunked = codec(Some(2)).decode(&z, 3);
        let alone = codec(None).decode(&z.narrow(0, 2, 1), 1);
        assert!(chunked.narrow(0, 2, 1).allclose(&alone, 1e-4, 1e-5, false));
        assert!((whole - chunked).abs().max().double_value(&[]) > 1e-4);
    }
}
