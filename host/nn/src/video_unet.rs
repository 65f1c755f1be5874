//! The video UNet of SVD and SV3D.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::blocks::{
    BlendConfig, ResBlockConfig, Resample, SpatialTransformerConfig, SpatialVideoTransformer,
    SpatialVideoTransformerConfig, TimeKeys, TransformerBlockConfig, VideoResBlock, VideoResBlockConfig,
};
use crate::config::{
    AttentionType, ConfigProblem, Heads, KernelSize, MergeStrategy, NumClasses, PerLevel, Shape, check_shape,
    depth_one, four_levels, two, yes,
};
use crate::embedding::Embedding;
use crate::network::{Network, NetworkInput};
use crate::params::Path;
use crate::trunk::{Call, Layer, Parts, Place, Trunk, TrunkConfig};

/// Settings of the video UNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoUNetConfig {
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
    /// Dimensions of the image blocks; only 2 has a meaning in a video network.
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
    /// Known from published configs; has no effect and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_heads_upsample: Option<u32>,
    /// The embedding scales and shifts the norm in the image blocks instead of being added.
    #[serde(default)]
    pub use_scale_shift_norm: bool,
    /// Resample inside residual blocks.
    #[serde(default)]
    pub resblock_updown: bool,
    /// Transformer blocks in each attention layer.
    #[serde(default = "depth_one")]
    pub transformer_depth: PerLevel,
    /// Transformer blocks in the middle; those of the last level if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer_depth_middle: Option<u32>,
    /// Width of a token of the context.
    #[schemars(range(min = 1))]
    pub context_dim: u32,
    /// Resampling of time; image blocks have no time, so only `false` is accepted.
    #[serde(default)]
    pub time_downup: bool,
    /// Width of a token of the context over time, if it is not taken from the spatial one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub time_context_dim: Option<u32>,
    /// Known from published configs: the blocks over time have this feed-forward layer in either case.
    #[serde(default)]
    pub extra_ff_mix_layer: bool,
    /// The context over time is the context of a clip's first frame.
    #[serde(default)]
    pub use_spatial_context: bool,
    /// How spatial and temporal branches are blended.
    #[serde(default)]
    pub merge_strategy: MergeStrategy,
    /// Start of the blend: the spatial weight itself when fixed, else the number in front of the sigmoid.
    #[serde(default = "half")]
    pub merge_factor: f64,
    /// The implementation of attention.
    #[serde(default)]
    pub spatial_transformer_attn_type: AttentionType,
    /// Kernel of the convolutions over time; odd.
    #[serde(default = "cube_of_three")]
    pub video_kernel_size: KernelSize,
    /// The projections around transformer blocks are linear layers, not convolutions.
    #[serde(default)]
    pub use_linear_in_transformer: bool,
    /// Width of a sequential vector condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub adm_in_channels: Option<u32>,
    /// The blocks over time have no cross attention.
    #[serde(default)]
    pub disable_temporal_crossattention: bool,
    /// Longest period in the embedding of the frame index.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1))]
    pub max_ddpm_temb_period: u32,
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

impl VideoUNetConfig {
    /// What the network cannot be built with; empty when all is well.
    pub fn check(&self) -> Vec<ConfigProblem> {
        let mut problems = check_shape(&Shape {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            model_channels: self.model_channels,
            channel_mult: &self.channel_mult,
            attention_resolutions: &self.attention_resolutions,
            middle_attention: true,
            heads: self.heads(),
            num_classes: self.num_classes,
            adm_in_channels: self.adm_in_channels,
            transformer_depth: &self.transformer_depth,
            num_heads_upsample: self.num_heads_upsample,
            dropout: self.dropout,
        });
        let mut wrong = |key: &str, message: &str, help: &str| problems.push(ConfigProblem::new(key, message, help));
        if self.dims != 2 {
            wrong("dims", "the image blocks of a video network have 2 dimensions", "remove it");
        }
        if self.time_downup {
            wrong("time_downup", "has no effect, because the image blocks have no time axis", "remove it");
        }
        if self.context_dim == 0 {
            wrong("context_dim", "must be 1 or more", "give the width of the cross-attention context");
        }
        if self.use_spatial_context && self.time_context_dim.is_some() {
            wrong("time_context_dim", "has no effect with use_spatial_context", "remove one of the two");
        }
        if self.disable_temporal_crossattention && (self.use_spatial_context || self.time_context_dim.is_some()) {
            let help = "remove use_spatial_context and time_context_dim, or the other one";
            wrong("disable_temporal_crossattention", "leaves the context over time unused", help);
        }
        if self.merge_strategy == MergeStrategy::Fixed && !(0.0..=1.0).contains(&self.merge_factor) {
            wrong("merge_factor", "a fixed blend lies between 0 and 1", "choose a learned merge_strategy, or 0.5");
        }
        if self.video_kernel_size.sizes().iter().any(|k| k % 2 == 0) {
            wrong("video_kernel_size", "an even kernel changes the number of frames or pixels", "use 3 or [3, 1, 1]");
        }
        if self.max_ddpm_temb_period == 0 {
            wrong("max_ddpm_temb_period", "must be 1 or more", "leave it out for 10000");
        }
        problems
    }

    /// Rows and columns of an input must be divisible by this, or skip connections do not fit.
    pub fn min_divisor(&self) -> i64 {
        1 << self.channel_mult.len().saturating_sub(1)
    }

    fn heads(&self) -> Heads {
        Heads { num_heads: self.num_heads, num_head_channels: self.num_head_channels }
    }

    fn trunk(&self) -> TrunkConfig {
        TrunkConfig {
            in_channels: self.in_channels.into(),
            model_channels: self.model_channels.into(),
            out_channels: self.out_channels.into(),
            num_res_blocks: vec![self.num_res_blocks; self.channel_mult.len()],
            channel_mult: self.channel_mult.clone(),
            conv_resample: self.conv_resample,
            resblock_updown: self.resblock_updown,
            dims: 2,
            use_checkpoint: self.use_checkpoint,
        }
    }
}

impl Parts for VideoUNetConfig {
    fn res_block(&self, path: &Path, channels: i64, out_channels: i64, resample: Resample) -> Box<dyn Layer> {
        let image = ResBlockConfig {
            channels,
            out_channels,
            emb_channels: Some(4 * i64::from(self.model_channels)),
            dropout: self.dropout,
            use_conv: false,
            use_scale_shift_norm: self.use_scale_shift_norm,
            kernel: vec![3, 3],
            resample,
            emb_per_frame: false,
        };
        Box::new(VideoResBlock::new(
            path,
            VideoResBlockConfig {
                image,
                video_kernel: self.video_kernel_size.sizes(),
                merge_strategy: self.merge_strategy,
                merge_factor: self.merge_factor,
            },
        ))
    }

    fn attention(&self, path: &Path, channels: i64, place: Place) -> Option<Box<dyn Layer>> {
        let depths = self.transformer_depth.expand(self.channel_mult.len());
        let depth = match place {
            Place::Level { level, .. } if self.attention_resolutions.contains(&(1 << level)) => depths[level],
            Place::Level { .. } => return None,
            Place::Middle => self.transformer_depth_middle.unwrap_or(depths[depths.len() - 1]),
        };
        let (num_heads, head_width) = self.heads().at(channels);
        let block = TransformerBlockConfig {
            width: num_heads * head_width,
            num_heads,
            head_width,
            context_width: Some(self.context_dim.into()),
            gated_ff: true,
            dropout: self.dropout,
        };
        let use_linear = self.use_linear_in_transformer;
        Some(Box::new(SpatialVideoTransformer::new(
            path,
            SpatialVideoTransformerConfig {
                spatial: SpatialTransformerConfig { channels, depth, use_linear, disable_self_attn: false, block },
                time_context_width: self.time_context_dim.map(i64::from),
                use_spatial_context: self.use_spatial_context,
                temporal_cross_attention: !self.disable_temporal_crossattention,
                blend: BlendConfig::Mixer { strategy: self.merge_strategy, factor: self.merge_factor },
                keys: TimeKeys::Stack,
                max_period: self.max_ddpm_temb_period.into(),
            },
        )))
    }
}

impl Layer for VideoResBlock {
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        Self::forward(self, x, &call.emb, call.t, call.image_only_indicator.as_ref(), call.train)
    }
}

impl Layer for SpatialVideoTransformer {
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        let (context, time_context) = (call.context.as_ref(), call.time_context.as_ref());
        Self::forward(self, x, context, time_context, call.t, call.image_only_indicator.as_ref(), call.train)
    }
}

/// The video UNet.
pub struct VideoUNet {
    embedding: Embedding,
    trunk: Trunk,
}

impl VideoUNet {
    /// Adds the network's parameters at `path`.
    ///
    /// # Panics
    /// When [`VideoUNetConfig::check`] has something to say.
    pub fn new(config: &VideoUNetConfig, path: &Path) -> Self {
        let problems = config.check();
        assert!(problems.is_empty(), "{}", problems[0]);
        let embedding = Embedding::new(path, config.model_channels.into(), config.num_classes, config.adm_in_channels);
        Self { embedding, trunk: Trunk::new(path, &config.trunk(), config) }
    }
}

impl Network for VideoUNet {
    fn forward(&self, input: &NetworkInput<'_>) -> Tensor {
        let t = input.num_video_frames.unwrap_or_else(|| panic!("the video UNet needs num_video_frames"));
        let rows = input.x.size()[0];
        assert!(t > 0 && rows % t == 0, "{rows} rows are no whole number of clips of num_video_frames = {t}");
        let share = |t: Option<&Tensor>| t.map(Tensor::shallow_clone);
        let call = Call {
            emb: self.embedding.forward(input.c_noise, input.y, input.train),
            context: share(input.context),
            time_context: share(input.time_context),
            cond_view: None,
            t,
            image_only_indicator: share(input.image_only_indicator),
            train: input.train,
        };
        self.trunk.forward(input.x, &call)
    }
}

#[cfg(test)]
#[path = "video_unet_tests.rs"]
mod tests;
