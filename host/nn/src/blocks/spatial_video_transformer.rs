//! The transformer of the video UNet: blocks over pixels, each followed by one over frames.

use tch::{Kind, Tensor};

use super::{AlphaBlender, SpatialTransformer, SpatialTransformerConfig, TransformerBlockConfig, VideoTransformerBlock};
use crate::config::MergeStrategy;
use crate::layers::{Mlp, timestep_embedding};
use crate::params::Path;
use crate::shape::rows_of_frames;

/// Sizes and options of a spatial video transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpatialVideoTransformerConfig {
    /// The transformer over pixels.
    pub spatial: SpatialTransformerConfig,
    /// Width of a token of the context over time, if it is not taken from the spatial one.
    pub time_context_width: Option<i64>,
    /// The context over time is the spatial context of a clip's first frame.
    pub use_spatial_context: bool,
    /// The blocks over time attend to a context.
    pub temporal_cross_attention: bool,
    /// How the branches are blended.
    pub merge_strategy: MergeStrategy,
    /// Start of the blend.
    pub merge_factor: f64,
    /// Longest period of the frame index's embedding.
    pub max_period: f64,
}

/// Each block over pixels is blended with a block over frames that continues from it.
#[derive(Debug)]
pub struct SpatialVideoTransformer {
    spatial: SpatialTransformer,
    time_stack: Vec<VideoTransformerBlock>,
    time_pos_embed: Mlp,
    time_mixer: AlphaBlender,
    config: SpatialVideoTransformerConfig,
}

impl SpatialVideoTransformer {
    /// Keys of the spatial transformer, `time_stack.{i}`, `time_pos_embed`, `time_mixer`.
    pub fn new(path: &Path, config: SpatialVideoTransformerConfig) -> Self {
        let SpatialTransformerConfig { channels, depth, block, .. } = config.spatial;
        let context_width = if config.use_spatial_context { block.context_width } else { config.time_context_width };
        let block = TransformerBlockConfig { context_width, ..block };
        let spatial = SpatialTransformer::new(path, config.spatial);
        let stack = path.sub("time_stack");
        let time_block = |i| VideoTransformerBlock::new(&stack.sub(i), block, config.temporal_cross_attention);
        Self {
            spatial,
            time_stack: (0..depth).map(time_block).collect(),
            time_pos_embed: Mlp::new(&path.sub("time_pos_embed"), channels, 4 * channels, channels),
            time_mixer: AlphaBlender::new(&path.sub("time_mixer"), config.merge_strategy, config.merge_factor),
            config,
        }
    }

    /// # Shapes
    /// - `x`, result: `[b*t, c, h, w]`
    /// - `context`: `[b*t, s, d]`
    /// - `time_context`: `[b, s', d']` or `[b, d']`; not used with `use_spatial_context`
    /// - `image_only_indicator`: `[b, t]`
    ///
    /// # Panics
    /// When `use_spatial_context` has no context to take.
    pub fn forward(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        time_context: Option<&Tensor>,
        t: i64,
        image_only_indicator: Option<&Tensor>,
        train: bool,
    ) -> Tensor {
        let time_context = self.time_context(context, time_context, t);
        let mut tokens = self.spatial.tokens(x);
        let frame_emb = self.frame_embedding(x, t);
        for (block, time_block) in self.spatial.blocks().iter().zip(&self.time_stack) {
            tokens = block.forward(&tokens, context, train);
            let clip = rows_of_frames(&tokens, t) + &frame_emb; // [b*t, s, d] -> [b, t, s, d]
            let over_time = time_block.forward(&clip.flatten(0, 1), time_context.as_ref(), t, train);
            tokens = self.time_mixer.blend(&tokens, &over_time, image_only_indicator);
        }
        self.spatial.add_tokens(x, &tokens)
    }

    /// `[t, 1, c]`: the same for all clips and positions.
    fn frame_embedding(&self, x: &Tensor, t: i64) -> Tensor {
        let frames = Tensor::arange(t, (Kind::Float, x.device()));
        let embedded = timestep_embedding(&frames, self.config.spatial.channels, self.config.max_period);
        self.time_pos_embed.forward(&embedded).unsqueeze(1)
    }

    fn time_context(&self, context: Option<&Tensor>, time_context: Option<&Tensor>, t: i64) -> Option<Tensor> {
        if self.config.use_spatial_context {
            let context = context.unwrap_or_else(|| panic!("use_spatial_context is set, and there is no context"));
            return Some(rows_of_frames(context, t).select(1, 0)); // [b*t, s, d] -> [b, s, d]
        }
        time_context.map(|c| if c.dim() == 2 { c.unsqueeze(1) } else { c.shallow_clone() })
    }
}
