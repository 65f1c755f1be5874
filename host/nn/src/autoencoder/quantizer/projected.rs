//! A vector quantizer between two linear maps, so that codes may be narrower than what is encoded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::vector::{VectorQuantizer, VectorQuantizerConfig};
use super::{channels_first, channels_last, vq};
use crate::autoencoder::Latent;
use crate::layers::{Linear, LinearConfig};
use crate::params::Path;

/// Settings of a [`ProjectedQuantizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectedQuantizerConfig {
    /// Channels of what is encoded.
    #[schemars(range(min = 1))]
    pub input_dim: u32,
    /// Number of codes.
    #[schemars(range(min = 1))]
    pub n_codes: u32,
    /// Channels of a code.
    #[schemars(range(min = 1))]
    pub codebook_dim: u32,
    /// Weight of the pull of the encoder to its codes, beside that of the codes to what is encoded.
    #[serde(default = "one")]
    pub beta: f64,
    /// Channels of a latent; those of a code, unmapped, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub output_dim: Option<u32>,
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

fn one() -> f64 {
    1.0
}

/// Linear, [`VectorQuantizer`], linear.
#[derive(Debug)]
pub struct ProjectedQuantizer {
    proj_in: Linear,
    quantizer: VectorQuantizer,
    proj_out: Option<Linear>,
}

impl ProjectedQuantizer {
    /// Keys of the quantizer, `proj_in`, and `proj_out` with `output_dim`.
    pub fn new(config: &ProjectedQuantizerConfig, path: &Path) -> Self {
        let quantizer = VectorQuantizerConfig {
            n_e: config.n_codes,
            e_dim: config.codebook_dim,
            beta: config.beta,
            sane_index_shape: config.sane_index_shape,
            log_perplexity: config.log_perplexity,
            embedding_weight_norm: config.embedding_weight_norm,
            loss_key: config.loss_key.clone(),
        };
        let code = i64::from(config.codebook_dim);
        Self {
            quantizer: VectorQuantizer::new(&quantizer, path),
            proj_in: Linear::new(&path.sub("proj_in"), LinearConfig::new(config.input_dim.into(), code)),
            proj_out: config
                .output_dim
                .map(|output| Linear::new(&path.sub("proj_out"), LinearConfig::new(code, output.into()))),
        }
    }

    /// The codes nearest to what `z` is mapped to, mapped again; the loss is measured between the maps.
    ///
    /// # Shapes
    /// - `z`: `[n, input_dim, h, w]`
    /// - result: `[n, output_dim, h, w]`; `[n, codebook_dim, h, w]` without `output_dim`
    pub fn forward(&self, z: &Tensor) -> Latent {
        let latent = self.quantizer.forward(&channels_first(&self.proj_in.forward(&channels_last(z), false)));
        match &self.proj_out {
            Some(proj_out) => {
                Latent { z: channels_first(&proj_out.forward(&channels_last(&latent.z), false)), ..latent }
            }
            None => latent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoencoder::quantizer::testing::{Check, wave};
    use serde_json::json;

    #[test]
    fn equals_pytorch_and_its_gradients() {
        let mut check = Check::new();
        let config = json!({ "input_dim": 3, "n_codes": 4, "codebook_dim": 2, "output_dim": 3 });
        let quantizer = ProjectedQuantizer::new(&serde_json::from_value(config).unwrap(), &check.root());
        check.set("embedding.weight", wave(1.0, 0.7, &[4, 2]));
        check.set("proj_in.weight", wave(0.2, 0.8, &[2, 3]));
        check.set("proj_in.bias", wave(0.1, 0.3, &[2]));
        check.set("proj_out.weight", wave(0.4, 0.6, &[3, 2]));
        check.set("proj_out.bias", wave(0.7, 0.2, &[3]));
        let latent = quantizer.forward(&check.z);
        check.close(
            "z",
            &latent.z,
            &[
                0.942244, 1.806359, 1.49212, 2.426196, 1.106854, 0.919679, -0.014422, -0.416614, -0.402029, -0.6186,
                0.690802, 0.936042,
            ],
        );
        check.backward(&latent, 2.0);
        check.scalar(&latent, "loss/vq", 0.419_208);
        check.close(
            "dz",
            &check.z.grad(),
            &[
                0.797856, 0.456404, 0.570102, -0.228558, -0.003468, -0.774879, 0.592778, 0.948546, 0.513541, 0.43017,
                0.122798, -0.349141,
            ],
        );
        check.close_grad("proj_in.weight", &[-1.225481, -0.300145, 1.007961, -0.966368, 0.345888, 1.217039]);
        check.close_grad(
            "embedding.weight",
            &[0.006635, 0.140769, -0.369323, 0.063608, -0.308706, -0.249799, -0.041989, -0.31534],
        );
        check.close_grad("proj_out.weight", &[1.181038, 0.653944, -0.867772, -1.114229, -0.786718, -0.147634]);
        check.close_grad("proj_out.bias", &[1.585111, 2.409897, -2.680179]);
    }
}
