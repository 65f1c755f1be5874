//! Animated GIF, WebP and PNG files to frames.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Frames, ImageDecoder, ImageError, ImageFormat, Limits};

use super::footage::{Decoded, Fit};
use super::{SampleError, pixels};

/// An animation may have this many frames: all of them are in memory at once.
const FRAMES_MAX: usize = 4096;
/// Pixels that all frames of an animation may have together, as they are stored: a few bytes say that a frame is large, and each
/// is drawn as a whole.
const PIXELS_MAX: u64 = 1 << 28;
/// Frames a second of files that leave it to the viewer.
const DEFAULT_FPS: f64 = 10.0;

/// All frames of an animation, or the one of a still image; transparent parts become white. Frames are as large as
/// `fit` says, or as they are. `place` is where the bytes are from.
///
/// # Errors
/// When the bytes are no image, or a damaged one, or its size is not the one that is wanted.
pub(super) fn decode(bytes: &[u8], fit: Option<Fit>, place: &Path) -> Result<Decoded, SampleError> {
    decode_within(PIXELS_MAX, bytes, fit, place)
}

fn decode_within(pixels_max: u64, bytes: &[u8], fit: Option<Fit>, place: &Path) -> Result<Decoded, SampleError> {
    let failed = |source: ImageError| SampleError::Decode { path: place.to_owned(), source };
    let format = image::guess_format(bytes).map_err(failed)?;
    let Some(frames) = frames(bytes, format).map_err(failed)? else {
        let image = pixels::decode(bytes, place)?;
        return Ok(Decoded { frames: vec![fitted(image, fit, place)?], fps: DEFAULT_FPS });
    };
    let mut decoded = Vec::new();
    let (mut length, mut drawn) = (Duration::ZERO, 0);
    for frame in frames {
        let frame = frame.map_err(failed)?;
        if decoded.len() == FRAMES_MAX {
            let (place, reason) = (place.display().to_string(), format!("more than {FRAMES_MAX} frames; cut it"));
            return Err(SampleError::Unusable { place, reason });
        }
        let (columns, rows) = frame.buffer().dimensions();
        pixels::not_empty([rows, columns], place)?;
        drawn += u64::from(columns) * u64::from(rows);
        if drawn > pixels_max {
            let reason = format!("more than {pixels_max} pixels in all its frames; cut it, or make them smaller");
            return Err(SampleError::Unusable { place: place.display().to_string(), reason });
        }
        length += Duration::from(frame.delay());
        decoded.push(fitted(pixels::over_white(frame.into_buffer().into()), fit, place)?);
    }
    if decoded.is_empty() {
        return Err(SampleError::Unusable {
            place: place.display().to_string(),
            reason: "it has no frames".to_owned(),
        });
    }
    let seconds = length.as_secs_f64();
    let fps = if seconds > 0.0 { decoded.len() as f64 / seconds } else { DEFAULT_FPS };
    Ok(Decoded { frames: decoded, fps })
}

fn fitted(image: image::RgbImage, fit: Option<Fit>, place: &Path) -> Result<image::RgbImage, SampleError> {
    match fit {
        Some(fit) => pixels::fit(image, fit.size, fit.resize, place),
        None => Ok(image),
    }
}

/// The frames of an animated file, one at a time.
fn frames(bytes: &[u8], format: ImageFormat) -> Result<Option<Frames<'_>>, ImageError> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(bytes)?;
            decoder.set_limits(Limits::default())?;
            Some(decoder.into_frames())
        }
        ImageFormat::WebP => {
            let mut decoder = WebPDecoder::new(bytes)?;
            decoder.set_limits(Limits::default())?;
            decoder.has_animation().then(|| decoder.into_frames())
        }
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(bytes, Limits::default())?;
            if decoder.is_apng()? { Some(decoder.apng()?.into_frames()) } else { None }
        }
        _ => None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame, Rgba, RgbaImage};

    use super::super::footage::Footage;
    use super::*;

    pub(in crate::data) fn gif(count: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for n in 0..count {
            let image = RgbaImage::from_pixel(12, 8, Rgba([40 * n, 0, 0, 255]));
            encoder.encode_frame(Frame::from_parts(image, 0, 0, Delay::from_numer_denom_ms(125, 1))).unwrap();
        }
        drop(encoder);
        bytes
    }

    #[test]
    fn a_gif_has_its_frames_and_its_rate() {
        let fit = Fit { size: [8, 8], resize: true };
        let film = decode(&gif(4), Some(fit), Path::new("a.gif")).unwrap();
        assert_eq!(film.num_frames(), 4);
        // GIF counts hundredths of a second.
        assert!((film.fps() - 8.0).abs() < 0.5, "{}", film.fps());
        let reds: Vec<u8> = film.frames(&[1, 3]).unwrap().iter().map(|frame| frame.get_pixel(4, 4).0[0]).collect();
        assert!(reds[0].abs_diff(40) < 6 && reds[1].abs_diff(120) < 6, "{reds:?}");
        assert_eq!(film.frames[0].dimensions(), (8, 8));
        assert_eq!(decode(&gif(1), None, Path::new("a.gif")).unwrap().frames[0].dimensions(), (12, 8));
    }

    #[test]
    fn damaged_files_and_wrong_sizes_are_named() {
        let bytes = gif(3);
        let error = decode(&bytes[..bytes.len() - 40], None, Path::new("a.gif"));
        assert!(error.is_err() || error.unwrap().frames.len() < 3, "what is cut off is not made up");
        // Its screen has no columns.
        let empty = [&bytes[..6], &[0, 0], &bytes[8..]].concat();
        let fit = Fit { size: [8, 8], resize: true };
        let error = decode(&empty, Some(fit), Path::new("a.gif")).unwrap_err().to_string();
        assert!(error.contains("a.gif: it has 8 rows and 0 columns"), "{error}");
        let error = decode(b"no picture", None, Path::new("b.gif")).unwrap_err().to_string();
        assert!(error.starts_with("b.gif: not a readable image"), "{error}");
        let fit = Fit { size: [8, 8], resize: false };
        let error = decode(&bytes, Some(fit), Path::new("a.gif")).unwrap_err().to_string();
        assert!(error.contains("8x12 pixels"), "{error}");
    }

    #[test]
    fn large_frames_that_take_few_bytes_are_counted() {
        let mut bytes = Vec::new();
        // A screen of 1000 x 1000, and frames of one pixel on it.
        let mut encoder = gif::Encoder::new(&mut bytes, 1000, 1000, &[0; 6]).unwrap();
        for _ in 0..20 {
            encoder
                .write_frame(&gif::Frame { width: 1, height: 1, buffer: vec![0].into(), ..Default::default() })
                .unwrap();
        }
        drop(encoder);
        assert!(bytes.len() < 1000);
        let fit = Fit { size: [8, 8], resize: true };
        assert_eq!(decode(&bytes, Some(fit), Path::new("a.gif")).unwrap().frames.len(), 20);
        let error = decode_within(19_999_999, &bytes, Some(fit), Path::new("a.gif")).unwrap_err().to_string();
        assert_eq!(error, "a.gif: more than 19999999 pixels in all its frames; cut it, or make them smaller");
    }
}
