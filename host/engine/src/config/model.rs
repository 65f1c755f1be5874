//! Settings of the model (first stage, conditioner, network, denoiser) and of the loss.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EmbedderConfig, FirstStageConfig, LoraConfig, PluginUse};

/// First stage, embedders, network and denoiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The batch entry that is learned, `[b*t, c, h, w]` in `[-1, 1]`.
    pub input_key: String,
    /// Latents are the first stage's code times this.
    #[serde(default = "unit")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub scale_factor: f64,
    /// Rows encoded or decoded at a time; all at once if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub en_and_decode_n_samples_a_time: Option<i64>,
    /// Run the first stage in full precision also when training in bf16.
    #[serde(default)]
    pub disable_first_stage_autocast: bool,
    /// Batch entries handed to the network as they are (`num_video_frames`, `image_only_indicator`).
    #[serde(default)]
    pub extra_inputs: Vec<String>,
    /// Whether a dropped condition is drawn once a clip or once a row (upstream's way).
    #[serde(default)]
    pub ucg_per: UcgPer,
    /// Which of the network's parameters are trained, by patterns over their paths: `*.attn1.*`, or `temporal` for the layers
    /// over frames. All of them if not given, or none but the adapters where there is a `lora`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainable: Option<Vec<String>>,
    /// A folder in which `anneal data cache` keeps what the frozen parts give: the first stage's moments and embeddings.
    /// Training takes from it what fits, which is told by pixels, texts, settings and weights, and computes the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "new-folder"))]
    pub cache: Option<PathBuf>,
    /// Where the weights of the first stage and of frozen embedders are between uses.
    #[serde(default)]
    pub frozen_encoders: FrozenEncoders,
    /// Low-rank adapters in place of training the network itself; what `trainable` names is trained beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// Pixels to latents and back.
    pub first_stage: FirstStageConfig,
    /// The network.
    pub network: NetworkConfig,
    /// The preconditioning around the network.
    pub denoiser: DenoiserConfig,
    /// The conditioner's embedders, in order; the order decides that of the concatenated conditions.
    #[serde(default)]
    pub embedders: Vec<EmbedderConfig>,
}

fn unit() -> f64 {
    1.0
}

/// Where frozen weights are between uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenEncoders {
    /// On the device.
    #[default]
    Stay,
    /// In the CPU's memory: they are copied to the GPU for each use, which costs time. On the CPU nothing changes.
    OffLoad,
}

/// How often a dropped condition is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UcgPer {
    /// Once a clip: all rows of a scene are dropped together.
    #[default]
    Clip,
    /// Once a row and output, as upstream does.
    Row,
}

/// A network, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// The image UNet.
    Unet(anneal_nn::UNetConfig),
    /// The video UNet of SVD and SV3D.
    VideoUnet(anneal_nn::VideoUNetConfig),
    /// The UNet of SV4D: views of an object over time.
    SpatialUnetWithTime(anneal_nn::SpatialUNetWithTimeConfig),
}

impl ModelConfig {
    /// Rows and columns of a picture must be divisible by this.
    pub fn pixels_divisor(&self) -> i64 {
        let factor = self.first_stage.autoencoder().map_or(1, |autoencoder| autoencoder.downsampling());
        self.network.min_divisor() * factor
    }
}

impl NetworkConfig {
    /// What the network cannot be built with; empty when all is well.
    pub(super) fn check(&self) -> Vec<anneal_nn::ConfigProblem> {
        match self {
            Self::Unet(unet) => unet.check(),
            Self::VideoUnet(unet) => unet.check(),
            Self::SpatialUnetWithTime(unet) => unet.check(),
        }
    }

    /// Rows and columns of an input must be divisible by this.
    pub(super) fn min_divisor(&self) -> i64 {
        match self {
            Self::Unet(unet) => unet.min_divisor(),
            Self::VideoUnet(unet) => unet.min_divisor(),
            Self::SpatialUnetWithTime(unet) => unet.min_divisor(),
        }
    }

    /// Channels of the input and of the result.
    pub(super) fn channels(&self) -> (u32, u32) {
        match self {
            Self::Unet(unet) => (unet.in_channels, unet.out_channels),
            Self::VideoUnet(unet) => (unet.in_channels, unet.out_channels),
            Self::SpatialUnetWithTime(unet) => (unet.in_channels, unet.out_channels),
        }
    }
}

/// The preconditioning around the network, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DenoiserConfig {
    /// Any sigma.
    Continuous {
        /// Sigma to `c_skip, c_out, c_in, c_noise`.
        scaling: ScalingConfig,
    },
    /// Sigmas snapped to a table.
    Discrete {
        /// Sigma to `c_skip, c_out, c_in, c_noise`.
        scaling: ScalingConfig,
        /// The table's grid.
        #[schemars(extend("x-anneal-plugin" = "discretization"))]
        discretization: PluginUse,
        /// Entries of the table.
        #[schemars(range(min = 1, max = 65536))]
        num_idx: u32,
        /// Hand the network the table's index instead of the scaling's `c_noise`.
        #[serde(default = "yes")]
        quantize_c_noise: bool,
        /// Append a zero to the table.
        #[serde(default)]
        do_append_zero: bool,
        /// Ascending table (upstream's default).
        #[serde(default = "yes")]
        flip: bool,
    },
}

fn yes() -> bool {
    true
}

/// Sigma to the four factors of preconditioning, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScalingConfig {
    /// EDM (Karras et al. 2022, table 1).
    Edm {
        /// Standard deviation of the data.
        #[serde(default = "half")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        sigma_data: f64,
    },
    /// Noise prediction.
    Eps,
    /// v-prediction, `c_noise` = sigma.
    V,
    /// v-prediction with `c_noise` = ln(sigma)/4 (SVD, SV3D, SV4D).
    VEdmCnoise,
}

fn half() -> f64 {
    0.5
}

/// The training objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// The distance between denoised and clean.
    pub distance: Distance,
    /// The networks of the distance "lpips".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lpips: Option<LpipsConfig>,
    /// Whether the distance "lpips" is multiplied by the weight of its sigma as the others are; upstream's is not.
    #[serde(default = "yes")]
    pub weighted_lpips: bool,
    /// Whether sigma is drawn once a clip or once a row (upstream's way).
    #[serde(default)]
    pub sigma_per: SigmaPer,
    /// Where the sigmas of training come from.
    #[schemars(extend("x-anneal-plugin" = "sigma-sampling"))]
    pub sigma_sampling: PluginUse,
    /// Sigma to the loss's weight.
    #[schemars(extend("x-anneal-plugin" = "weighting"))]
    pub weighting: PluginUse,
    /// Strength of a noise that is constant over a row's pixels, added to the noise.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub offset_noise_level: f64,
}

/// The distance between denoised and clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Squared difference.
    L2,
    /// Absolute difference.
    L1,
    /// Perceptual distance of colours (Zhang et al. 2018), one number a row.
    Lpips,
}

/// Where the networks of the perceptual distance are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LpipsConfig {
    /// The weights of VGG16 and of the distance (a safetensors file with keys `net.slice1.0.weight`,
    /// `lin0.model.1.weight` and so on).
    #[schemars(extend("x-anneal-path" = "file"))]
    pub weights: PathBuf,
    /// What stands before these keys in the file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// How often sigma is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SigmaPer {
    /// Once a clip: all its frames share a noise level, as they do in sampling.
    #[default]
    Clip,
    /// Once a row, as upstream does.
    Row,
}
