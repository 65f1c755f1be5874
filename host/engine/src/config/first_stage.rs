//! Settings of the first stage: pixels to latents and back.

use std::path::{Path, PathBuf};

use anneal_nn::autoencoder::{
    AutoencoderConfig, AutoencoderKlConfig, AutoencoderLegacyVqConfig, AutoencodingEngineConfig, CoderConfig,
    DecoderConfig, EncoderConfig, RegularizerConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A first stage, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FirstStageConfig {
    /// Latents are the pixels.
    Identity,
    /// The autoencoder of latent diffusion; latents are samples of the posterior.
    AutoencoderKl(KlFirstStage),
    /// The same, but latents are the posterior's means.
    AutoencoderKlModeOnly(KlFirstStage),
    /// The autoencoder of the first latent diffusion models: latents are codes from a table.
    AutoencoderLegacyVq(VqFirstStage),
    /// Any encoder, decoder and regularizer, as SVD's.
    AutoencodingEngine(EngineFirstStage),
}

/// The autoencoder of latent diffusion, trained before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KlFirstStage {
    /// Channels of a latent.
    #[schemars(range(min = 1))]
    pub embed_dim: u32,
    /// Encoder and decoder.
    pub ddconfig: CoderConfig,
    /// Rows encoded or decoded at a time; all at once if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_batch_size: Option<u32>,
    /// The trained autoencoder: a file of safetensors or torch.save with the reference's keys, or the folder of the run
    /// that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "file-or-folder"))]
    pub weights: Option<PathBuf>,
    /// What stands before the autoencoder's keys in that file: `first_stage_model.` in those of whole models.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// The autoencoder with a table of codes, trained before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VqFirstStage {
    /// Channels of a latent, which are those of a code.
    #[schemars(range(min = 1))]
    pub embed_dim: u32,
    /// Number of codes.
    #[schemars(range(min = 1))]
    pub n_embed: u32,
    /// Encoder and decoder; `double_z` must be false.
    pub ddconfig: CoderConfig,
    /// Rows encoded or decoded at a time; all at once if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_batch_size: Option<u32>,
    /// The trained autoencoder: a file of safetensors or torch.save with the reference's keys, or the folder of the run
    /// that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "file-or-folder"))]
    pub weights: Option<PathBuf>,
    /// What stands before the autoencoder's keys in that file: `first_stage_model.` in those of whole models.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// An autoencoder put together from its parts, trained before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineFirstStage {
    /// Pixels to what the regularizer takes.
    pub encoder_config: EncoderConfig,
    /// Latents to pixels.
    pub decoder_config: DecoderConfig,
    /// What the encoder gives to latents.
    pub regularizer_config: RegularizerConfig,
    /// The trained autoencoder: a file of safetensors or torch.save with the reference's keys, or the folder of the run
    /// that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "file-or-folder"))]
    pub weights: Option<PathBuf>,
    /// What stands before the autoencoder's keys in that file: `first_stage_model.` in those of whole models.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl FirstStageConfig {
    /// The autoencoder; none for the identity.
    pub fn autoencoder(&self) -> Option<AutoencoderConfig> {
        let kl = |kl: &KlFirstStage| AutoencoderKlConfig {
            embed_dim: kl.embed_dim,
            ddconfig: kl.ddconfig.clone(),
            max_batch_size: kl.max_batch_size,
        };
        match self {
            Self::Identity => None,
            Self::AutoencoderKl(settings) => Some(AutoencoderConfig::AutoencoderKl(kl(settings))),
            Self::AutoencoderKlModeOnly(settings) => Some(AutoencoderConfig::AutoencoderKlModeOnly(kl(settings))),
            Self::AutoencoderLegacyVq(vq) => Some(AutoencoderConfig::AutoencoderLegacyVq(AutoencoderLegacyVqConfig {
                embed_dim: vq.embed_dim,
                n_embed: vq.n_embed,
                sane_index_shape: false,
                ddconfig: vq.ddconfig.clone(),
                max_batch_size: vq.max_batch_size,
            })),
            Self::AutoencodingEngine(engine) => Some(AutoencoderConfig::AutoencodingEngine(AutoencodingEngineConfig {
                encoder_config: engine.encoder_config.clone(),
                decoder_config: engine.decoder_config.clone(),
                regularizer_config: engine.regularizer_config.clone(),
            })),
        }
    }

    /// The file with the trained autoencoder, and what stands before its keys.
    pub fn weights(&self) -> Option<(&Path, &str)> {
        let (weights, prefix) = match self {
            Self::Identity => return None,
            Self::AutoencoderKl(kl) | Self::AutoencoderKlModeOnly(kl) => (&kl.weights, &kl.prefix),
            Self::AutoencoderLegacyVq(vq) => (&vq.weights, &vq.prefix),
            Self::AutoencodingEngine(engine) => (&engine.weights, &engine.prefix),
        };
        weights.as_deref().map(|path| (path, prefix.as_str()))
    }
}
