//! Layers and networks. They know no sigma, no config file and no plugin.

mod network;
mod params;
mod unet;
mod video_unet;

pub use network::{Network, NetworkInput};
pub use params::{Init, Param, ParamKind, Params, Path};
pub use unet::UNetConfig;
pub use video_unet::VideoUNetConfig;
