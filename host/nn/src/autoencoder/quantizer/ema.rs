//! A vector quantizer whose codes are moving averages of what falls to them, instead of being trained by the loss.

use anneal_torch::grad_mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{channels_first, channels_last, nearest, straight_through, usage, vq};
use crate::autoencoder::Latent;
use crate::params::{Init, Path};

/// Settings of an [`EmaVectorQuantizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmaVectorQuantizerConfig {
    /// Number of codes.
    #[schemars(range(min = 1))]
    pub n_embed: u32,
    /// Channels of a code.
    #[schemars(range(min = 1))]
    pub embedding_dim: u32,
    /// Weight of the pull of the encoder to its codes.
    pub beta: f64,
    /// What is kept of the averages at each update.
    #[serde(default = "nearly_all")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay: f64,
    /// Added to the counts of codes, so that none is zero.
    #[serde(default = "tiny")]
    pub eps: f64,
    /// Name of the loss.
    #[serde(default = "vq")]
    pub loss_key: String,
}

fn nearly_all() -> f64 {
    0.99
}

fn tiny() -> f64 {
    1e-5
}

/// The nearest code at each pixel; in training the codes then move.
#[derive(Debug)]
pub struct EmaVectorQuantizer {
    weight: Tensor,
    cluster_size: Tensor,
    embed_avg: Tensor,
    config: EmaVectorQuantizerConfig,
}

impl EmaVectorQuantizer {
    /// Buffers `embedding.weight`, `embedding.cluster_size`, `embedding.embed_avg`.
    pub fn new(config: &EmaVectorQuantizerConfig, path: &Path) -> Self {
        let path = path.sub("embedding");
        let num = i64::from(config.n_embed);
        let weight = path.buffer("weight", &[num, config.embedding_dim.into()], Init::Normal { std: 1.0 });
        Self {
            cluster_size: path.buffer("cluster_size", &[num], Init::Const(0.0)),
            embed_avg: path.buffer_like("embed_avg", "weight"),
            weight,
            config: config.clone(),
        }
    }

    /// The codes nearest to `z`, and `|sg(e) - z|^2 * beta` as the loss, a mean over all values. In training the
    /// averages and the codes are moved afterwards.
    ///
    /// # Shapes
    /// - `z`: `[n, embedding_dim, h, w]`
    /// - result: `[n, embedding_dim, h, w]`
    pub fn forward(&self, z: &Tensor, train: bool) -> Latent {
        let z = channels_last(z);
        let flat = z.flatten(0, 2);
        let indices = nearest(&flat, &self.weight);
        let picked = Tensor::embedding(&self.weight, &indices, -1, false, false).view_as(&z);
        let loss = (&picked - &z).square().mean(None::<Kind>) * self.config.beta;
        let (perplexity, _) = usage(&indices, self.config.n_embed.into());
        if train {
            self.update(&flat.detach(), &indices);
        }
        let terms = vec![(self.config.loss_key.clone(), loss), ("perplexity".to_owned(), perplexity)];
        Latent { z: channels_first(&straight_through(&z, &picked)), terms, indices: Some(indices) }
    }

    fn update(&self, flat: &Tensor, indices: &Tensor) {
        let _no_grad = grad_mode::no_grad();
        let &EmaVectorQuantizerConfig { decay, eps, n_embed, .. } = &self.config;
        let one_hot = indices.one_hot(n_embed.into()).to_kind(self.weight.kind());
        let counts = one_hot.sum_dim_intlist([0].as_slice(), false, None::<Kind>);
        let sums = one_hot.transpose(0, 1).matmul(&flat.to_kind(self.weight.kind()));
        for (average, batch) in [(&self.cluster_size, counts), (&self.embed_avg, sums)] {
            average.shallow_clone().copy_(&(average * decay + batch * (1.0 - decay)));
        }
        let total = self.cluster_size.sum(None::<Kind>);
        let smoothed = (&self.cluster_size + eps) / (&total + f64::from(n_embed) * eps) * total;
        self.weight.shallow_clone().copy_(&(&self.embed_avg / smoothed.unsqueeze(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoencoder::quantizer::testing::{Check, wave};
    use crate::params::ParamKind;
    use serde_json::json;

    #[test]
    fn equals_pytorch_over_two_updates() {
        let mut check = Check::new();
        let config = json!({ "n_embed": 4, "embedding_dim": 3, "beta": 0.25, "decay": 0.9 });
        let quantizer = EmaVectorQuantizer::new(&serde_json::from_value(config).unwrap(), &check.root());
        assert!(check.params.entries().iter().all(|param| param.kind == ParamKind::Buffer));
        assert!(check.param("embedding.embed_avg").equal(&check.param("embedding.weight")));
        check.set("embedding.weight", wave(1.0, 0.7, &[4, 3]));
        check.set("embedding.cluster_size", wave(0.5, 0.2, &[4]).abs() * 3.0);
        check.set("embedding.embed_avg", wave(0.4, 0.9, &[4, 3]));
        // Outside training nothing moves.
        let before = quantizer.forward(&check.z, false);
        let latent = quantizer.forward(&check.z, true);
        assert!(before.z.equal(&latent.z));
        check.scalar(&latent, "loss/vq", 0.033_224);
        check.scalar(&latent, "perplexity", 2.828_427);
        check.z = wave(1.3, 0.6, &[2, 3, 1, 2]).set_requires_grad(true);
        let latent = quantizer.forward(&check.z, true);
        check.close(
            "z",
            &latent.z,
            &[
                0.317993, 0.317993, 0.043339, 0.043339, -0.281971, -0.281971, -0.25256, -0.25256, 0.093614, 0.093614,
                0.402013, 0.402013,
            ],
        );
        check.backward(&latent, 2.0);
        check.scalar(&latent, "loss/vq", 0.063_575);
        check.scalar(&latent, "perplexity", 2.0);
        check.close(
            "dz",
            &check.z.grad(),
            &[
                0.533223, 1.037809, 0.791966, -0.05852, -0.838933, -1.011774, -0.434701, 0.456365, 0.965187, 0.760334,
                -0.037783, -0.778082,
            ],
        );
        check.close("cluster_size", &check.param("embedding.cluster_size"), &[1.255004, 1.565449, 2.283484, 2.455634]);
        check.close(
            "embed_avg",
            &check.param("embedding.embed_avg"),
            &[
                0.342026, 0.870257, 0.693346, 0.03368, -0.61301, -0.795787, -0.695004, 0.217312, 1.022526, 0.90826,
                0.161763, -0.780622,
            ],
        );
        check.close(
            "weight",
            &check.param("embedding.weight"),
            &[
                0.272529, 0.693428, 0.552464, 0.021515, -0.391587, -0.508343, -0.304361, 0.095167, 0.447792, 0.369868,
                0.065874, -0.317891,
            ],
        );
    }
}
