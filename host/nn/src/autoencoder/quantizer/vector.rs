//! The quantizer of VQ-VAE (van den Oord et al. 2017): codes that are trained by the loss.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{channels_first, channels_last, nearest, straight_through, usage, vq};
use crate::autoencoder::Latent;
use crate::params::{Init, Path};

/// Settings of a [`VectorQuantizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VectorQuantizerConfig {
    /// Number of codes.
    #[schemars(range(min = 1))]
    pub n_e: u32,
    /// Channels of a code.
    #[schemars(range(min = 1))]
    pub e_dim: u32,
    /// Weight of the pull of the encoder to its codes, beside that of the codes to what is encoded.
    #[serde(default = "quarter")]
    pub beta: f64,
    /// Indices of codes have the shape of the image instead of one axis.
    #[serde(default)]
    pub sane_index_shape: bool,
    /// Say how many codes are in use: `perplexity` and `cluster_usage`.
    #[serde(default)]
    pub log_perplexity: bool,
    /// The codes are directions, with a length for each channel.
    #[serde(default)]
    pub embedding_weight_norm: bool,
    /// Name of the loss.
    #[serde(default = "vq")]
    pub loss_key: String,
}

impl VectorQuantizerConfig {
    /// So many codes of so many channels, and the rest as by default.
    pub fn new(n_e: u32, e_dim: u32) -> Self {
        Self {
            n_e,
            e_dim,
            beta: quarter(),
            sane_index_shape: false,
            log_perplexity: false,
            embedding_weight_norm: false,
            loss_key: vq(),
        }
    }
}

fn quarter() -> f64 {
    0.25
}

/// The codes: as they are, or as directions and lengths.
#[derive(Debug)]
enum Codes {
    Plain(Tensor),
    Normed { g: Tensor, v: Tensor },
}

/// The nearest code at each pixel.
#[derive(Debug)]
pub struct VectorQuantizer {
    codes: Codes,
    config: VectorQuantizerConfig,
}

impl VectorQuantizer {
    /// Key `embedding.weight`; with `embedding_weight_norm` `embedding.weight_g` and `embedding.weight_v`.
    pub fn new(config: &VectorQuantizerConfig, path: &Path) -> Self {
        let path = path.sub("embedding");
        let (num, width) = (i64::from(config.n_e), i64::from(config.e_dim));
        let codes = if config.embedding_weight_norm {
            // The length of `num` normal draws is their root in the mean, so the codes start as those draws.
            let length = Init::Const(f64::from(config.n_e).sqrt());
            Codes::Normed {
                g: path.param("weight_g", &[1, width], length),
                v: path.param("weight_v", &[num, width], Init::Normal { std: 1.0 }),
            }
        } else {
            Codes::Plain(path.param("weight", &[num, width], Init::Uniform { bound: 1.0 / f64::from(config.n_e) }))
        };
        Self { codes, config: config.clone() }
    }

    /// The codes: `[n_e, e_dim]`.
    pub fn codes(&self) -> Tensor {
        match &self.codes {
            Codes::Plain(weight) => weight.shallow_clone(),
            Codes::Normed { g, v } => v * (g / v.square().sum_dim_intlist([0].as_slice(), true, None::<Kind>).sqrt()),
        }
    }

    /// The codes nearest to `z`, and `|sg(e) - z|^2 * beta + |e - sg(z)|^2` as the loss, means over all values.
    ///
    /// # Shapes
    /// - `z`: `[n, e_dim, h, w]`
    /// - result: `[n, e_dim, h, w]`
    pub fn forward(&self, z: &Tensor) -> Latent {
        let config = &self.config;
        let z = channels_last(z);
        let codes = self.codes();
        let indices = nearest(&z.flatten(0, 2), &codes);
        let picked = Tensor::embedding(&codes, &indices, -1, false, false).view_as(&z);
        let distance = |a: &Tensor, b: &Tensor| (a - b).square().mean(None::<Kind>);
        let loss = distance(&picked.detach(), &z) * config.beta + distance(&picked, &z.detach());
        let mut terms = vec![(config.loss_key.clone(), loss)];
        if config.log_perplexity {
            let (perplexity, used) = usage(&indices, config.n_e.into());
            terms.extend([("perplexity".to_owned(), perplexity), ("cluster_usage".to_owned(), used)]);
        }
        let indices = if config.sane_index_shape { indices.view(&z.size()[..3]) } else { indices };
        Latent { z: channels_first(&straight_through(&z, &picked)), terms, indices: Some(indices) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoencoder::quantizer::testing::{Check, wave};
    use serde_json::json;

    // The expected numbers come from PyTorch, by the same formulas for the values.

    #[test]
    fn equals_pytorch_and_its_gradients() {
        let mut check = Check::new();
        let config = json!({ "n_e": 4, "e_dim": 3, "log_perplexity": true, "sane_index_shape": true });
        let quantizer = VectorQuantizer::new(&serde_json::from_value(config).unwrap(), &check.root());
        check.set("embedding.weight", wave(1.0, 0.7, &[4, 3]));
        let latent = quantizer.forward(&check.z);
        check.close("z", &latent.z, &Z);
        check.backward(&latent, 2.0);
        check.scalar(&latent, "loss/vq", 0.166_122);
        check.scalar(&latent, "perplexity", 2.828_427);
        check.scalar(&latent, "cluster_usage", 3.0);
        let indices = latent.indices.unwrap();
        assert_eq!(indices.size(), [2, 1, 2]);
        assert_eq!(Vec::<i64>::try_from(indices.flatten(0, -1)).unwrap(), [0, 3, 2, 2]);
        check.close(
            "dz",
            &check.z.grad(),
            &[
                0.43393, 0.979857, 0.746191, -0.068886, -0.838951, -1.027317, -0.35757, 0.486273, 0.942173, 0.719663,
                -0.099712, -0.805585,
            ],
        );
        check.close_grad(
            "embedding.weight",
            &[0.181984, -0.001943, 0.082694, 0.0, 0.0, 0.0, -0.033871, 0.242916, 0.009276, 0.02237, 0.04205, 0.273572],
        );
    }

    const Z: [f32; 12] = [
        0.841471, 0.850436, 0.991665, 0.989358, 0.675463, 0.662969, -0.883455, -0.883455, -0.373877, -0.373877,
        0.311541, 0.311541,
    ];

    #[test]
    fn directions_and_lengths_equal_pytorch() {
        let mut check = Check::new();
        let config = json!({ "n_e": 4, "e_dim": 3, "embedding_weight_norm": true, "loss_key": "vq" });
        let quantizer = VectorQuantizer::new(&serde_json::from_value(config).unwrap(), &check.root());
        check.set("embedding.weight_g", wave(2.0, 0.3, &[1, 3]) + 1.5);
        check.set("embedding.weight_v", wave(1.0, 0.7, &[4, 3]));
        let latent = quantizer.forward(&check.z);
        check.close(
            "z",
            &latent.z,
            &[
                1.362656, 1.377174, 1.415171, 1.411879, 0.975316, 0.957276, -1.430643, -1.430643, -0.533546, -0.533546,
                0.449841, 0.449841,
            ],
        );
        check.backward(&latent, 2.0);
        check.scalar(&latent, "vq", 0.481_857);
        assert_eq!(latent.indices.unwrap().size(), [4]);
        check.close_grad("embedding.weight_g", &[0.55106, 0.170295, 0.287561]);
        check.close_grad(
            "embedding.weight_v",
            &[
                0.07132, 0.045538, 0.0628, -0.02494, 0.094491, 0.29078, -0.115693, 0.252489, 0.053851, -0.189534,
                0.108207, 0.339459,
            ],
        );
    }
}
