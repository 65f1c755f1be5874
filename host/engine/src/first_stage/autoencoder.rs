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
    fn encode(&self, x: &Tensor, noise: &Tensor) -> Tensor {
        self.autoencoder.encode(x, Some(noise))
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
    fn a_chunk_is_decoded_as_one_video() {
        let z = Tensor::randn([3, 4, 4, 4], (Kind::Float, Device::Cpu));
        let whole = codec(None).decode(&z, 3);
        let chunked = codec(Some(2)).decode(&z, 3);
        let alone = codec(None).decode(&z.narrow(0, 2, 1), 1);
        assert!(chunked.narrow(0, 2, 1).allclose(&alone, 1e-4, 1e-5, false));
        assert!((whole - chunked).abs().max().double_value(&[]) > 1e-4);
    }
}
