//! The attention block of the first diffusion UNets, with a block over frames behind it.

use anneal_torch::place::count_to;
use tch::Tensor;

use super::{
    AttentionBlock, Blend, BlendConfig, LegacyMergeStrategy, QkvOrder, VideoTransformerBlock,
    VideoTransformerBlockConfig,
};
use crate::layers::{Mlp, timestep_embedding};
use crate::params::Path;
use crate::shape::{rows_of_frames, to_pixels, to_tokens};

/// Sizes and options of an attention block with a block over frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionBlockWithTimeConfig {
    /// Channels of the image.
    pub channels: i64,
    /// Order of queries, keys and values in the image's attention.
    pub order: QkvOrder,
    /// The block over frames; as wide as there are channels, without a context.
    pub time: VideoTransformerBlockConfig,
    /// How the branches are blended: always the legacy way, and not by images, whose weights would fit no axis here.
    pub blend: BlendConfig,
}

/// `alpha * image + (1 - alpha) * time(image)`
#[derive(Debug)]
pub struct AttentionBlockWithTime {
    image: AttentionBlock,
    time_mix_block: VideoTransformerBlock,
    time_mix_time_embed: Mlp,
    blend: Blend,
    channels: i64,
}

impl AttentionBlockWithTime {
    /// Keys of the attention block, `time_mix_blocks.0`, `time_mix_time_embed`, `mix_factor`.
    ///
    /// # Panics
    /// When the blend depends on images.
    pub fn new(path: &Path, config: AttentionBlockWithTimeConfig) -> Self {
        let by_images = [LegacyMergeStrategy::LearnedWithImages, LegacyMergeStrategy::FixedWithImages];
        if let BlendConfig::Legacy { strategy, .. } = config.blend {
            assert!(!by_images.contains(&strategy), "`{}`: the blend cannot depend on images", path.prefix());
        }
        let channels = config.channels;
        let num_heads = channels / config.time.block.head_width;
        Self {
            image: AttentionBlock::new(path, channels, num_heads, config.order),
            time_mix_block: VideoTransformerBlock::new(&path.sub("time_mix_blocks").sub(0), config.time),
            time_mix_time_embed: Mlp::new(&path.sub("time_mix_time_embed"), channels, 4 * channels, channels),
            blend: Blend::new(path, config.blend),
            channels,
        }
    }

    /// # Shapes
    /// - `x`, result: `[b*t, c, h, w]`
    pub fn forward(&self, x: &Tensor, t: i64, train: bool) -> Tensor {
        let (_, _, h, w) = x.size4().unwrap_or_else(|_| panic!("attention wants [n, c, h, w], got {:?}", x.size()));
        let image = to_tokens(&self.image.forward(x));
        let frames = timestep_embedding(&count_to(t, x), self.channels, 10_000.0);
        let emb = self.time_mix_time_embed.forward(&frames, train).unsqueeze(1); // [t, 1, c]
        let clip = (rows_of_frames(&image, t) + emb).flatten(0, 1);
        let over_time = self.time_mix_block.forward(&clip, None, t, train);
        to_pixels(&self.blend.blend(&image, &over_time, None), h, w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::TransformerBlockConfig;
    use crate::params::Params;
    use crate::testing::{F32, close, randomise};
    use tch::{Device, Kind};

    fn build(factor: f64) -> AttentionBlockWithTime {
        let block = TransformerBlockConfig {
            width: 32,
            num_heads: 2,
            head_width: 16,
            context_width: None,
            gated_ff: true,
            dropout: 0.0,
        };
        let config = AttentionBlockWithTimeConfig {
            channels: 32,
            order: QkvOrder::HeadsFirst,
            time: VideoTransformerBlockConfig { ff_in: false, ..VideoTransformerBlockConfig::new(block) },
            blend: BlendConfig::Legacy { strategy: LegacyMergeStrategy::Learned, factor, apply_sigmoid: true },
        };
        let params = Params::new(Device::Cpu, 1);
        let block = AttentionBlockWithTime::new(&params.root(), config);
        randomise(&params);
        block
    }

    #[test]
    fn alpha_weighs_the_image() {
        let x = Tensor::randn([6, 32, 2, 3], F32);
        let image_alone = build(40.0);
        close(&image_alone.forward(&x, 3, false), &image_alone.image.forward(&x), 1e-5);
        let time_alone = build(-40.0);
        let other = x.copy();
        let _ = other.get(0).get(3).g_add_scalar_(1.0);
        let change = (time_alone.forward(&other, 3, false) - time_alone.forward(&x, 3, false)).abs();
        let change = Vec::<f64>::try_from(change.amax([1, 2, 3], false).to_kind(Kind::Double)).unwrap();
        assert!(change[1] > 1e-5 && change[2] > 1e-5 && change[3] == 0.0, "{change:?}");
    }
}
