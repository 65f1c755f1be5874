//! The transformer of SV4D's UNet: each block over pixels is followed by one over views and one over frames.

use anneal_torch::place::count_to;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{
    AlphaBlender, Blend, BlendConfig, LegacyMergeStrategy, SecondAttention, SpatialTransformer,
    SpatialTransformerConfig, TransformerBlockConfig, VideoTransformerBlock, VideoTransformerBlockConfig,
};
use crate::layers::{Mlp, timestep_embedding};
use crate::params::Path;
use crate::shape::rows_of_frames;

/// Which tokens of a frame attend to one another in view attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ViewGrouping {
    /// The same pixel in all views.
    Views,
    /// As many neighbouring pixels of one view as there are views: what the reference's 3-D attention does, perhaps
    /// without meaning to. The context of a group belongs to another frame than its tokens.
    #[default]
    Strided,
    /// All pixels of all views.
    Everything,
}

/// Sizes and options of a transformer over pixels, views and frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ViewMotionTransformerConfig {
    /// The transformer over pixels; as wide inside as it has channels.
    pub spatial: SpatialTransformerConfig,
    /// Width of a token of the context in the blocks over views; the blocks' own width if not given.
    pub view_context_width: Option<i64>,
    /// Channels of the reference views, the context of the blocks over frames.
    pub motion_context_width: Option<i64>,
    /// Width of a camera's description, from which a view is embedded; from its index if not given.
    pub camera_width: Option<i64>,
    /// What attends to what in the blocks over views.
    pub grouping: ViewGrouping,
    /// The blocks over views and frames attend to a context.
    pub cross_attention: bool,
    /// How branches are blended.
    pub blend: BlendConfig,
    /// Start of a blend of its own for motion.
    pub motion_factor: Option<f64>,
    /// Longest period in the embedding of indices.
    pub max_period: f64,
}

/// What one pass is told besides its input.
#[derive(Debug, Clone, Copy)]
pub struct ViewMotionInput<'a> {
    /// One token a frame: `[b, t, d]`.
    pub context: &'a Tensor,
    /// Reference views: `[b*v, c', h', w']`.
    pub cond_view: &'a Tensor,
    /// Descriptions of the cameras, `[b*t*v, camera_width]`; those of the first frame count.
    pub camera: Option<&'a Tensor>,
    /// Whether dropout is on.
    pub train: bool,
}

/// Blocks over pixels, views and frames; the latter two are blended with what they continue from. No frame counts as an
/// image of its own, because the reference sets the indicator to zero.
#[derive(Debug)]
pub struct ViewMotionTransformer {
    spatial: SpatialTransformer,
    view_blocks: Vec<VideoTransformerBlock>,
    motion_blocks: Vec<VideoTransformerBlock>,
    view_embed: Mlp,
    motion_embed: Mlp,
    blend: Blend,
    motion_mixer: Option<AlphaBlender>,
    config: ViewMotionTransformerConfig,
}

/// Clips, frames, views, pixels.
#[derive(Clone, Copy)]
struct Axes {
    b: i64,
    t: i64,
    v: i64,
    p: i64,
}

impl ViewMotionTransformer {
    /// Keys of the spatial transformer, `time_mix_blocks.{i}` (over views), `motion_blocks.{i}`, `time_mix_time_embed`
    /// (of views), `time_mix_motion_embed`, `time_mixer` or `mix_factor`, and `time_mixer_motion` with a blend of its own
    /// for motion.
    ///
    /// # Panics
    /// When the inside is not as wide as there are channels, and when a legacy blend depends on images: its weights, one
    /// for each row of the input, fit no grouping.
    pub fn new(path: &Path, config: ViewMotionTransformerConfig) -> Self {
        let SpatialTransformerConfig { channels, depth, block, disable_self_attn, .. } = config.spatial;
        assert!(block.width == channels, "`{}`: {} wide inside, {channels} outside", path.prefix(), block.width);
        let by_images = [LegacyMergeStrategy::LearnedWithImages, LegacyMergeStrategy::FixedWithImages];
        if let BlendConfig::Legacy { strategy, .. } = config.blend {
            assert!(!by_images.contains(&strategy), "`{}`: a legacy blend cannot depend on images here", path.prefix());
        }
        let blocks = |name: &str, context_width| {
            let (at, block) = (path.sub(name), TransformerBlockConfig { context_width, ..block });
            let config = VideoTransformerBlockConfig {
                disable_self_attn,
                second: if config.cross_attention { SecondAttention::Context } else { SecondAttention::Off },
                ..VideoTransformerBlockConfig::new(block)
            };
            (0..depth).map(|i| VideoTransformerBlock::new(&at.sub(i), config)).collect::<Vec<_>>()
        };
        let embed = |name: &str, inputs| Mlp::new(&path.sub(name), inputs, 4 * channels, channels);
        let spatial = SpatialTransformer::new(path, config.spatial);
        let view_blocks = blocks("time_mix_blocks", config.view_context_width);
        let motion_blocks = blocks("motion_blocks", config.motion_context_width);
        let motion_mixer = match (config.blend, config.motion_factor) {
            (BlendConfig::Mixer { strategy, .. }, Some(factor)) => {
                Some(AlphaBlender::new(&path.sub("time_mixer_motion"), strategy, factor))
            }
            _ => None,
        };
        Self {
            spatial,
            view_blocks,
            motion_blocks,
            view_embed: embed("time_mix_time_embed", config.camera_width.unwrap_or(channels)),
            motion_embed: embed("time_mix_motion_embed", channels),
            blend: Blend::new(path, config.blend),
            motion_mixer,
            config,
        }
    }

    /// # Shapes
    /// - `x`, result: `[b*t*v, c, h, w]`
    ///
    /// # Panics
    /// When the rows of input, context and reference views do not fit each other, or a camera is missing.
    pub fn forward(&self, x: &Tensor, input: ViewMotionInput<'_>) -> Tensor {
        let ViewMotionInput { context, cond_view, train, .. } = input;
        let (rows, _, h, w) = x.size4().unwrap_or_else(|_| panic!("attention wants [n, c, h, w], got {:?}", x.size()));
        let (b, t, d) = context.size3().unwrap_or_else(|_| panic!("context wants [b, t, d], got {:?}", context.size()));
        let views = cond_view.size()[0];
        assert!(
            views % b == 0 && rows == t * views,
            "{rows} rows are not {b} clips of {t} frames by the views of {views} rows of cond_view"
        );
        let axes = Axes { b, t, v: views / b, p: h * w };
        let frame_context = context.reshape([b * t, 1, d]);
        let pixel_context = frame_context.repeat_interleave_self_int(axes.v, 0, None); // [b*t, 1, d] -> [b*t*v, 1, d]
        // One token for each pixel of a view: [b*v, c', h, w] -> [b*v*h*w, 1, c']
        let resized = cond_view.upsample_bilinear2d([h, w], false, None, None);
        let motion_context = resized.permute([0, 2, 3, 1]).flatten(0, 2).unsqueeze(1);
        let view_emb = self.view_embedding(input.camera, axes, x, train);
        let motion_emb = self.index_embedding(&self.motion_embed, t, x, train); // [t, 1, c]

        let mut tokens = self.spatial.tokens(x, train); // [b*t*v, h*w, c]
        for ((block, view_block), motion_block) in
            self.spatial.blocks().iter().zip(&self.view_blocks).zip(&self.motion_blocks)
        {
            tokens = block.forward(&tokens, Some(&pixel_context), train);
            let (grouped, group) = self.by_view(&tokens, axes);
            let mixed = view_block.forward(&(&grouped + &view_emb), Some(&frame_context), group, train);
            let clip = self.by_frame(&self.blend.blend(&grouped, &mixed, None), axes); // [b*t, v*h*w, c]
            let timed = (rows_of_frames(&clip, t) + &motion_emb).flatten(0, 1);
            let mixed = motion_block.forward(&timed, Some(&motion_context), t, train);
            let clip = match &self.motion_mixer {
                Some(mixer) => mixer.blend(&clip, &mixed, None),
                None => self.blend.blend(&clip, &mixed, None),
            };
            tokens = clip.reshape(tokens.size()); // [b*t, v*h*w, c] -> [b*t*v, h*w, c]
        }
        self.spatial.add_tokens(x, &tokens, train)
    }

    /// Tokens in the order in which view attention groups them, and the size of a group of rows.
    ///
    /// # Shapes
    /// - `tokens`: `[b*t*v, h*w, c]`
    /// - result: `[b*v, t*h*w, c]`, or `[b*v*h*w, t, c]` with pixels in the groups
    fn by_view(&self, tokens: &Tensor, axes: Axes) -> (Tensor, i64) {
        let Axes { b, t, v, p } = axes;
        let x = tokens.reshape([b, t, v, p, -1]);
        match self.config.grouping {
            ViewGrouping::Views => (x.transpose(1, 2).reshape([b * v, t * p, -1]), v),
            ViewGrouping::Strided => (x.permute([0, 2, 3, 1, 4]).reshape([b * v * p, t, -1]), v),
            ViewGrouping::Everything => (x.permute([0, 2, 3, 1, 4]).reshape([b * v * p, t, -1]), v * p),
        }
    }

    /// The result of [`Self::by_view`] in the order of motion attention: `[b*t, v*h*w, c]`
    fn by_frame(&self, grouped: &Tensor, axes: Axes) -> Tensor {
        let Axes { b, t, v, p } = axes;
        let x = match self.config.grouping {
            ViewGrouping::Views => grouped.reshape([b, v, t, p, -1]).transpose(1, 2),
            ViewGrouping::Strided | ViewGrouping::Everything => {
                grouped.reshape([b, v, p, t, -1]).permute([0, 3, 1, 2, 4])
            }
        };
        x.reshape([b * t, v * p, -1])
    }

    /// One row for each row of [`Self::by_view`]: `[b*v, 1, c]` or `[b*v*h*w, 1, c]`
    fn view_embedding(&self, camera: Option<&Tensor>, axes: Axes, x: &Tensor, train: bool) -> Tensor {
        let Axes { b, t, v, p } = axes;
        let emb = if self.config.camera_width.is_some() {
            let camera = camera.unwrap_or_else(|| panic!("views are embedded from cameras, and there are none"));
            let first = camera.reshape([b, t, v, -1]).select(1, 0).flatten(0, 1); // [b*t*v, d] -> [b*v, d]
            self.view_embed.forward(&first, train).unsqueeze(1)
        } else {
            self.index_embedding(&self.view_embed, v, x, train).repeat([b, 1, 1]) // [v, 1, c] -> [b*v, 1, c]
        };
        match self.config.grouping {
            ViewGrouping::Views => emb,
            ViewGrouping::Strided | ViewGrouping::Everything => emb.repeat_interleave_self_int(p, 0, None),
        }
    }

    /// `[n, 1, c]`
    fn index_embedding(&self, embed: &Mlp, n: i64, x: &Tensor, train: bool) -> Tensor {
        let indices = count_to(n, x);
        let embedded = timestep_embedding(&indices, self.config.spatial.channels, self.config.max_period);
        embed.forward(&embedded, train).unsqueeze(1)
    }
}

#[cfg(test)]
#[path = "view_motion_transformer_tests.rs"]
mod tests;
