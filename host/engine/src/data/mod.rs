//! Where batches come from: sources of samples, and the loader that makes batches of them.

mod error;
mod batch;
mod sample;
mod source;
mod draw;
mod threads;
mod pixels;
mod emoji;
mod held;
mod labelled;
mod frames_dir;
mod footage;
mod clip;
mod visits;
mod animation;
mod ffmpeg;
#[cfg(feature = "openh264")]
mod h264;
mod videos;
mod npy;
mod webdataset;
mod pack;
mod mesh;
mod views;
mod mesh_orbit;
mod multiview_dir;
pub mod given;
mod order;
mod reader;
mod loader;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use batch::Batch;
pub use emoji::Emoji;
pub use error::{DataError, SampleError};
pub use frames_dir::FramesDir;
pub use labelled::Labelled;
pub use loader::{Loader, preview_batch, single_scenes};
pub use mesh_orbit::MeshOrbit;
pub use multiview_dir::MultiviewDir;
pub use pack::{PackError, Packed, pack};
pub use reader::Share;
pub use sample::{Entry, Sample, Values};
pub use source::{Source, fingerprint};
pub use videos::Videos;
pub use views::Place;
pub use webdataset::Webdataset;

use crate::config::{DataConfig, SourceConfig};

/// Opens the configured source: all that is cheap to check is checked, and models are loaded once.
///
/// # Errors
/// When a path does not exist or holds no data of the kind, or a setting does not fit it.
pub fn open(config: &DataConfig) -> Result<Arc<dyn Source>, DataError> {
    Ok(match &config.source {
        SourceConfig::Emoji(source) => Arc::new(Emoji::open(source)?),
        SourceConfig::Idx(source) => Arc::new(Labelled::idx(source)?),
        SourceConfig::Cifar10(source) => Arc::new(Labelled::cifar10(source)?),
        SourceConfig::MeshOrbit(source) => Arc::new(MeshOrbit::open(source)?),
        SourceConfig::FramesDir(source) => Arc::new(FramesDir::open(source, config.on_bad_sample)?),
        SourceConfig::Webdataset(source) => Arc::new(Webdataset::open(source, config.on_bad_sample)?),
        SourceConfig::VideoDir(source) => Arc::new(Videos::in_folder(source, config.on_bad_sample)?),
        SourceConfig::VideoList(source) => Arc::new(Videos::in_list(source, config.on_bad_sample)?),
        SourceConfig::MultiviewDir(source) => Arc::new(MultiviewDir::open(source, config.on_bad_sample)?),
    })
}
