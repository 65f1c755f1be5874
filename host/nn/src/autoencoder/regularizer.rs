//! What stands between an encoder and its latents: a Gaussian, a table of codes, or nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::posterior::DiagonalGaussian;
use super::quantizer::{
    EmaVectorQuantizer, EmaVectorQuantizerConfig, GumbelQuantizer, GumbelQuantizerConfig, ProjectedQuantizer,
    ProjectedQuantizerConfig, VectorQuantizer, VectorQuantizerConfig, gumbel_of_normal,
};
use crate::config::ConfigProblem;
use crate::params::Path;

/// A latent, and what the regularizer that made it adds to the loss.
#[derive(Debug)]
pub struct Latent {
    /// `[n, c, h, w]`.
    pub z: Tensor,
    /// Scalars by the names that published configs weigh and log them by.
    pub terms: Vec<(String, Tensor)>,
    /// Which codes were taken, of a quantizer: int64 `[n, h, w]`, or `[n*h*w]` where its settings say so.
    pub indices: Option<Tensor>,
}

/// How a latent is taken from what the encoder gives, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RegularizerConfig {
    /// From a Gaussian whose moments the encoder gives.
    DiagonalGaussian {
        /// A sample of it instead of its mean.
        #[serde(default = "crate::config::yes")]
        sample: bool,
    },
    /// As it is.
    Identity,
    /// The nearest of codes that the loss trains.
    VectorQuantizer(VectorQuantizerConfig),
    /// The same, between two linear maps.
    VectorQuantizerWithInputProjection(ProjectedQuantizerConfig),
    /// The nearest of codes that are moving averages.
    EmaVectorQuantizer(EmaVectorQuantizerConfig),
    /// A code that is drawn.
    GumbelQuantizer(GumbelQuantizerConfig),
}

impl RegularizerConfig {
    /// What cannot be built; empty when all is well.
    pub fn check(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let counts = match self {
            Self::Identity | Self::DiagonalGaussian { .. } => Vec::new(),
            Self::VectorQuantizer(c) => vec![("n_e", c.n_e), ("e_dim", c.e_dim)],
            Self::VectorQuantizerWithInputProjection(c) => {
                vec![("n_codes", c.n_codes), ("input_dim", c.input_dim), ("codebook_dim", c.codebook_dim)]
            }
            Self::EmaVectorQuantizer(c) => vec![("n_embed", c.n_embed), ("embedding_dim", c.embedding_dim)],
            Self::GumbelQuantizer(c) => {
                vec![("n_embed", c.n_embed), ("num_hiddens", c.num_hiddens), ("embedding_dim", c.embedding_dim)]
            }
        };
        for (key, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
            problems.push(ConfigProblem::new(key, "must be 1 or more", "give the number of codes or channels"));
        }
        match self {
            Self::EmaVectorQuantizer(config) if !(0.0..1.0).contains(&config.decay) => {
                let message = format!("{} is not in [0, 1)", config.decay);
                problems.push(ConfigProblem::new("decay", message, "use for example 0.99"));
            }
            Self::GumbelQuantizer(config) if config.temp_init.is_nan() || config.temp_init <= 0.0 => {
                let message = format!("{} is no temperature", config.temp_init);
                problems.push(ConfigProblem::new("temp_init", message, "use a value above 0, for example 1"));
            }
            _ => {}
        }
        problems
    }

    /// Names of the terms that it gives for the loss and for people.
    pub fn terms(&self) -> Vec<String> {
        let usage = |key: &String, is_told: bool| {
            let told = if is_told { &["perplexity", "cluster_usage"][..] } else { &[] };
            std::iter::once(key.clone()).chain(told.iter().map(|&name| name.to_owned())).collect()
        };
        match self {
            Self::Identity => Vec::new(),
            Self::DiagonalGaussian { .. } => vec!["kl_loss".to_owned()],
            Self::VectorQuantizer(config) => usage(&config.loss_key, config.log_perplexity),
            Self::VectorQuantizerWithInputProjection(config) => usage(&config.loss_key, config.log_perplexity),
            Self::EmaVectorQuantizer(config) => vec![config.loss_key.clone(), "perplexity".to_owned()],
            Self::GumbelQuantizer(config) => vec![config.loss_key.clone()],
        }
    }

    /// Channels of a latent where the encoder gives `encoded`.
    pub fn channels(&self, encoded: i64) -> i64 {
        match self {
            Self::Identity => encoded,
            Self::DiagonalGaussian { .. } => encoded / 2,
            Self::VectorQuantizer(config) => config.e_dim.into(),
            Self::VectorQuantizerWithInputProjection(config) => config.output_dim.unwrap_or(config.codebook_dim).into(),
            Self::EmaVectorQuantizer(config) => config.embedding_dim.into(),
            Self::GumbelQuantizer(config) => config.embedding_dim.into(),
        }
    }

    /// The setting that says how many channels it takes, and its value; none where any number will do.
    pub(super) fn takes(&self) -> Option<(&'static str, u32)> {
        match self {
            Self::Identity | Self::DiagonalGaussian { .. } => None,
            Self::VectorQuantizer(config) => Some(("e_dim", config.e_dim)),
            Self::VectorQuantizerWithInputProjection(config) => Some(("input_dim", config.input_dim)),
            Self::EmaVectorQuantizer(config) => Some(("embedding_dim", config.embedding_dim)),
            Self::GumbelQuantizer(config) => Some(("num_hiddens", config.num_hiddens)),
        }
    }

    /// Channels of the noise that a latent is drawn with; 0 where none is.
    ///
    /// `encoded` is what the encoder gives.
    pub fn noise_channels(&self, encoded: i64) -> i64 {
        match self {
            Self::DiagonalGaussian { sample: true } => encoded / 2,
            Self::GumbelQuantizer(config) => config.n_embed.into(),
            _ => 0,
        }
    }
}

/// How a latent is taken from what the encoder gives.
#[derive(Debug)]
pub enum Regularizer {
    /// From a Gaussian whose moments the encoder gives.
    DiagonalGaussian {
        /// A sample of it instead of its mean.
        sample: bool,
    },
    /// As it is.
    Identity,
    /// The nearest of codes that the loss trains.
    Vector(VectorQuantizer),
    /// The same, between two linear maps.
    Projected(ProjectedQuantizer),
    /// The nearest of codes that are moving averages.
    Ema(EmaVectorQuantizer),
    /// A code that is drawn.
    Gumbel(GumbelQuantizer),
}

impl Regularizer {
    /// The quantizers' keys at `path` itself; others have none.
    pub fn new(config: &RegularizerConfig, path: &Path) -> Self {
        match config {
            &RegularizerConfig::DiagonalGaussian { sample } => Self::DiagonalGaussian { sample },
            RegularizerConfig::Identity => Self::Identity,
            RegularizerConfig::VectorQuantizer(config) => Self::Vector(VectorQuantizer::new(config, path)),
            RegularizerConfig::VectorQuantizerWithInputProjection(config) => {
                Self::Projected(ProjectedQuantizer::new(config, path))
            }
            RegularizerConfig::EmaVectorQuantizer(config) => Self::Ema(EmaVectorQuantizer::new(config, path)),
            RegularizerConfig::GumbelQuantizer(config) => Self::Gumbel(GumbelQuantizer::new(config, path)),
        }
    }

    /// The latent, and what this adds to the loss: `kl_loss` of a Gaussian, its divergence from the standard normal
    /// summed over a row and averaged over rows; a quantizer's loss by the name in its settings. `perplexity` and
    /// `cluster_usage` carry no gradient.
    ///
    /// In training a quantizer of moving averages then moves its codes.
    ///
    /// # Shapes
    /// - `encoded`: `[n, c, h, w]`; `[n, 2*c, h, w]` for a Gaussian
    /// - `noise`: standard normal, looked at only where a latent is drawn: `[n, c, h, w]` for a Gaussian,
    ///   `[n, n_embed, h, w]` for codes
    ///
    /// # Panics
    /// When a latent is to be drawn and there is no noise.
    pub fn regularize(&self, encoded: &Tensor, noise: Option<&Tensor>, train: bool) -> Latent {
        match self {
            Self::Identity => Latent { z: encoded.shallow_clone(), terms: Vec::new(), indices: None },
            &Self::DiagonalGaussian { sample } => {
                let posterior = DiagonalGaussian::new(encoded);
                let kl = posterior.kl().mean(None::<Kind>);
                let z = if sample { posterior.sample(needed(noise)) } else { posterior.mode() };
                Latent { z, terms: vec![("kl_loss".to_owned(), kl)], indices: None }
            }
            Self::Vector(quantizer) => quantizer.forward(encoded),
            Self::Projected(quantizer) => quantizer.forward(encoded),
            Self::Ema(quantizer) => quantizer.forward(encoded, train),
            Self::Gumbel(quantizer) => quantizer.forward(encoded, &gumbel_of_normal(needed(noise)), train),
        }
    }

    /// Whether a latent is drawn with noise.
    pub fn is_random(&self) -> bool {
        matches!(self, Self::DiagonalGaussian { sample: true } | Self::Gumbel(_))
    }
}

fn needed(noise: Option<&Tensor>) -> &Tensor {
    noise.unwrap_or_else(|| panic!("a latent that is drawn needs noise"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::F32;
    use serde_json::{Value, json};
    use tch::Device;

    fn build(config: Value) -> Regularizer {
        Regularizer::new(&serde_json::from_value(config).unwrap(), &Params::new(Device::Cpu, 1).root())
    }

    #[test]
    fn a_latent_is_a_sample_the_mean_or_what_was_encoded() {
        let moments = Tensor::from_slice(&[1f32, -2.0, 0.0, 1.0]).view([1, 2, 1, 2]);
        let noise = Tensor::ones([1, 1, 1, 2], F32);
        let latent = |config| build(config).regularize(&moments, Some(&noise), true);
        let posterior = DiagonalGaussian::new(&moments);
        let sample = latent(json!({ "kind": "diagonal-gaussian" }));
        assert!(sample.z.equal(&posterior.sample(&noise)));
        assert!(sample.terms[0].0 == "kl_loss" && sample.terms[0].1.equal(&posterior.kl().sum(Kind::Float)));
        assert!(latent(json!({ "kind": "diagonal-gaussian", "sample": false })).z.equal(&posterior.mean));
        let encoded = latent(json!({ "kind": "identity" }));
        assert!(encoded.z.equal(&moments) && encoded.terms.is_empty());
    }

    #[test]
    fn the_names_of_terms_are_told_beforehand() {
        let projected = "vector-quantizer-with-input-projection";
        for config in [
            json!({ "kind": "identity" }),
            json!({ "kind": "diagonal-gaussian" }),
            json!({ "kind": "vector-quantizer", "n_e": 5, "e_dim": 4, "loss_key": "codes" }),
            json!({ "kind": "vector-quantizer", "n_e": 5, "e_dim": 4, "log_perplexity": true }),
            json!({ "kind": projected, "n_codes": 5, "input_dim": 4, "codebook_dim": 2, "log_perplexity": true }),
            json!({ "kind": "ema-vector-quantizer", "n_embed": 5, "embedding_dim": 4, "beta": 0.25 }),
            json!({ "kind": "gumbel-quantizer", "num_hiddens": 4, "embedding_dim": 3, "n_embed": 9 }),
        ] {
            let told = serde_json::from_value::<RegularizerConfig>(config.clone()).unwrap().terms();
            let (x, noise) = (Tensor::randn([2, 4, 3, 3], F32), Tensor::randn([2, 9, 3, 3], F32));
            let noise = if told == ["kl_loss"] { noise.narrow(1, 0, 2) } else { noise };
            let given = build(config).regularize(&x, Some(&noise), true).terms;
            assert_eq!(given.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), told);
        }
    }

    #[test]
    fn what_is_drawn_follows_its_noise() {
        let drawn = build(json!({ "kind": "gumbel-quantizer", "num_hiddens": 4, "embedding_dim": 3, "n_embed": 9 }));
        assert!(drawn.is_random() && !build(json!({ "kind": "identity" })).is_random());
        let (x, noise) = (Tensor::randn([2, 4, 3, 3], F32), Tensor::randn([2, 9, 3, 3], F32));
        let pick = |noise: &Tensor| drawn.regularize(&x, Some(noise), false).indices.unwrap();
        assert!(pick(&noise).equal(&pick(&noise)) && !pick(&noise).equal(&pick(&-&noise)));
    }

    #[test]
    #[should_panic(expected = "needs noise")]
    fn a_sample_needs_noise() {
        let _ =
            build(json!({ "kind": "diagonal-gaussian" })).regularize(&Tensor::zeros([1, 2, 1, 1], F32), None, false);
    }
}
