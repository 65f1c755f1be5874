//! Layers and networks. They know no sigma, no config file and no plugin.
//!
//! Letters of shapes: `b` clips, `t` frames in a clip, `n` rows a network sees (`b*t`), `c` channels, `h`, `w` rows and
//! columns, `s` tokens, `d` width of a token, `k` heads.

/// Low-rank adapters.
mod lora;
/// Named parameters.
mod params;
/// Settings that networks share.
mod config;
/// Shape changes by name.
pub mod shape;
/// What the tests of layers and networks share.
#[cfg(test)]
mod testing;
/// Layers: one operation each.
pub mod layers;
/// Blocks of layers.
pub mod blocks;
/// Embedding of noise level and vector condition.
mod embedding;
/// What a network is asked.
mod network;
/// What all UNets share.
mod trunk;
/// The image UNet.
mod unet;
/// The video UNet.
mod video_unet;
/// The UNet of views over time.
mod spatial_unet_with_time;
/// Autoencoders.
pub mod autoencoder;
/// The perceptual distance.
mod lpips;
/// The adversary of an autoencoder.
mod discriminator;

pub use config::{AttentionType, ConfigProblem, KernelSize, MergeStrategy, NumClasses, NumberCondition, PerLevel};
pub use discriminator::{Discriminator, DiscriminatorConfig};
pub use lora::{Lora, LoraSpec, adapted_layer};
pub use lpips::Lpips;
pub use network::{Network, NetworkInput};
pub use params::{Init, Param, ParamKind, Params, Path};
pub use spatial_unet_with_time::{SpatialUNetWithTime, SpatialUNetWithTimeConfig};
pub use unet::{UNet, UNetConfig};
pub use video_unet::{VideoUNet, VideoUNetConfig};
