//! Animated WebP files: losslessly encoded frames in a container of our own, which no pure-Rust encoder writes.

use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, RgbImage};

/// The animation flag of a VP8X chunk.
const ANIMATION: u8 = 0x02;
/// Frames replace what is under them (no blending), and stay.
const REPLACE: u8 = 0x02;

/// The bytes of a WebP that shows the frames for ever, without loss.
///
/// WebP counts time in milliseconds; the rate is met on average.
pub(super) fn encode(frames: &[RgbImage], fps: f64) -> Result<Vec<u8>, String> {
    let Some(first) = frames.first() else {
        return Err("a clip of no frames".to_owned());
    };
    let (width, height) = first.dimensions();
    if width.max(height) > 1 << 14 {
        return Err(format!("{width}x{height} pixels are too many for a WebP"));
    }
    // "Extended File Format" of the WebP container specification: flags, 24 reserved bits, sides less one.
    let header = [&[ANIMATION, 0, 0, 0][..], &u24(width - 1), &u24(height - 1)].concat();
    // Background colour and number of loops, 0 for ever.
    let mut body = [chunk(*b"VP8X", &header), chunk(*b"ANIM", &[0; 6])].concat();
    for (i, frame) in frames.iter().enumerate() {
        let milliseconds = (begin(i + 1, fps) - begin(i, fps)) as u32;
        let place = [u24(0), u24(0), u24(width - 1), u24(height - 1), u24(milliseconds)].concat();
        let payload = [&place[..], &[REPLACE], &still(frame)?].concat();
        body.extend(chunk(*b"ANMF", &payload));
    }
    Ok(chunk(*b"RIFF", &[&b"WEBP"[..], &body].concat()))
}

/// When frame `i` begins, in milliseconds.
fn begin(i: usize, fps: f64) -> u64 {
    (i as f64 * 1000.0 / fps).round() as u64
}

/// The VP8L chunk of a picture, cut out of the still WebP that `image` writes.
fn still(picture: &RgbImage) -> Result<Vec<u8>, String> {
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file)
        .encode(picture, picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .map_err(|error| error.to_string())?;
    // After "RIFF", size and "WEBP" come chunks: four letters, size, payload, and a zero to make the size even.
    let mut rest = &file[12..];
    while let Some((head, after)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let end = 8 + size + size % 2;
        if &head[..4] == b"VP8L" {
            return rest.get(..end).map(<[u8]>::to_vec).ok_or_else(|| "a cut-off VP8L chunk".to_owned());
        }
        rest = after.get(end - 8..).unwrap_or_default();
    }
    Err("no VP8L chunk in a lossless WebP".to_owned())
}

fn chunk(name: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&name[..], &(payload.len() as u32).to_le_bytes(), payload].concat();
    bytes.resize(bytes.len() + payload.len() % 2, 0);
    bytes
}

fn u24(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use image::codecs::webp::WebPDecoder;
    use image::{AnimationDecoder, Rgb};

    use super::*;

    #[test]
    fn frames_and_their_times_come_back_exactly() {
        // More colours than a palette has, and odd sides, so that padding of chunks matters.
        let picture =
            |i: u32| RgbImage::from_fn(33, 17, |x, y| Rgb([(x * 7) as u8, (y * 15) as u8, (i * x * y) as u8]));
        let frames: Vec<RgbImage> = (0..4).map(picture).collect();
        let bytes = encode(&frames, 12.0).unwrap();
        let decoder = WebPDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
        assert!(decoder.has_animation());
        let decoded = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(decoded.len(), 4);
        for (frame, decoded) in frames.iter().zip(&decoded) {
            assert_eq!(&image::DynamicImage::from(decoded.buffer().clone()).into_rgb8(), frame);
        }
        let delays: Vec<u32> = decoded.iter().map(|frame| frame.delay().numer_denom_ms().0).collect();
        assert_eq!(delays, [83, 84, 83, 83]);
        assert_eq!(bytes.len() % 2, 0);
        assert_eq!(u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize, bytes.len() - 8);
    }

    #[test]
    fn no_frames_are_no_clip() {
        assert!(encode(&[], 6.0).is_err());
    }
}
