//! The config of an autoencoder's training: what is trained, and its objective.

use std::collections::BTreeMap;

use anneal_nn::DiscriminatorConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AutoencoderValidationConfig, DataConfig, EmaConfig, FirstStageConfig, LoggingConfig, LpipsConfig, OptimizerConfig,
    PluginsConfig, RunSection, TrainConfig,
};

/// A whole config file of an autoencoder's training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderRunConfig {
    /// Where and how the run happens.
    pub run: RunSection,
    /// Where plugins are looked for.
    #[serde(default)]
    pub plugins: PluginsConfig,
    /// Where batches come from.
    pub data: DataConfig,
    /// What is trained.
    pub autoencoder: AutoencoderSection,
    /// The objective.
    pub loss: AutoencoderLossConfig,
    /// The autoencoder's optimizer and its learning-rate schedule.
    pub optimizer: OptimizerConfig,
    /// The moving average of the autoencoder's weights; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    /// How long to train, and when to save.
    pub train: TrainConfig,
    /// How well the run does on scenes that it is not trained on; not looked at if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<AutoencoderValidationConfig>,
    /// What a run writes for people.
    #[serde(default)]
    pub logging: LoggingConfig,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderSection {
    /// The batch entry that is learned, `[b*t, c, h, w]` in `[-1, 1]`.
    pub input_key: String,
    /// Which parameters are trained, by patterns over their keys: `decoder.*` leaves the encoder as it is, `temporal` are
    /// the layers over frames of a video decoder. All of them if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainable: Option<Vec<String>>,
    /// The autoencoder, as a diffusion model names its `model.first_stage`.
    pub network: FirstStageConfig,
}

/// The objective: reconstruction, regularization and an adversary (Esser et al. 2021; Rombach et al. 2022).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderLossConfig {
    /// The distance between the colours of a picture and its reconstruction.
    #[serde(default)]
    pub distance: PixelDistance,
    /// The networks of the perceptual distance (Zhang et al. 2018), which is added; it is not if they are not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lpips: Option<LpipsConfig>,
    /// How much the perceptual distance counts against that of each colour.
    #[serde(default = "unit")]
    #[schemars(range(min = 0.0))]
    pub perceptual_weight: f64,
    /// Start of the logarithm of the variance that distances are divided by.
    #[serde(default)]
    pub logvar_init: f64,
    /// Whether that logarithm is trained.
    #[serde(default)]
    pub learn_logvar: bool,
    /// Weights of the regularizer's terms, by name: `{ kl_loss = 1e-6 }`. A term without one is only logged.
    #[serde(default)]
    pub regularization_weights: BTreeMap<String, f64>,
    /// The adversary; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator: Option<AdversaryConfig>,
}

/// The distance between colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PixelDistance {
    /// Absolute difference.
    #[default]
    L1,
    /// Squared difference.
    L2,
}

/// The adversary, which learns to tell reconstructions from pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdversaryConfig {
    /// The step from which it is trained, and from which the autoencoder is trained against it.
    #[serde(default)]
    pub start_step: u64,
    /// Multiplies the weight that makes its gradient at the decoder's last layer as large as the reconstruction's.
    #[serde(default = "unit")]
    #[schemars(range(min = 0.0))]
    pub weight: f64,
    /// How it is trained.
    #[serde(default)]
    pub loss: AdversaryLoss,
    /// The network.
    #[serde(default)]
    pub network: DiscriminatorConfig,
    /// Its optimizer and learning-rate schedule.
    pub optimizer: OptimizerConfig,
}

/// How an adversary is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdversaryLoss {
    /// `(relu(1 - real) + relu(1 + fake)) / 2`.
    #[default]
    Hinge,
    /// `(softplus(-real) + softplus(fake)) / 2`.
    Vanilla,
}

fn unit() -> f64 {
    1.0
}
