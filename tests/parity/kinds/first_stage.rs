//! First stages: pixels to latents and back.

use anneal::first_stage::{IdentityFirstStage, LatentCodec};
use tch::Tensor;

use crate::case::Case;
use crate::options::Options;

/// A first stage of an engine.
pub struct Codec(LatentCodec);

impl Codec {
    /// Latents of pixels that are not random.
    pub fn encode(&self, pixels: &Tensor) -> Tensor {
        self.0.encode(pixels, &pixels.zeros_like())
    }

    /// Pixels of latents of scenes of so many frames.
    pub fn decode(&self, latents: &Tensor, frames: i64) -> Tensor {
        self.0.decode(latents, frames)
    }
}

/// The first stage of upstream's engine, with its scale and chunks.
pub fn codec(_: &Case, config: &Options) -> Result<Codec, String> {
    let table = config.table("first_stage_config")?;
    match table.kind()?.as_str() {
        "identity" => {}
        other => return Err(format!("no first stage is called `{other}`")),
    }
    table.finish()?;
    let scale_factor = config.or("scale_factor", 1.0)?;
    let chunk = config.optional("en_and_decode_n_samples_a_time")?;
    Ok(Codec(LatentCodec::new(Box::new(IdentityFirstStage), scale_factor, chunk, None)))
}
