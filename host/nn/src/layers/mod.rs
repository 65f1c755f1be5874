//! Layers: one tensor operation each, with its parameters.

mod conv;
mod cross_attention;
mod dropout;
mod feed_forward;
mod group_norm;
mod layer_norm;
mod linear;
mod mlp;
mod resample;
mod timestep;

pub use conv::{Conv, ConvConfig};
pub use cross_attention::{CrossAttention, CrossAttentionConfig};
pub use dropout::dropout;
pub use feed_forward::FeedForward;
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use linear::{Linear, LinearConfig};
pub use mlp::Mlp;
pub use resample::{Downsample, Upsample, downsample_mean, upsample_nearest};
pub use timestep::timestep_embedding;
