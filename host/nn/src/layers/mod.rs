//! Layers: one tensor operation each, with its parameters.

mod attend;
mod conv;
mod cross_attention;
mod dropout;
mod feed_forward;
mod group_norm;
mod layer_norm;
mod linear;
mod linear_attention;
#[cfg(test)]
mod lora_tests;
mod mlp;
mod resample;
mod self_attention;
mod timestep;

pub use attend::{AttendOptions, attend};
pub use conv::{Conv, ConvConfig};
pub use cross_attention::{AttentionExtras, CrossAttention, CrossAttentionConfig};
pub use dropout::dropout;
pub use feed_forward::{FeedForward, FeedForwardConfig};
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use linear::{Linear, LinearConfig};
pub use linear_attention::LinearAttention;
pub use mlp::Mlp;
pub use resample::{Downsample, DownsampleConfig, Upsample, UpsampleConfig, downsample_mean, upsample_nearest};
pub use self_attention::{SelfAttention, SelfAttentionConfig};
pub use timestep::timestep_embedding;
