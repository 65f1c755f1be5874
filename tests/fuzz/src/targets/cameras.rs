//! Objects' `cameras.json`.

use anneal::config::BadSample;
use anneal::data::{MultiviewDir, Source};
use anneal_torch::random::Stream;

use super::image::PIXEL;
use crate::files::{folder, said, write};

/// As the source `multiview-dir` reads an object with four views, two of which have two frames.
pub(super) fn cameras(data: &[u8]) {
    let folder = folder();
    let object = folder.path().join("object");
    for name in ["front.png", "back.png", "left/0.png", "left/1.png", "right/0.png", "right/1.png"] {
        write(&object, name, PIXEL);
    }
    write(&object, "cameras.json", data);
    for rest in ["num_views = 1", "num_views = 2\nnum_frames = 2\ncond_view = \"apart\"\npolar = \"relative\""] {
        let config = format!("path = {:?}\nsize = 8\nresize = true\n{rest}", folder.path());
        let config = toml::from_str(&config).unwrap_or_else(|error| panic!("{error}"));
        if let Some(source) = said(MultiviewDir::open(&config, BadSample::Fail)) {
            said(source.sample(0, &mut Stream::new(0, "augment", 1, 0)));
        }
    }
}
