//! Blocks: layers in the order in which the reference networks put them, with a residual around.

mod alpha_blender;
mod attention_block;
mod attention_block_with_time;
mod attention_pool;
mod blend;
mod legacy_alpha;
mod posthoc_res_block;
mod res_block;
mod single_layer_transformer_block;
mod spatial_self_attention;
mod spatial_transformer;
mod spatial_video_transformer;
mod transformer_block;
mod video_res_block;
mod video_transformer_block;
mod view_motion_transformer;

pub use alpha_blender::AlphaBlender;
pub use attention_block::{AttentionBlock, QkvOrder};
pub use attention_block_with_time::{AttentionBlockWithTime, AttentionBlockWithTimeConfig};
pub use attention_pool::AttentionPool;
pub use blend::{Blend, BlendConfig};
pub use legacy_alpha::{LegacyAlpha, LegacyMergeStrategy, get_alpha};
pub use posthoc_res_block::{PostHocResBlock, PostHocResBlockConfig};
pub use res_block::{ResBlock, ResBlockConfig, Resample};
pub use single_layer_transformer_block::SingleLayerTransformerBlock;
pub use spatial_self_attention::SpatialSelfAttention;
pub use spatial_transformer::{SpatialTransformer, SpatialTransformerConfig};
pub use spatial_video_transformer::{SpatialVideoTransformer, SpatialVideoTransformerConfig, TimeKeys};
pub use transformer_block::{TransformerBlock, TransformerBlockConfig};
pub use video_res_block::{VideoResBlock, VideoResBlockConfig};
pub use video_transformer_block::{SecondAttention, VideoTransformerBlock, VideoTransformerBlockConfig};
pub use view_motion_transformer::{ViewGrouping, ViewMotionInput, ViewMotionTransformer, ViewMotionTransformerConfig};
