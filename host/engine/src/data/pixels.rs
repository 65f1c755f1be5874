//! Pictures to numbers: decoding, white backgrounds, fitting, and the range the networks see.

use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, Rgb, RgbImage, RgbaImage, imageops};

use super::SampleError;

/// Pixels of an image: a file of a few bytes can say that it has any number, and decoded each takes several bytes.
const PIXELS_MAX: u64 = 1 << 27;

/// How much longer than wide, or wider than long, beyond the size that is wanted, a picture may be to be scaled as a whole.
const STRETCH_MAX: u64 = 64;

/// Reads an image file, its format told by its content; transparent parts become white.
pub(super) fn read(path: &Path) -> Result<RgbImage, SampleError> {
    let open = || ImageReader::open(path)?.with_guessed_format();
    let reader = open().map_err(|source| SampleError::Read { path: path.to_owned(), source })?;
    // The file could be opened, so what fails from here on, an early end included, is in its content.
    decoded(reader, path)
}

/// Rows and columns of an image file, without decoding it.
pub(super) fn size(path: &Path) -> Result<[u32; 2], SampleError> {
    let open = || ImageReader::open(path)?.with_guessed_format();
    let reader = open().map_err(|source| SampleError::Read { path: path.to_owned(), source })?;
    let size = reader.into_dimensions().map_err(|source| SampleError::Decode { path: path.to_owned(), source })?;
    Ok([size.1, size.0])
}

/// Rows and columns of an image in memory, without decoding it. `place` is where it is from.
pub(super) fn size_of(bytes: &[u8], place: &Path) -> Result<[u32; 2], SampleError> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|source| SampleError::Read { path: place.to_owned(), source })?;
    let size = reader.into_dimensions().map_err(|source| SampleError::Decode { path: place.to_owned(), source })?;
    Ok([size.1, size.0])
}

/// Decodes an image in memory, its format told by its content; transparent parts become white. `place` is where it is
/// from.
pub(super) fn decode(bytes: &[u8], place: &Path) -> Result<RgbImage, SampleError> {
    // Guessing a format reads from memory and cannot fail; a format that is not known fails in decoding.
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    decoded(reader.map_err(|source| SampleError::Read { path: place.to_owned(), source })?, place)
}

/// The image that a reader is at the start of, if it is not too large.
fn decoded(reader: ImageReader<impl BufRead + Seek>, place: &Path) -> Result<RgbImage, SampleError> {
    let failed = |source| SampleError::Decode { path: place.to_owned(), source };
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (columns, rows) = decoder.dimensions();
    not_empty([rows, columns], place)?;
    if u64::from(columns) * u64::from(rows) > PIXELS_MAX {
        return Err(SampleError::TooLarge { path: place.to_owned(), size: [rows, columns], max: PIXELS_MAX });
    }
    let mut limits = Limits::default();
    limits.reserve(decoder.total_bytes()).map_err(failed)?;
    decoder.set_limits(limits).map_err(failed)?;
    Ok(over_white(DynamicImage::from_decoder(decoder).map_err(failed)?))
}

/// A picture without pixels is none: scaled to cover anything it would be four billion pixels wide.
///
/// # Errors
/// When a side is 0.
pub(super) fn not_empty(size: [u32; 2], place: &Path) -> Result<(), SampleError> {
    if size.contains(&0) {
        let reason = format!("it has {} rows and {} columns of pixels", size[0], size[1]);
        return Err(SampleError::Unusable { place: place.display().to_string(), reason });
    }
    Ok(())
}

/// The image in the configured size: scaled and cropped with `resize`, and else it must have it. `place` is where it
/// is from.
pub(super) fn fit(image: RgbImage, size: [u32; 2], resize: bool, place: &Path) -> Result<RgbImage, SampleError> {
    let got = [image.height(), image.width()];
    if resize {
        return Ok(cover(image, size[0], size[1]));
    }
    if got != size {
        return Err(SampleError::Size { path: place.to_owned(), expected: size, got });
    }
    Ok(image)
}

/// The image on a white background.
pub(super) fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image: RgbaImage = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|v| ((v * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

/// The image scaled to cover `rows` x `columns` (Catmull and Rom's cubic filter, widened where it gets smaller), and what
/// stands over cut off on both sides alike.
pub(super) fn cover(image: RgbImage, rows: u32, columns: u32) -> RgbImage {
    if (image.height(), image.width()) == (rows, columns) {
        return image;
    }
    let image = middle(image, rows, columns);
    let [own_rows, own_columns] = [image.height(), image.width()].map(f64::from);
    let scale = (f64::from(rows) / own_rows).max(f64::from(columns) / own_columns);
    let side = |own: f64, wanted: u32| ((own * scale).round() as u32).max(wanted);
    let mut scaled = RgbImage::new(side(own_columns, columns), side(own_rows, rows));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    // Its own cropping reads beyond a picture of a few pixels.
    let done = Resizer::new().resize(&image, &mut scaled, &options);
    done.unwrap_or_else(|error| panic!("pictures of one kind and no crop: {error}"));
    let [left, top] = [scaled.width() - columns, scaled.height() - rows].map(|over| over / 2);
    match (scaled.height(), scaled.width()) == (rows, columns) {
        true => scaled,
        false => imageops::crop_imm(&scaled, left, top, columns, rows).to_image(),
    }
}

/// What of an image can be seen once it covers `rows` x `columns`, where it is so long or so wide that scaling all of it would
/// take many times the memory.
fn middle(image: RgbImage, rows: u32, columns: u32) -> RgbImage {
    let (width, height) = (u64::from(image.width()), u64::from(image.height()));
    let (rows, columns) = (u64::from(rows.max(1)), u64::from(columns.max(1)));
    // The sides that have the shape of what is wanted; twice as much is kept, for the filter reaches over the edge.
    let seen_width = (height * columns).div_ceil(rows).max(1) * 2;
    let seen_height = (width * rows).div_ceil(columns).max(1) * 2;
    let (cut_width, cut_height) = if width > seen_width * STRETCH_MAX / 2 {
        (seen_width, height)
    } else if height > seen_height * STRETCH_MAX / 2 {
        (width, seen_height)
    } else {
        return image;
    };
    let (left, top) = ((width - cut_width) / 2, (height - cut_height) / 2);
    imageops::crop_imm(&image, left as u32, top as u32, cut_width as u32, cut_height as u32).to_image()
}

/// Appends the image's planes `[3, h, w]` in `[-1, 1]`.
pub(super) fn append_planes(image: &RgbImage, planes: &mut Vec<f32>) {
    for channel in 0..3 {
        planes.extend(image.as_raw().chunks_exact(3).map(|pixel| f32::from(pixel[channel]) / 127.5 - 1.0));
    }
}

#[cfg(test)]
mod tests {
    use image::Rgba;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn transparent_parts_become_white_and_half_ones_half_white() {
        let mut image = RgbaImage::from_pixel(3, 1, Rgba([0, 0, 0, 0]));
        image.put_pixel(1, 0, Rgba([255, 0, 0, 255]));
        image.put_pixel(2, 0, Rgba([0, 0, 0, 128]));
        let flat = over_white(image.into());
        assert_eq!(flat.pixels().map(|p| p.0).collect::<Vec<_>>(), [[255; 3], [255, 0, 0], [127; 3]]);
    }

    #[test]
    fn planes_are_channel_first_in_minus_one_to_one() {
        let image = RgbImage::from_fn(2, 1, |x, _| Rgb([0, 255, x as u8 * 255]));
        let mut planes = Vec::new();
        append_planes(&image, &mut planes);
        assert_eq!(planes, [-1.0, -1.0, 1.0, 1.0, -1.0, 1.0]);
    }

    #[test]
    fn a_picture_like_a_thread_is_cut_before_it_is_scaled() {
        // Scaled as a whole it would have 512 x 16 million pixels.
        let thread = RgbImage::from_fn(2, 60_000, |_, y| Rgb([if (29_000..31_000).contains(&y) { 90 } else { 0 }; 3]));
        assert_eq!(middle(thread.clone(), 512, 512).dimensions(), (2, 4));
        let covered = cover(thread, 512, 512);
        assert_eq!(covered.dimensions(), (512, 512));
        assert!(covered.pixels().all(|pixel| pixel.0 == [90; 3]));
        let banner = RgbImage::new(640, 10);
        assert_eq!(middle(banner, 16, 16).dimensions(), (640, 10));
    }

    #[test]
    fn scaled_pictures_are_those_of_another_library() {
        let picture = RgbImage::from_fn(48, 32, |x, y| {
            Rgb([(x * 5) as u8, (y * 7) as u8, if (x / 8 + y / 8) % 2 == 0 { 220 } else { 30 }])
        });
        for (rows, columns) in [(64, 96), (20, 30), (48, 72)] {
            let expected = imageops::resize(&picture, columns, rows, imageops::CatmullRom);
            let got = cover(picture.clone(), rows, columns);
            let apart = got.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(apart <= Some(1), "{rows}x{columns}: {apart:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn every_picture_covers_every_size(width in 1..300_u32, height in 1..300_u32, rows in 1..100_u32, columns in 1..100_u32) {
            let covered = cover(RgbImage::from_pixel(width, height, Rgb([77, 8, 250])), rows, columns);
            prop_assert_eq!(covered.dimensions(), (columns, rows));
            prop_assert!(covered.pixels().all(|pixel| pixel.0 == [77, 8, 250]));
        }
    }

    #[test]
    fn a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(1, 1).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let mut bytes = bytes.into_inner();
        // The header says 20000 x 20000 grey pixels of a bit, 50 megabytes, which would be 1200 decoded.
        bytes[16..26].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20, 1, 0]);
        let mut sum = flate2::Crc::new();
        sum.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&sum.sum().to_be_bytes());
        let said = decode(&bytes, Path::new("a.png")).unwrap_err().to_string();
        assert!(
            said.starts_with("a.png: the image has 20000x20000 pixels (rows x columns), at most 134217728"),
            "{said}"
        );
    }

    #[test]
    fn covering_keeps_the_middle() {
        // Three vertical bands; cut to a square of their height only the middle one is left.
        let image = RgbImage::from_fn(30, 10, |x, _| Rgb([(x / 10 * 100) as u8; 3]));
        let square = cover(image, 10, 10);
        assert_eq!(square.dimensions(), (10, 10));
        assert!(square.pixels().all(|pixel| pixel.0 == [100; 3]));
    }
}
