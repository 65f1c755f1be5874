//! Animated GIF files, for looking at anywhere.

use gif::{Encoder, EncodingError, Frame, Repeat};
use image::RgbImage;

/// How hard NeuQuant works at a palette, 1 (all pixels) to 30 (fast).
const PALETTE_SPEED: i32 = 3;

/// The bytes of a GIF that shows the frames for ever, each with a palette of its own.
///
/// GIF counts time in hundredths of a second, so the rate is met on average: single frames are shown a hundredth
/// longer or shorter.
pub(super) fn encode(frames: &[RgbImage], fps: f64) -> Result<Vec<u8>, String> {
    let Some(first) = frames.first() else {
        return Err("a clip of no frames".to_owned());
    };
    let side = |length: u32| u16::try_from(length).map_err(|_| format!("{length} pixels are too many for a GIF"));
    let (width, height) = (side(first.width())?, side(first.height())?);
    let write = || -> Result<Vec<u8>, EncodingError> {
        let mut encoder = Encoder::new(Vec::new(), width, height, &[])?;
        encoder.set_repeat(Repeat::Infinite)?;
        for (i, picture) in frames.iter().enumerate() {
            let mut frame = Frame::from_rgb_speed(width, height, picture.as_raw(), PALETTE_SPEED);
            frame.delay = (end(i + 1, fps) - end(i, fps)) as u16;
            encoder.write_frame(&frame)?;
        }
        encoder.into_inner()
    };
    write().map_err(|error| error.to_string())
}

/// When frame `i` begins, in hundredths of a second.
fn end(i: usize, fps: f64) -> u64 {
    (i as f64 * 100.0 / fps).round() as u64
}

#[cfg(test)]
mod tests {
    use image::codecs::gif::GifDecoder;
    use image::{AnimationDecoder, Rgb};

    use super::*;

    #[test]
    fn frames_and_their_times_come_back() {
        let frames: Vec<RgbImage> = (0..3u8)
            .map(|i| RgbImage::from_fn(20, 10, |x, _| Rgb([80 * i, if x < 10 { 255 } else { 0 }, 0])))
            .collect();
        let bytes = encode(&frames, 6.0).unwrap();
        let decoded = GifDecoder::new(std::io::Cursor::new(&bytes)).unwrap().into_frames().collect_frames().unwrap();
        assert_eq!(decoded.len(), 3);
        for (frame, decoded) in frames.iter().zip(&decoded) {
            let back = image::DynamicImage::from(decoded.buffer().clone()).into_rgb8();
            assert_eq!(&back, frame, "few colours are kept as they are");
        }
        let delays: Vec<u32> = decoded.iter().map(|frame| frame.delay().numer_denom_ms().0).collect();
        assert_eq!(delays, [170, 160, 170], "three sixths of a second");
        assert!(bytes.windows(11).any(|window| window == b"NETSCAPE2.0"), "it loops");
    }

    #[test]
    fn no_frames_are_no_clip() {
        assert!(encode(&[], 6.0).is_err());
    }
}
