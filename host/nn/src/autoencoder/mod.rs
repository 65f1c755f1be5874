//! Autoencoders: pixels to the moments of a Gaussian over latents, and latents to pixels.

mod attention;
mod attn_block;
mod codec;
mod config;
mod decoder;
mod encoder;
mod posterior;
pub mod quantizer;
mod regularizer;
mod resample;
mod resnet_block;
mod time_conv;
mod video_attn_block;
mod video_resnet_block;

pub use attention::LinAttnBlock;
pub use attn_block::AttnBlock;
pub use codec::{
    Autoencoder, AutoencoderConfig, AutoencoderKlConfig, AutoencoderLegacyVqConfig, AutoencodingEngineConfig,
    DecoderConfig, EncoderConfig,
};
pub use config::{AttnType, CoderConfig, TimeMerge, TimeMode, VideoTimeConfig};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use posterior::{DiagonalGaussian, normal_kl};
pub use regularizer::{Latent, Regularizer, RegularizerConfig};
pub use resample::{DoublingLayer, HalvingLayer};
pub use resnet_block::{ResnetBlock, ResnetBlockConfig};
pub use time_conv::TimeConv;
pub use video_attn_block::VideoAttnBlock;
pub use video_resnet_block::{MixFactor, VideoResnetBlock};
