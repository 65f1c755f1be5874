//! Blocks: layers in the order in which the reference networks put them, with a residual around.

mod alpha_blender;
mod res_block;
mod spatial_transformer;
mod spatial_video_transformer;
mod transformer_block;
mod video_res_block;
mod video_transformer_block;

pub use alpha_blender::AlphaBlender;
pub use res_block::{ResBlock, ResBlockConfig, Resample};
pub use spatial_transformer::{SpatialTransformer, SpatialTransformerConfig};
pub use spatial_video_transformer::{SpatialVideoTransformer, SpatialVideoTransformerConfig};
pub use transformer_block::{TransformerBlock, TransformerBlockConfig};
pub use video_res_block::{VideoResBlock, VideoResBlockConfig};
pub use video_transformer_block::VideoTransformerBlock;
