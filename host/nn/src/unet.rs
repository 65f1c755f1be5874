//! The image UNet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::blocks::{
    ResBlock, ResBlockConfig, Resample, SpatialTransformer, SpatialTransformerConfig, TransformerBlockConfig,
};
use crate::config::{
    AttentionType, ConfigProblem, Heads, NumClasses, PerLevel, Shape, check_shape, depth_one, four_levels, two, yes,
};
use crate::embedding::Embedding;
use crate::network::{Network, NetworkInput};
use crate::params::Path;
use crate::trunk::{Call, Layer, Parts, Place, Trunk, TrunkConfig};

/// Settings of the image UNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
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
    pub num_res_blocks: PerLevel,
    /// Downsampling factors (1, 2, 4, ...) of the levels with attention; the middle has its own switch.
    pub attention_resolutions: Vec<u32>,
    /// Probability of dropping a value in the residual blocks, in training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// Channels of each level as multiples of `model_channels`, finest first.
    #[serde(default = "four_levels")]
    pub channel_mult: Vec<u32>,
    /// Resample with a convolution.
    #[serde(default = "yes")]
    pub conv_resample: bool,
    /// Axes of positions; attention wants 2.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 3))]
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
    /// The embedding scales and shifts the norm instead of being added.
    #[serde(default)]
    pub use_scale_shift_norm: bool,
    /// Resample inside residual blocks.
    #[serde(default)]
    pub resblock_updown: bool,
    /// Transformer blocks in each attention layer; the middle has those of the last level.
    #[serde(default = "depth_one")]
    pub transformer_depth: PerLevel,
    /// Width of a token of the context; cross attention is self attention without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub context_dim: Option<u32>,
    /// For each level, whether the first attention, too, attends to the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_self_attentions: Option<Vec<bool>>,
    /// For each level, how many residual blocks are followed by attention, on the way down and up; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_attention_blocks: Option<Vec<u32>>,
    /// In the middle the first attention, too, attends to the context.
    #[serde(default)]
    pub disable_middle_self_attn: bool,
    /// No attention in the middle.
    #[serde(default)]
    pub disable_middle_transformer: bool,
    /// The projections around transformer blocks are linear layers, not convolutions.
    #[serde(default)]
    pub use_linear_in_transformer: bool,
    /// The implementation of attention.
    #[serde(default)]
    pub spatial_transformer_attn_type: AttentionType,
    /// Width of a sequential vector condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub adm_in_channels: Option<u32>,
}

impl UNetConfig {
    /// What the network cannot be built with; empty when all is well.
    pub fn check(&self) -> Vec<ConfigProblem> {
        let levels = self.channel_mult.len();
        let mut problems = check_shape(&Shape {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            model_channels: self.model_channels,
            channel_mult: &self.channel_mult,
            attention_resolutions: &self.attention_resolutions,
            middle_attention: !self.disable_middle_transformer,
            heads: self.heads(),
            num_classes: self.num_classes,
            adm_in_channels: self.adm_in_channels,
            transformer_depth: &self.transformer_depth,
            num_heads_upsample: self.num_heads_upsample,
            dropout: self.dropout,
        });
        let mut wrong = |key: &str, message: &str, help: &str| problems.push(ConfigProblem::new(key, message, help));
        let per_level = "give one entry for each level of channel_mult";
        if self.num_res_blocks.listed().is_some_and(|n| n != levels) {
            wrong("num_res_blocks", "does not list as many levels as channel_mult", per_level);
        }
        if self.disable_self_attentions.as_ref().is_some_and(|list| list.len() != levels) {
            wrong("disable_self_attentions", "does not list as many levels as channel_mult", per_level);
        }
        if let Some(list) = &self.num_attention_blocks {
            let res_blocks = self.num_res_blocks.expand(levels);
            if list.len() != levels {
                wrong("num_attention_blocks", "does not list as many levels as channel_mult", per_level);
            } else if list.iter().zip(&res_blocks).any(|(attention, res)| attention > res) {
                wrong("num_attention_blocks", "is larger than num_res_blocks at a level", "lower it there");
            }
        }
        if self.context_dim == Some(0) {
            wrong("context_dim", "must be 1 or more", "leave it out if there is no context");
        }
        let attends = !self.disable_middle_transformer || !self.attention_resolutions.is_empty();
        if !(1..=3).contains(&self.dims) {
            wrong("dims", "must be 1, 2 or 3", "leave it out for images");
        } else if self.dims != 2 && attends {
            let help = "set disable_middle_transformer = true and attention_resolutions = []";
            wrong("dims", "attention works on images, of 2 dimensions", help);
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
            num_res_blocks: self.num_res_blocks.expand(self.channel_mult.len()),
            channel_mult: self.channel_mult.clone(),
            conv_resample: self.conv_resample,
            resblock_updown: self.resblock_updown,
            dims: self.dims as usize,
            use_checkpoint: self.use_checkpoint,
        }
    }

    /// Depth of the attention at a place and whether it has no self attention; None without attention.
    fn attention_at(&self, place: &Place) -> Option<(u32, bool)> {
        let depths = self.transformer_depth.expand(self.channel_mult.len());
        match *place {
            Place::Middle if self.disable_middle_transformer => None,
            Place::Middle => Some((depths[depths.len() - 1], self.disable_middle_self_attn)),
            Place::Level { level, block } => {
                let chosen = self.num_attention_blocks.as_ref().is_none_or(|blocks| block < blocks[level]);
                let disabled = self.disable_self_attentions.as_ref().is_some_and(|levels| levels[level]);
                (chosen && self.attention_resolutions.contains(&(1 << level))).then_some((depths[level], disabled))
            }
        }
    }
}

impl Parts for UNetConfig {
    fn res_block(&self, path: &Path, channels: i64, out_channels: i64, resample: Resample) -> Box<dyn Layer> {
        Box::new(ResBlock::new(
            path,
            ResBlockConfig {
                channels,
                out_channels,
                emb_channels: Some(4 * i64::from(self.model_channels)),
                dropout: self.dropout,
                use_conv: false,
                use_scale_shift_norm: self.use_scale_shift_norm,
                kernel: vec![3; self.dims as usize],
                resample,
                emb_per_frame: false,
            },
        ))
    }

    fn attention(&self, path: &Path, channels: i64, place: Place) -> Option<Box<dyn Layer>> {
        let (depth, disable_self_attn) = self.attention_at(&place)?;
        let (num_heads, head_width) = self.heads().at(channels);
        let block = TransformerBlockConfig {
            width: num_heads * head_width,
            num_heads,
            head_width,
            context_width: self.context_dim.map(i64::from),
            gated_ff: true,
            dropout: 0.0,
        };
        let use_linear = self.use_linear_in_transformer;
        Some(Box::new(SpatialTransformer::new(
            path,
            SpatialTransformerConfig { channels, depth, use_linear, disable_self_attn, block },
        )))
    }
}

impl Layer for ResBlock {
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        Self::forward(self, x, Some(&call.emb), call.train)
    }
}

impl Layer for SpatialTransformer {
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        Self::forward(self, x, call.context.as_ref(), call.train)
    }
}

/// The image UNet.
pub struct UNet {
    embedding: Embedding,
    trunk: Trunk,
}

impl UNet {
    /// Adds the network's parameters at `path`.
    ///
    /// # Panics
    /// When [`UNetConfig::check`] has something to say.
    pub fn new(config: &UNetConfig, path: &Path) -> Self {
        let problems = config.check();
        assert!(problems.is_empty(), "{}", problems[0]);
        let embedding = Embedding::new(path, config.model_channels.into(), config.num_classes, config.adm_in_channels);
        Self { embedding, trunk: Trunk::new(path, &config.trunk(), config) }
    }
}

impl Network for UNet {
    fn forward(&self, input: &NetworkInput<'_>) -> Tensor {
        let call = Call {
            emb: self.embedding.forward(input.c_noise, input.y, input.train),
            context: input.context.map(Tensor::shallow_clone),
            time_context: None,
            cond_view: None,
            t: 1,
            image_only_indicator: None,
            train: input.train,
        };
        self.trunk.forward(input.x, &call)
    }
}

#[cfg(test)]
#[path = "unet_tests.rs"]
mod tests;
