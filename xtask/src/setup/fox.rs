//! The demo's data: an animated fox as one glTF file.

use std::fs;

use super::wheel::{self, Wheel};
use crate::digest;
use crate::failure::Failure;
use crate::paths::Paths;

/// The wheel that carries the model among its example media.
const GRADIO: Wheel = Wheel {
    name: "gradio",
    version: "6.31.0",
    sha256: "7b50b9b6a2d23cd02851ad4c8b1c8312c88d8b911d1f29c93f9761c98348a64a",
    size_mb: 31,
};
const MEMBER: &str = "gradio/media_assets/models3d/Fox.gltf";
const SHA256: &str = "9721c474c3935da2be1b8950b3640cdc73951bcf427d0d5b316ea1d3c1804fc3";

const ATTRIBUTION: &str = "\
Fox.gltf, fetched as part of the Python package gradio 6.31.0. The file says of itself:

CC-BY 4.0 Model by PixelMannen https://opengameart.org/content/fox-and-shiba
and @tomkranis https://sketchfab.com/3d-models/low-poly-fox-by-pixelmannen-animated-371dea88d7e04a76af5763f2a36866bc
and @AsoboStudio with @scurest
https://github.com/KhronosGroup/glTF-Sample-Models/pull/150#issuecomment-406300118

The license: https://creativecommons.org/licenses/by/4.0/legalcode
It is used unchanged.
";

/// Puts the model, and whom it is by, where the configs look for it.
///
/// # Errors
/// When it cannot be fetched or written.
pub fn ensure(paths: &Paths) -> Result<(), Failure> {
    let fox = paths.fox();
    let Some(folder) = fox.parent() else { return Ok(()) };
    if digest::of_file(&fox).is_ok_and(|sha256| sha256 == SHA256) && folder.join("ATTRIBUTION").exists() {
        return Ok(());
    }
    let kept = paths.cache.join("fox");
    let original = kept.join("Fox.gltf");
    if !digest::of_file(&original).is_ok_and(|sha256| sha256 == SHA256) {
        let file = GRADIO.fetch(paths)?;
        wheel::unpack(&file, &kept, &[&format!("{MEMBER}=.")])?;
        let sha256 = digest::of_file(&original).map_err(|error| Failure::file("read", &original, &error))?;
        if sha256 != SHA256 {
            return Err(Failure::new(format!("{MEMBER} has the SHA-256 {sha256}, not {SHA256}"), "report this"));
        }
        fs::remove_file(&file).map_err(|error| Failure::file("remove", &file, &error))?;
    }
    fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    let attribution = folder.join("ATTRIBUTION");
    fs::write(&attribution, ATTRIBUTION).map_err(|error| Failure::file("write", &attribution, &error))?;
    fs::copy(&original, &fox).map_err(|error| Failure::file("write", &fox, &error))?;
    println!("set-up: {} is there; its authors are named beside it", fox.display());
    Ok(())
}
