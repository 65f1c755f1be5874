//! Tensors to pictures, and pictures to PNG files.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use tch::{Kind, Tensor};

use super::LogError;
use super::file::write_whole;

/// Pixels between pictures of a grid.
pub(super) const GAP: u32 = 2;
/// Behind pictures and captions: neither the white nor the black of common images.
pub(super) const BACKGROUND: Rgb<u8> = Rgb([40, 44, 52]);
/// Pictures with a smaller side than this are enlarged by a whole factor, so that people can see them.
const SIDE_MIN: u32 = 96;
/// Pictures of an overview have no larger side than this.
const SIDE_MAX: u32 = 320;

/// The rows of a tensor as pictures.
///
/// Three channels are red, green and blue, clamped to `[-1, 1]`; one channel is grey. Any other number is latents:
/// their first three channels (the missing ones zero) over the largest value of the tensor, so that the picture shows
/// shapes, not colours.
///
/// # Shapes
/// - `tensor`: `[n, c, h, w]`, any float kind, on any device
pub fn pictures(tensor: &Tensor) -> Vec<RgbImage> {
    let tensor = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Float);
    let (n, c, h, w) = tensor.size4().unwrap_or_else(|_| panic!("pictures are [n, c, h, w], not {:?}", tensor.size()));
    let colors = match c {
        1 => tensor.expand([n, 3, h, w], false),
        3 => tensor,
        _ => {
            let missing = Tensor::zeros([n, 3, h, w], (Kind::Float, tch::Device::Cpu));
            let first = Tensor::cat(&[&tensor, &missing], 1).narrow(1, 0, 3);
            &first / first.abs().max().clamp_min(1e-6)
        }
    };
    // What is not a number is drawn black: pictures are for finding such things, not for stopping at them.
    let bytes = ((colors.nan_to_num(-1.0, None, None).clamp(-1.0, 1.0) + 1.0) * 127.5).round().to_kind(Kind::Uint8);
    let bytes = bytes.permute([0, 2, 3, 1]).contiguous().view([-1]); // [n, 3, h, w] -> [n * h * w * 3]
    let bytes = Vec::<u8>::try_from(&bytes).unwrap_or_else(|error| panic!("bytes of a u8 tensor: {error}"));
    let pixels = (3 * h * w) as usize;
    let image = |bytes: &[u8]| {
        let image = RgbImage::from_raw(w as u32, h as u32, bytes.to_vec());
        image.unwrap_or_else(|| panic!("{pixels} bytes make a picture of {h}x{w}"))
    };
    bytes.chunks_exact(pixels).map(image).collect()
}

/// The rows of a tensor side by side, `columns` to a line; small ones are enlarged.
///
/// # Shapes
/// - `tensor`: `[n, c, h, w]`, as [`pictures`]
pub fn grid(tensor: &Tensor, columns: usize) -> RgbImage {
    let pictures: Vec<RgbImage> = pictures(tensor).iter().map(enlarge).collect();
    let lines: Vec<RgbImage> = pictures.chunks(columns.max(1)).map(beside).collect();
    below(&lines)
}

/// Writes a picture, whole or not at all; missing folders are made.
///
/// # Errors
/// When it cannot be written.
pub fn write_png(picture: &RgbImage, path: &Path) -> Result<(), LogError> {
    let mut bytes = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut bytes, ImageFormat::Png);
    encoded.map_err(|error| LogError::Encode { path: path.to_owned(), reason: error.to_string() })?;
    write_whole(path, bytes.get_ref())
}

/// A small picture enlarged by a whole factor, its pixels kept as squares.
pub(super) fn enlarge(picture: &RgbImage) -> RgbImage {
    let side = picture.width().min(picture.height()).max(1);
    let factor = SIDE_MIN.div_ceil(side);
    imageops::resize(picture, picture.width() * factor, picture.height() * factor, imageops::Nearest)
}

/// A picture at a size for an overview: small ones enlarged, large ones shrunk.
pub(super) fn overview(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    if width.max(height) <= SIDE_MAX {
        return enlarge(picture);
    }
    let side = |length: u32| (length * SIDE_MAX / width.max(height)).max(1);
    imageops::thumbnail(picture, side(width), side(height))
}

/// Pictures in a line, aligned at their upper edge.
pub(super) fn beside(pictures: &[RgbImage]) -> RgbImage {
    let width: u32 = pictures.iter().map(|picture| picture.width() + GAP).sum();
    let height = pictures.iter().map(RgbImage::height).max().unwrap_or(0);
    let mut line = RgbImage::from_pixel(width.saturating_sub(GAP), height, BACKGROUND);
    let mut x = 0;
    for picture in pictures {
        imageops::replace(&mut line, picture, x, 0);
        x += i64::from(picture.width() + GAP);
    }
    line
}

/// Pictures one under another, aligned at their left edge.
pub(super) fn below(pictures: &[RgbImage]) -> RgbImage {
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(0);
    let height: u32 = pictures.iter().map(|picture| picture.height() + GAP).sum();
    let mut column = RgbImage::from_pixel(width, height.saturating_sub(GAP), BACKGROUND);
    let mut y = 0;
    for picture in pictures {
        imageops::replace(&mut column, picture, 0, y);
        y += i64::from(picture.height() + GAP);
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_to_colours() {
        let rgb = Tensor::from_slice(&[-1.0f32, 2.0, 0.0]).view([1, 3, 1, 1]);
        assert_eq!(pictures(&rgb)[0].get_pixel(0, 0).0, [0, 255, 128]);
        let grey = Tensor::from_slice(&[1.0f32, -1.0]).view([2, 1, 1, 1]);
        assert_eq!(pictures(&grey).iter().map(|p| p.get_pixel(0, 0).0).collect::<Vec<_>>(), [[255; 3], [0; 3]]);
        let latents = Tensor::from_slice(&[4.0f32, -8.0, 0.0, 99.0]).view([1, 4, 1, 1]);
        assert_eq!(pictures(&latents)[0].get_pixel(0, 0).0, [191, 0, 128]);
        let two = Tensor::from_slice(&[4.0f32, 2.0]).view([1, 2, 1, 1]);
        assert_eq!(pictures(&two)[0].get_pixel(0, 0).0, [255, 191, 128]);
        let broken = Tensor::from_slice(&[f32::NAN, 1.0, 1.0]).view([1, 3, 1, 1]);
        assert_eq!(pictures(&broken)[0].get_pixel(0, 0).0, [0, 255, 255]);
    }

    #[test]
    fn rows_of_a_picture_are_rows_of_the_tensor() {
        let tensor = Tensor::from_slice(&[-1.0f32, -1.0, -1.0, 1.0, -1.0, -1.0]).view([1, 1, 2, 3]);
        let picture = &pictures(&tensor)[0];
        assert_eq!(picture.dimensions(), (3, 2));
        assert_eq!(picture.get_pixel(0, 1).0, [255; 3]);
        assert_eq!(picture.get_pixel(1, 0).0, [0; 3]);
    }

    #[test]
    fn a_grid_enlarges_by_whole_factors_and_keeps_gaps() {
        let tensor = Tensor::linspace(-1.0, 1.0, 3, (Kind::Float, tch::Device::Cpu)).view([3, 1, 1, 1]);
        let picture = grid(&tensor.expand([3, 1, 32, 32], false), 2);
        assert_eq!(picture.dimensions(), (2 * 96 + GAP, 2 * 96 + GAP));
        assert_eq!(picture.get_pixel(95, 95).0, [0; 3]);
        assert_eq!(*picture.get_pixel(96, 0), BACKGROUND);
        assert_eq!(picture.get_pixel(98, 0).0, [128; 3]);
        assert_eq!(picture.get_pixel(0, 98).0, [255; 3]);
        assert_eq!(*picture.get_pixel(98, 98), BACKGROUND, "the last line is not full");
    }

    #[test]
    fn overviews_keep_pictures_at_a_visible_size() {
        let size = |width, height| overview(&RgbImage::new(width, height)).dimensions();
        assert_eq!([size(40, 30), size(300, 200), size(1024, 576)], [(160, 120), (300, 200), (320, 180)]);
    }

    #[test]
    fn a_png_comes_back_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.png");
        let picture = RgbImage::from_fn(5, 4, |x, y| Rgb([x as u8, y as u8, 7]));
        write_png(&picture, &path).unwrap();
        assert_eq!(image::open(&path).unwrap().into_rgb8(), picture);
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
        let blocked = path.join("c.png");
        assert!(write_png(&picture, &blocked).unwrap_err().to_string().contains("cannot be written"));
    }
}
