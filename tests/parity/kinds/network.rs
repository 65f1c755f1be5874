//! `network.*`: whole networks with the gradients of all their parameters.

use anneal_nn::{Network, Path, UNet, VideoUNet};

use crate::options::Options;

/// Upstream's network.
pub fn build(config: &Options, path: &Path) -> Result<Box<dyn Network>, String> {
    let kind = config.kind()?;
    let wrong = |error: serde_json::Error| format!("{kind}: {error}");
    match kind.as_str() {
        "unet" => Ok(Box::new(UNet::new(&serde_json::from_value(config.rest()).map_err(wrong)?, path))),
        "video_unet" => Ok(Box::new(VideoUNet::new(&serde_json::from_value(config.rest()).map_err(wrong)?, path))),
        other => Err(format!("no network is called `{other}`")),
    }
}
