//! The transformer of the video UNet: blocks over pixels, each followed by one over frames.

use anneal_torch::place::count_to;
use tch::Tensor;

use super::{
    Blend, BlendConfig, SecondAttention, SpatialTransformer, SpatialTransformerConfig, TransformerBlockConfig,
    VideoTransformerBlock, VideoTransformerBlockConfig,
};
use crate::layers::{Mlp, timestep_embedding};
use crate::params::Path;
use crate::shape::rows_of_frames;

/// The keys of what was added to a spatial transformer for time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeKeys {
    /// `time_stack` and `time_pos_embed`, of SVD.
    Stack,
    /// `time_mix_blocks` and `time_mix_time_embed`, of SV4D.
    Mix,
}

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
    pub blend: BlendConfig,
    /// The keys of the blocks over time.
    pub keys: TimeKeys,
    /// Longest period of the frame index's embedding.
    pub max_period: f64,
}

/// Each block over pixels is blended with a block over frames that continues from it.
#[derive(Debug)]
pub struct SpatialVideoTransformer {
    spatial: SpatialTransformer,
    time_stack: Vec<VideoTransformerBlock>,
    time_pos_embed: Mlp,
    blend: Blend,
    config: SpatialVideoTransformerConfig,
}

impl SpatialVideoTransformer {
    /// Keys of the spatial transformer, `time_stack.{i}`, `time_pos_embed` (or those of [`TimeKeys::Mix`]), and those of
    /// the blend.
    pub fn new(path: &Path, config: SpatialVideoTransformerConfig) -> Self {
        let SpatialTransformerConfig { channels, depth, block, .. } = config.spatial;
        let context_width = if config.use_spatial_context { block.context_width } else { config.time_context_width };
        let time_block = VideoTransformerBlockConfig {
            disable_self_attn: config.spatial.disable_self_attn,
            second: if config.temporal_cross_attention { SecondAttention::Context } else { SecondAttention::Off },
            ..VideoTransformerBlockConfig::new(TransformerBlockConfig { context_width, ..block })
        };
        let (blocks, embed) = match config.keys {
            TimeKeys::Stack => ("time_stack", "time_pos_embed"),
            TimeKeys::Mix => ("time_mix_blocks", "time_mix_time_embed"),
        };
        let spatial = SpatialTransformer::new(path, config.spatial);
        let stack = path.sub(blocks);
        Self {
            spatial,
            time_stack: (0..depth).map(|i| VideoTransformerBlock::new(&stack.sub(i), time_block)).collect(),
            time_pos_embed: Mlp::new(&path.sub(embed), channels, 4 * channels, channels),
            blend: Blend::new(path, config.blend),
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
        let mut tokens = self.spatial.tokens(x, train);
        let frame_emb = self.frame_embedding(x, t, train);
        for (block, time_block) in self.spatial.blocks().iter().zip(&self.time_stack) {
            tokens = block.forward(&tokens, context, train);
            let clip = rows_of_frames(&tokens, t) + &frame_emb; // [b*t, s, d] -> [b, t, s, d]
            let over_time = time_block.forward(&clip.flatten(0, 1), time_context.as_ref(), t, train);
            tokens = self.blend.blend(&tokens, &over_time, image_only_indicator);
        }
        self.spatial.add_tokens(x, &tokens, train)
    }

    /// `[t, 1, c]`: the same for all clips and positions.
    fn frame_embedding(&self, x: &Tensor, t: i64, train: bool) -> Tensor {
        let frames = count_to(t, x);
        let embedded = timestep_embedding(&frames, self.config.spatial.channels, self.config.max_period);
        self.time_pos_embed.forward(&embedded, train).unsqueeze(1)
    }

    fn time_context(&self, context: Option<&Tensor>, time_context: Option<&Tensor>, t: i64) -> Option<Tensor> {
        if self.config.use_spatial_context {
            let context = context.unwrap_or_else(|| panic!("use_spatial_context is set, and there is no context"));
            return Some(rows_of_frames(context, t).select(1, 0)); // [b*t, s, d] -> [b, s, d]
        }
        time_context.map(|c| if c.dim() == 2 { c.unsqueeze(1) } else { c.shallow_clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MergeStrategy;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::Device;

    fn build(use_spatial_context: bool) -> SpatialVideoTransformer {
        let block = TransformerBlockConfig {
            width: 32,
            num_heads: 2,
            head_width: 16,
            context_width: Some(10),
            gated_ff: true,
            dropout: 0.0,
        };
        let config = SpatialVideoTransformerConfig {
            spatial: SpatialTransformerConfig {
                channels: 32,
                depth: 1,
                use_linear: true,
                disable_self_attn: false,
                block,
            },
            time_context_width: (!use_spatial_context).then_some(6),
            use_spatial_context,
            temporal_cross_attention: true,
            blend: BlendConfig::Mixer { strategy: MergeStrategy::LearnedWithImages, factor: 0.5 },
            keys: TimeKeys::Stack,
            max_period: 10_000.0,
        };
        let params = Params::new(Device::Cpu, 1);
        let transformer = SpatialVideoTransformer::new(&params.root(), config);
        randomise(&params);
        transformer
    }

    #[test]
    fn marked_images_take_the_spatial_transformer_alone() {
        let transformer = build(true);
        let (x, context) = (Tensor::randn([6, 32, 2, 3], F32), Tensor::randn([6, 2, 10], F32));
        let images = Tensor::from_slice(&[0f32, 1.0, 0.0, 0.0, 0.0, 1.0]).view([2, 3]);
        let got = transformer.forward(&x, Some(&context), None, 3, Some(&images), false);
        let spatial = transformer.spatial.forward(&x, Some(&context), false);
        for row in 0..6 {
            let same = (got.select(0, row) - spatial.select(0, row)).abs().max().double_value(&[]) < 1e-5;
            assert_eq!(same, row == 1 || row == 5, "row {row}");
        }
    }

    #[test]
    fn the_context_over_time_is_the_first_frames() {
        let context = Tensor::arange(6 * 20, F32).view([6, 2, 10]);
        let taken = build(true).time_context(Some(&context), None, 3).unwrap();
        assert!(taken.select(0, 1).equal(&context.select(0, 3)) && taken.size() == [2, 2, 10]);
    }

    #[test]
    fn a_context_over_time_of_its_own_may_lack_the_token_axis() {
        let transformer = build(false);
        let (x, context) = (Tensor::randn([4, 32, 2, 3], F32), Tensor::randn([4, 2, 10], F32));
        let time_context = Tensor::randn([2, 6], F32);
        let forward = |c: &Tensor| transformer.forward(&x, Some(&context), Some(c), 2, None, false);
        close(&forward(&time_context), &forward(&time_context.unsqueeze(1)), 0.0);
    }
}
