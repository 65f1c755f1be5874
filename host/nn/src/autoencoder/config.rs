//! Settings of encoders and decoders, by the names that published configs use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigProblem, KernelSize, four_levels, yes};

/// Attention of an encoder or decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttnType {
    /// Softmax attention with one head.
    #[default]
    Vanilla,
    /// The name that published configs use; the same attention.
    VanillaXformers,
    /// Linear attention; the reference, too, builds it under this name.
    MemoryEfficientCrossAttn,
    /// Linear attention.
    Linear,
    /// No attention.
    None,
}

/// Which layers of a video decoder work over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeMode {
    /// Residual blocks, attention and the last convolution.
    All,
    /// Residual blocks and the last convolution.
    #[default]
    ConvOnly,
    /// Attention.
    AttnOnly,
}

/// How the results over images and over time are blended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeMerge {
    /// By `alpha`.
    Fixed,
    /// By `sigmoid(mix_factor)`, learned from a start of `mix_factor = alpha`.
    #[default]
    Learned,
}

/// Settings of an encoder, a decoder or a video decoder.
///
/// Encoder and decoder read one table in published configs, so each ignores what only the other one has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CoderConfig {
    /// Channels at the finest level.
    #[schemars(range(min = 1))]
    pub ch: u32,
    /// Channels of decoded pixels.
    #[schemars(range(min = 1))]
    pub out_ch: u32,
    /// Channels of each level as multiples of `ch`, finest first.
    #[serde(default = "four_levels")]
    pub ch_mult: Vec<u32>,
    /// Residual blocks at each level of the encoder; the decoder has one more.
    pub num_res_blocks: u32,
    /// Resolutions with attention, counted from `resolution` and halved at each level; the middle always has it.
    pub attn_resolutions: Vec<u32>,
    /// Probability of dropping a value in the residual blocks, in training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// Resample with a convolution.
    #[serde(default = "yes")]
    pub resamp_with_conv: bool,
    /// Channels of the pixels.
    #[schemars(range(min = 1))]
    pub in_channels: u32,
    /// Nominal rows and columns of an image, for `attn_resolutions` alone.
    #[schemars(range(min = 1))]
    pub resolution: u32,
    /// Channels of a latent.
    #[schemars(range(min = 1))]
    pub z_channels: u32,
    /// The encoder gives mean and log-variance, `2*z_channels`.
    #[serde(default = "yes")]
    pub double_z: bool,
    /// Linear attention, whatever `attn_type` says.
    #[serde(default)]
    pub use_linear_attn: bool,
    /// The kind of attention.
    #[serde(default)]
    pub attn_type: AttnType,
    /// The decoder gives what it has in front of its last norm and convolution.
    #[serde(default)]
    pub give_pre_end: bool,
    /// The decoder's result goes through tanh.
    #[serde(default)]
    pub tanh_out: bool,
    /// Kernel of a video decoder over time; 3 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_kernel_size: Option<KernelSize>,
    /// Start of a video decoder's blend of images and time; 0 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// How a video decoder blends images and time; learned if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_strategy: Option<TimeMerge>,
    /// Which layers of a video decoder work over time; convolutions if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_mode: Option<TimeMode>,
}

impl CoderConfig {
    /// What an encoder cannot be built with; empty when all is well.
    pub fn check_encoder(&self) -> Vec<ConfigProblem> {
        let mut problems = self.check_shared();
        problems.extend(self.check_no_video());
        let last = self.ch_mult.len().saturating_sub(1);
        if !self.ch.is_multiple_of(32) && !problems.iter().any(|problem| problem.key == "ch") {
            problems.push(ConfigProblem::new("ch", not_in_groups(self.ch), "use 32, 64, 96, 128, ..."));
        }
        if self.num_res_blocks == 0 && self.ch_mult[..last].iter().any(|&mult| mult != 1) {
            let message = "an encoder without residual blocks cannot change the number of channels";
            problems.push(ConfigProblem::new("num_res_blocks", message, "give 1 or more, or ch_mult of ones"));
        }
        problems
    }

    /// What a decoder cannot be built with; empty when all is well.
    pub fn check_decoder(&self) -> Vec<ConfigProblem> {
        let mut problems = self.check_shared();
        problems.extend(self.check_no_video());
        problems
    }

    /// What a video decoder cannot be built with; empty when all is well.
    pub fn check_video_decoder(&self) -> Vec<ConfigProblem> {
        let mut problems = self.check_shared();
        if !matches!(self.attention(), AttnType::Vanilla | AttnType::VanillaXformers) {
            let key = if self.use_linear_attn { "use_linear_attn" } else { "attn_type" };
            let message = "a video decoder has softmax attention only";
            problems.push(ConfigProblem::new(key, message, "use attn_type = \"vanilla\""));
        }
        if self.video_kernel_size.is_some_and(|kernel| kernel.sizes().iter().any(|k| k % 2 == 0)) {
            let message = "an even kernel changes the number of frames or pixels";
            problems.push(ConfigProblem::new("video_kernel_size", message, "use odd sizes, for example [3, 1, 1]"));
        }
        problems
    }

    fn check_shared(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: String, help: &str| problems.push(ConfigProblem::new(key, message, help));
        if self.ch_mult.is_empty() || self.ch_mult.contains(&0) {
            wrong("ch_mult", "needs a level, and each must be 1 or more".into(), "write for example [1, 2, 4, 4]");
        }
        if self.ch_mult.len() > 16 {
            wrong("ch_mult", format!("{} levels halve any image to nothing", self.ch_mult.len()), "use at most 16");
        }
        if let Some(channels) =
            self.ch_mult.iter().map(|mult| self.ch.saturating_mul(*mult)).find(|c| !c.is_multiple_of(32))
        {
            wrong("ch", not_in_groups(channels), "use 32, 64, 96, 128, ...");
        }
        let counts = [
            ("ch", self.ch),
            ("out_ch", self.out_ch),
            ("in_channels", self.in_channels),
            ("z_channels", self.z_channels),
        ];
        for (key, _) in counts.iter().filter(|(_, count)| *count == 0) {
            wrong(key, "must be 1 or more".into(), "give the number of channels");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            wrong("dropout", format!("{} is no probability below 1", self.dropout), "use 0 for none");
        }
        problems
    }

    fn check_no_video(&self) -> Vec<ConfigProblem> {
        let given = [
            ("video_kernel_size", self.video_kernel_size.is_some()),
            ("alpha", self.alpha.is_some()),
            ("merge_strategy", self.merge_strategy.is_some()),
            ("time_mode", self.time_mode.is_some()),
        ];
        let problem =
            |key| ConfigProblem::new(key, "has no effect", "remove it, or use a decoder of kind \"video-decoder\"");
        given.into_iter().filter(|(_, given)| *given).map(|(key, _)| problem(key)).collect()
    }

    /// Rows and columns of an image for each one of a latent.
    pub fn downsampling(&self) -> i64 {
        1 << self.ch_mult.len().saturating_sub(1)
    }

    /// Channels that an encoder gives.
    pub fn encoded_channels(&self) -> i64 {
        i64::from(self.z_channels) * if self.double_z { 2 } else { 1 }
    }

    pub(super) fn attention(&self) -> AttnType {
        if self.use_linear_attn { AttnType::Linear } else { self.attn_type }
    }

    /// Whether the residual blocks of a level are followed by attention.
    pub(super) fn attends_at(&self, level: usize) -> bool {
        self.attn_resolutions.contains(&(self.resolution >> level))
    }

    /// Channels of a level.
    pub(super) fn channels_at(&self, level: usize) -> i64 {
        i64::from(self.ch) * i64::from(self.ch_mult[level])
    }

    pub(super) fn time(&self) -> VideoTimeConfig {
        VideoTimeConfig {
            video_kernel: self.video_kernel_size.unwrap_or(KernelSize::Cube(3)).sizes(),
            merge_strategy: self.merge_strategy.unwrap_or_default(),
            alpha: self.alpha.unwrap_or(0.0),
        }
    }
}

/// What layers over time share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoTimeConfig {
    /// Kernel over time, rows, columns.
    pub video_kernel: [i64; 3],
    /// How the results over images and over time are blended.
    pub merge_strategy: TimeMerge,
    /// Start of the blend.
    pub alpha: f64,
}

fn not_in_groups(channels: u32) -> String {
    format!("{channels} channels are not a multiple of 32, the number of normalisation groups")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(change: serde_json::Value) -> CoderConfig {
        let mut all = json!({ "ch": 32, "out_ch": 3, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [],
            "in_channels": 3, "resolution": 16, "z_channels": 4 });
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn check(change: serde_json::Value, [encoder, decoder, video]: [&[&str]; 3]) {
        let config = config(change.clone());
        let keys = |problems: Vec<ConfigProblem>| problems.into_iter().map(|p| p.key).collect::<Vec<_>>();
        assert_eq!(keys(config.check_encoder()), encoder, "{change}");
        assert_eq!(keys(config.check_decoder()), decoder, "{change}");
        assert_eq!(keys(config.check_video_decoder()), video, "{change}");
    }

    #[test]
    fn problems_name_their_setting() {
        check(json!({}), [&[], &[], &[]]);
        check(json!({ "ch": 16, "ch_mult": [2, 4] }), [&["ch"], &[], &[]]);
        check(json!({ "num_res_blocks": 0 }), [&[], &[], &[]]);
        check(json!({ "num_res_blocks": 0, "ch_mult": [2, 2] }), [&["num_res_blocks"], &[], &[]]);
        check(json!({ "dropout": 1.0 }), [&["dropout"], &["dropout"], &["dropout"]]);
        check(json!({ "ch_mult": [] }), [&["ch_mult"], &["ch_mult"], &["ch_mult"]]);
        check(json!({ "z_channels": 0 }), [&["z_channels"], &["z_channels"], &["z_channels"]]);
        check(json!({ "time_mode": "all" }), [&["time_mode"], &["time_mode"], &[]]);
        check(json!({ "use_linear_attn": true }), [&[], &[], &["use_linear_attn"]]);
        check(json!({ "attn_type": "none" }), [&[], &[], &["attn_type"]]);
        let kernel = "video_kernel_size";
        check(json!({ kernel: [2, 1, 1] }), [&[kernel], &[kernel], &[kernel]]);
    }

    #[test]
    fn attention_follows_the_nominal_resolution() {
        let config = config(json!({ "attn_resolutions": [8], "use_linear_attn": true, "attn_type": "vanilla" }));
        assert!(!config.attends_at(0) && config.attends_at(1));
        assert_eq!((config.attention(), config.downsampling(), config.encoded_channels()), (AttnType::Linear, 2, 8));
    }
}
