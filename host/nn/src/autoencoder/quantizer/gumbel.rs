//! A quantizer that draws its codes (Jang et al. 2016, arXiv:1611.01144), so that all of them get gradients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::vq;
use crate::autoencoder::Latent;
use crate::layers::{Conv, ConvConfig};
use crate::params::{Init, Path};

/// Settings of a [`GumbelQuantizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GumbelQuantizerConfig {
    /// Channels of what is encoded.
    #[schemars(range(min = 1))]
    pub num_hiddens: u32,
    /// Channels of a code.
    #[schemars(range(min = 1))]
    pub embedding_dim: u32,
    /// Number of codes.
    #[schemars(range(min = 1))]
    pub n_embed: u32,
    /// One code at each pixel in training too, instead of a blend; outside training it is always one.
    #[serde(default = "crate::config::yes")]
    pub straight_through: bool,
    /// Weight, within the loss, of the divergence of the codes' probabilities from uniform ones.
    #[serde(default = "small")]
    pub kl_weight: f64,
    /// Divides the drawn logits: the closer to 0, the closer the blend is to one code.
    #[serde(default = "one")]
    pub temp_init: f64,
    /// Name of the loss.
    #[serde(default = "vq")]
    pub loss_key: String,
}

fn small() -> f64 {
    5e-4
}

fn one() -> f64 {
    1.0
}

/// Gumbel noise (`-ln(-ln u)` of a uniform `u`) of standard normal noise, value by value.
pub fn gumbel_of_normal(normal: &Tensor) -> Tensor {
    // `u` is the normal distribution function of the draw. Its logarithm is known to full precision at both ends,
    // where `u` itself is 0 or 1 in f32.
    -(-normal.special_log_ndtr()).log()
}

/// A code at each pixel, drawn by the probabilities that a convolution gives.
#[derive(Debug)]
pub struct GumbelQuantizer {
    proj: Conv,
    embed: Tensor,
    config: GumbelQuantizerConfig,
}

impl GumbelQuantizer {
    /// Keys `proj` and `embed.weight`.
    pub fn new(config: &GumbelQuantizerConfig, path: &Path) -> Self {
        let num = i64::from(config.n_embed);
        let shape = [num, config.embedding_dim.into()];
        Self {
            proj: Conv::new(&path.sub("proj"), ConvConfig::same(config.num_hiddens.into(), num, &[1, 1])),
            embed: path.sub("embed").param("weight", &shape, Init::Normal { std: 1.0 }),
            config: config.clone(),
        }
    }

    /// Codes drawn with `gumbel`, and the divergence as the loss: summed over codes, averaged over pixels.
    ///
    /// # Shapes
    /// - `z`: `[n, num_hiddens, h, w]`
    /// - `gumbel`: `[n, n_embed, h, w]`, Gumbel noise
    /// - result: `[n, embedding_dim, h, w]`
    pub fn forward(&self, z: &Tensor, gumbel: &Tensor, train: bool) -> Latent {
        let config = &self.config;
        let logits = self.proj.forward(z);
        let soft = ((&logits + gumbel) / config.temp_init).softmax(1, None::<Kind>);
        let indices = soft.argmax(1, true);
        let picked = if config.straight_through || !train {
            let hard = soft.zeros_like().scatter_value(1, &indices, 1.0);
            hard - soft.detach() + &soft
        } else {
            soft
        };
        let z = Tensor::einsum("bnhw,nd->bdhw", &[&picked, &self.embed], None::<&[i64]>);
        let chances = logits.softmax(1, None::<Kind>);
        let divergence = (&chances * (&chances * f64::from(config.n_embed) + 1e-10).log())
            .sum_dim_intlist([1].as_slice(), false, None::<Kind>)
            .mean(None::<Kind>);
        let terms = vec![(config.loss_key.clone(), divergence * config.kl_weight)];
        Latent { z, terms, indices: Some(indices.squeeze_dim(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoencoder::quantizer::testing::{Check, wave};
    use serde_json::json;

    fn check(straight_through: bool, train: bool, z: &[f32], d_embed: &[f32]) {
        let mut check = Check::new();
        let config = json!({ "num_hiddens": 3, "embedding_dim": 3, "n_embed": 4, "temp_init": 0.5,
            "straight_through": straight_through });
        let quantizer = GumbelQuantizer::new(&serde_json::from_value(config).unwrap(), &check.root());
        check.set("proj.weight", wave(0.2, 0.8, &[4, 3, 1, 1]));
        check.set("proj.bias", wave(0.1, 0.3, &[4]));
        check.set("embed.weight", wave(1.0, 0.7, &[4, 3]));
        let latent = quantizer.forward(&check.z, &(wave(0.9, 1.3, &[2, 4, 1, 2]) * 2.0), train);
        check.close("z", &latent.z, z);
        check.backward(&latent, 1000.0);
        check.scalar(&latent, "loss/vq", 2.370_977e-4);
        assert_eq!(Vec::<i64>::try_from(latent.indices.unwrap().flatten(0, -1)).unwrap(), [3, 0, 1, 3]);
        check.close(
            "dz",
            &check.z.grad(),
            &[
                0.043776, 0.25992, 0.03913, 0.274079, 0.010749, 0.121986, -0.095501, 0.206266, -0.023825, 0.181301,
                0.062302, 0.046361,
            ],
        );
        check.close_grad(
            "proj.weight",
            &[
                0.131591, 0.130557, -0.036974, 0.057569, 0.046419, -0.023929, -0.104848, -0.189512, -0.032494,
                -0.084312, 0.012535, 0.093397,
            ],
        );
        check.close_grad("embed.weight", d_embed);
    }

    #[test]
    fn equals_pytorch_and_its_gradients() {
        let (hard_z, hard_d) = (
            [
                0.850436, 0.841471, 0.989358, 0.991665, 0.662969, 0.675463, 0.041581, 0.850436, -0.611858, 0.989358,
                -0.97753, 0.662969,
            ],
            [
                0.98545, -0.058374, -0.958924, -0.373877, 0.988168, -0.075151, 0.0, 0.0, 0.0, 0.973539, 1.480103,
                -1.646103,
            ],
        );
        check(true, true, &hard_z, &hard_d);
        check(false, false, &hard_z, &hard_d);
        let soft_z = [
            0.847591, 0.709731, 0.989273, 0.886224, 0.665684, 0.645913, 0.028164, 0.698783, -0.592234, 0.795301,
            -0.934096, 0.517776,
        ];
        let soft_d = [
            0.972587, 0.156421, -1.043665, -0.323181, 1.014514, -0.137819, 0.092402, 0.055267, -0.117515, 0.843304,
            1.183695, -1.381179,
        ];
        check(false, true, &soft_z, &soft_d);
    }

    #[test]
    fn gumbel_noise_is_exact_at_both_ends() {
        let got = gumbel_of_normal(&Tensor::from_slice(&[-3f32, 0.0, 2.0, 6.0, 9.0]));
        let want = Tensor::from_slice(&[-1.88824f32, 0.366513, 3.7717, 20.736769, 43.628149]);
        crate::testing::close(&got, &want, 1e-4);
    }
}
