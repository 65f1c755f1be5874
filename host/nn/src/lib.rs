//! Layers and networks. They know no sigma, no config file and no plugin.
//!
//! Letters of shapes: `b` clips, `t` frames in a clip, `n` rows a network sees (`b*t`), `c` channels, `h`, `w` rows and
//! columns, `s` tokens, `d` width of a token, `k` heads.

/// Blocks of layers.
pub mod blocks;
/// Layers under activation checkpointing.
mod checkpointed;
/// Settings that networks share.
mod config;
/// Embedding of noise level and vector condition.
mod embedding;
/// Layers: one operation each.
pub mod layers;
/// What a network is asked.
mod network;
/// Named parameters.
mod params;
/// Shape changes by name.
pub mod shape;
/// What all UNets share.
mod trunk;
/// The image UNet.
mod unet;
/// The video UNet.
mod video_unet;

#[cfg(test)]
mod testing;

pub use config::{AttentionType, ConfigProblem, KernelSize, MergeStrategy, NumClasses, NumberCondition, PerLevel};
pub use network::{Network, NetworkInput};
pub use params::{Init, Param, ParamKind, Params, Path};
pub use unet::{UNet, UNetConfig};
pub use video_unet::{VideoUNet, VideoUNetConfig};
