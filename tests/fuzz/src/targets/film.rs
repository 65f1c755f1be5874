//! Video files that are decoded here.

use anneal::config::FfmpegConfig;
use anneal::data::given::{Framing, read_video};

use crate::files::{folder, said, write};

/// As data sources and `anneal sample` read an mp4 file, where there is no ffmpeg.
pub(super) fn film(data: &[u8]) {
    let folder = folder();
    write(folder.path(), "film.mp4", data);
    let Some(framing) = said(Framing::new([16, 16], None)) else { return };
    let none = FfmpegConfig { program: folder.path().join("no-ffmpeg"), timeout_s: 1 };
    said(read_video(&folder.path().join("film.mp4"), framing, 1, Some(4), &none));
}
