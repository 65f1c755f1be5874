//! Settings of SV4D's UNet and what is to be said against them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blocks::ViewGrouping;
use crate::config::{
    AttentionType, ConfigProblem, Heads, KernelSize, MergeStrategy, NumClasses, NumberCondition, PerLevel, Shape,
    check_shape, depth_one, four_levels, two, yes,
};

/// Settings of SV4D's UNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpatialUNetWithTimeConfig {
    /// Channels of the noised latent and of the conditions concatenated to it.
    #[schemars(range(min = 1))]
    pub in_channels: u32,
    /// Channels at the finest level; a multiple of 32.
    #[schemars(range(min = 32), extend("multipleOf" = 32))]
    pub model_channels: u32,
    /// Channels of the result.
    #[schemars(range(min = 1))]
    pub out_channels: u32,
    /// Residual blocks at each level on the way down; one more on the way up.
    pub num_res_blocks: u32,
    /// Downsampling factors (1, 2, 4, ...) of the levels with attention; the middle always has it.
    pub attention_resolutions: Vec<u32>,
    /// Probability of dropping a value, in training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// Channels of each level as multiples of `model_channels`, finest first.
    #[serde(default = "four_levels")]
    pub channel_mult: Vec<u32>,
    /// Resample with a convolution.
    #[serde(default = "yes")]
    pub conv_resample: bool,
    /// Dimensions of the image blocks; only 2 has a meaning here.
    #[serde(default = "two")]
    #[schemars(range(min = 2, max = 2))]
    pub dims: u32,
    /// What the vector condition is; there is none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<NumClasses>,
    /// Recompute activations in backward instead of keeping them.
    #[serde(default)]
    pub use_checkpoint: bool,
    /// Number of attention heads; give this or `num_head_channels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub num_heads: Option<u32>,
    /// Width of an attention head; give this or `num_heads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub num_head_channels: Option<u32>,
    /// Known from the reference; has no effect and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_heads_upsample: Option<u32>,
    /// The embedding scales and shifts the norm in the image blocks instead of being added.
    #[serde(default)]
    pub use_scale_shift_norm: bool,
    /// Resample inside residual blocks.
    #[serde(default)]
    pub resblock_updown: bool,
    /// Order of channels in an attention that this network never has; only `false` is accepted.
    #[serde(default)]
    pub use_new_attention_order: bool,
    /// Attention by transformers; the reference fails without, so only `true` is accepted.
    #[serde(default)]
    pub use_spatial_transformer: bool,
    /// Transformer blocks in each attention layer.
    #[serde(default = "depth_one")]
    pub transformer_depth: PerLevel,
    /// Transformer blocks in the middle; those of the last level if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer_depth_middle: Option<u32>,
    /// Width of a frame's token in the context.
    #[schemars(range(min = 1))]
    pub context_dim: u32,
    /// Resampling of time; image blocks have no time, so only `false` is accepted.
    #[serde(default)]
    pub time_downup: bool,
    /// Width of the context of attention over views without `use_spatial_context`; it is the same context, so the same
    /// width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub time_context_dim: Option<u32>,
    /// Known from the reference; has no effect and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_context_dim: Option<u32>,
    /// Channels of the reference views, to which attention over frames attends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub motion_context_dim: Option<u32>,
    /// Known from published configs: the blocks over views and frames have this feed-forward layer in either case.
    #[serde(default)]
    pub extra_ff_mix_layer: bool,
    /// The width of the context over views is that of the context.
    #[serde(default)]
    pub use_spatial_context: bool,
    /// How branches are blended.
    #[serde(default)]
    pub time_block_merge_strategy: MergeStrategy,
    /// Start of the blend: the weight itself when fixed, else the number in front of the sigmoid.
    #[serde(default = "half")]
    pub time_block_merge_factor: f64,
    /// Known from the reference; has no effect and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_block_merge_factor: Option<f64>,
    /// Start of the blend of attention over frames, with `separate_motion_merge_factor`.
    #[serde(default = "half")]
    pub motion_block_merge_factor: f64,
    /// The implementation of attention.
    #[serde(default)]
    pub spatial_transformer_attn_type: AttentionType,
    /// Kernel of the convolutions over views and frames as one line; odd.
    #[serde(default = "cube_of_three")]
    pub time_kernel_size: KernelSize,
    /// The projections around transformer blocks are linear layers, not convolutions.
    #[serde(default)]
    pub use_linear_in_transformer: bool,
    /// Known from published configs: another width of heads for an attention that this network never has.
    #[serde(default = "yes")]
    pub legacy: bool,
    /// Width of a sequential vector condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub adm_in_channels: Option<u32>,
    /// Residual blocks have a block over views and frames.
    #[serde(default = "yes")]
    pub use_temporal_resblock: bool,
    /// The blocks over views and frames have no cross attention.
    #[serde(default)]
    pub disable_temporal_crossattention: bool,
    /// Blend with the sigmoid last; published configs say `false`.
    #[serde(default = "yes")]
    pub time_mix_legacy: bool,
    /// Longest period in the embedding of indices.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1))]
    pub max_ddpm_temb_period: u32,
    /// Known from published configs; has no effect.
    #[serde(default)]
    pub replicate_time_mix_bug: bool,
    /// Attention over frames behind that over views; the reference fails without, so only `true` is accepted.
    #[serde(default)]
    pub use_motion_attention: bool,
    /// Embed views from the embedded noise level and vector condition of their first frame, not from their index.
    #[serde(default)]
    pub use_camera_emb: bool,
    /// Attention over views puts pixels into its groups; see `attention_3d_grouping`.
    #[serde(default)]
    pub use_3d_attention: bool,
    /// What 3-D attention groups: `strided` as the reference does, `everything` all pixels of all views, `views` as
    /// without it.
    #[serde(default)]
    pub attention_3d_grouping: ViewGrouping,
    /// Attention over frames has a blend of its own.
    #[serde(default)]
    pub separate_motion_merge_factor: bool,
}

fn half() -> f64 {
    0.5
}

fn cube_of_three() -> KernelSize {
    KernelSize::Cube(3)
}

fn ten_thousand() -> u32 {
    10_000
}

impl SpatialUNetWithTimeConfig {
    /// What the network cannot be built with; empty when all is well.
    pub fn check(&self) -> Vec<ConfigProblem> {
        // Beside the vector condition, the width may be that of cameras.
        let sequential = self.num_classes == Some(NumClasses::Numbers(NumberCondition::Sequential));
        let camera_alone = self.use_camera_emb && !sequential;
        let mut problems = check_shape(&Shape {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            model_channels: self.model_channels,
            channel_mult: &self.channel_mult,
            attention_resolutions: &self.attention_resolutions,
            middle_attention: true,
            heads: self.heads(),
            num_classes: self.num_classes,
            adm_in_channels: if camera_alone { None } else { self.adm_in_channels },
            transformer_depth: &self.transformer_depth,
            num_heads_upsample: self.num_heads_upsample,
            dropout: self.dropout,
        });
        let mut wrong = |key: &str, message: &str, help: &str| problems.push(ConfigProblem::new(key, message, help));
        self.check_switches(&mut wrong);
        self.check_contexts(&mut wrong);
        self.check_blends(&mut wrong);
        if self.time_kernel_size.sizes().iter().any(|k| k % 2 == 0) {
            wrong("time_kernel_size", "an even kernel changes the number of frames or pixels", "use 3 or [3, 1, 1]");
        }
        if self.max_ddpm_temb_period == 0 {
            wrong("max_ddpm_temb_period", "must be 1 or more", "leave it out for 10000");
        }
        problems
    }

    fn check_switches(&self, wrong: &mut impl FnMut(&str, &str, &str)) {
        for (key, on) in [
            ("use_spatial_transformer", self.use_spatial_transformer),
            ("use_motion_attention", self.use_motion_attention),
        ] {
            if !on {
                wrong(key, "must be true: there is no network without it", "add it");
            }
        }
        for (key, given) in [
            ("use_new_attention_order", self.use_new_attention_order),
            ("view_context_dim", self.view_context_dim.is_some()),
            ("view_block_merge_factor", self.view_block_merge_factor.is_some()),
            ("time_downup", self.time_downup),
        ] {
            if given {
                wrong(key, "has no effect", "remove it");
            }
        }
        if self.dims != 2 {
            wrong("dims", "the image blocks of a video network have 2 dimensions", "remove it");
        }
    }

    fn check_contexts(&self, wrong: &mut impl FnMut(&str, &str, &str)) {
        if self.context_dim == 0 {
            wrong("context_dim", "must be 1 or more", "give the width of the cross-attention context");
        }
        let crosses = !self.disable_temporal_crossattention;
        let view_width = self.time_context_dim.unwrap_or(self.model_channels);
        if self.use_spatial_context && self.time_context_dim.is_some() {
            wrong("time_context_dim", "has no effect with use_spatial_context", "remove one of the two");
        } else if crosses && !self.use_spatial_context && view_width != self.context_dim {
            let message = "attention over views attends to the context, and is told another width";
            wrong("time_context_dim", message, "add use_spatial_context = true and leave this out");
        }
        if self.use_camera_emb && self.adm_in_channels != Some(4 * self.model_channels) {
            let message = "use_camera_emb embeds views from vectors of 4 * model_channels";
            let needed = format!("set it to {}", 4 * self.model_channels);
            wrong("adm_in_channels", message, &needed);
        }
    }

    fn check_blends(&self, wrong: &mut impl FnMut(&str, &str, &str)) {
        let strategy = self.time_block_merge_strategy;
        let weights = [
            ("time_block_merge_factor", self.time_block_merge_factor),
            ("motion_block_merge_factor", self.motion_block_merge_factor),
        ];
        for (key, weight) in weights {
            if strategy == MergeStrategy::Fixed && !self.time_mix_legacy && !(0.0..=1.0).contains(&weight) {
                wrong(key, "a fixed blend lies between 0 and 1", "choose a learned time_block_merge_strategy, or 0.5");
            }
        }
        if self.time_mix_legacy && strategy == MergeStrategy::LearnedWithImages {
            let help = "set time_mix_legacy = false, as published configs do";
            wrong("time_block_merge_strategy", "a legacy blend cannot depend on images here", help);
        }
        if self.time_mix_legacy && self.separate_motion_merge_factor {
            let help = "remove it, or set time_mix_legacy = false";
            wrong("separate_motion_merge_factor", "has no effect with time_mix_legacy", help);
        }
    }

    /// Rows and columns of an input must be divisible by this, or skip connections do not fit.
    pub fn min_divisor(&self) -> i64 {
        1 << self.channel_mult.len().saturating_sub(1)
    }

    pub(super) fn heads(&self) -> Heads {
        Heads { num_heads: self.num_heads, num_head_channels: self.num_head_channels }
    }
}
