//! Pictures and animations.

use std::borrow::Cow;

use anneal::config::FfmpegConfig;
use anneal::data::given::{Framing, read_picture, read_video};
use flate2::Crc;

use crate::files::{folder, said, write};

/// A PNG file of one white pixel.
pub(super) const PIXEL: &[u8] = include_bytes!("pixel.png");

/// The magic bytes of a PNG file.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// As data sources and `anneal sample` read a picture, and scale it.
pub(super) fn image(data: &[u8]) {
    let folder = folder();
    let path = folder.path().join("picture.png");
    write(folder.path(), "picture.png", &with_sums(data));
    for fill_ratio in [None, Some(0.9)] {
        if let Some(framing) = said(Framing::new([16, 16], fill_ratio)) {
            said(read_picture(&path, framing));
        }
    }
}

/// As data sources and `anneal sample` read the frames of a GIF, WebP or PNG file.
pub(super) fn animation(data: &[u8]) {
    let folder = folder();
    write(folder.path(), "film.gif", &with_sums(data));
    let Some(framing) = said(Framing::new([16, 16], None)) else { return };
    said(read_video(&folder.path().join("film.gif"), framing, 1, None, &FfmpegConfig::default()));
}

/// The same bytes with the sums that a PNG file's chunks end with: what mutations change is read, not refused.
fn with_sums(data: &[u8]) -> Cow<'_, [u8]> {
    if !data.starts_with(PNG) {
        return Cow::Borrowed(data);
    }
    let mut fixed = data.to_vec();
    let mut at = PNG.len();
    while let Some(length) = fixed.get(at..at + 4) {
        let length = length.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        let end = at + 8 + length;
        let Some(chunk) = fixed.get(at + 4..end) else { break };
        let mut sum = Crc::new();
        sum.update(chunk);
        let Some(place) = fixed.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&sum.sum().to_be_bytes());
        at = end + 4;
    }
    Cow::Owned(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_a_png_file_are_mended() {
        assert_eq!(with_sums(PIXEL), PIXEL);
        let mut damaged = PIXEL.to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        assert_eq!(with_sums(&damaged), PIXEL);
    }
}
