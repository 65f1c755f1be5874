//! Files that people give, to pictures of a model's size.

use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::super::footage::Fit;
use super::super::frames_dir::{entries, is_image};
use super::super::{pixels, videos};
use super::GivenError;
use crate::config::FfmpegConfig;

/// A channel below this is not white: lossy files leave grey around what is on white.
const WHITE: u8 = 245;

/// Side of the largest square that is cut out of a picture before it is scaled; what is larger is scaled down to it first.
const SIDE_MAX: u32 = 8192;

/// How a picture is brought to a model's size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Framing {
    /// Rows and columns.
    pub size: [u32; 2],
    /// The longer side of what is not white, as a share of the picture's side. Without it pictures are scaled to cover the
    /// size and cropped around their middle.
    pub fill_ratio: Option<f64>,
}

impl Framing {
    /// A framing, its share checked.
    ///
    /// # Errors
    /// When the share is none.
    pub fn new(size: [u32; 2], fill_ratio: Option<f64>) -> Result<Self, GivenError> {
        match fill_ratio.filter(|ratio| !(*ratio > 0.0 && *ratio <= 1.0)) {
            Some(got) => Err(GivenError::Number { what: "the fill ratio", got, expected: "above 0 and at most 1" }),
            None => Ok(Self { size, fill_ratio }),
        }
    }

    /// Pictures of one scene, framed alike.
    pub fn apply(&self, pictures: Vec<RgbImage>) -> Vec<RgbImage> {
        let [rows, columns] = self.size;
        let square = self.fill_ratio.and_then(|ratio| Square::around(&pictures, ratio));
        let framed = |picture: RgbImage| match square {
            Some(square) => {
                let cut = square.cut(picture);
                pixels::cover(
                    imageops::resize(&cut, rows.min(columns), rows.min(columns), FilterType::CatmullRom),
                    rows,
                    columns,
                )
            }
            None => pixels::cover(picture, rows, columns),
        };
        pictures.into_iter().map(framed).collect()
    }
}

/// A square of a picture, which may reach over its edges.
#[derive(Debug, Clone, Copy)]
struct Square {
    left: i64,
    top: i64,
    side: u32,
}

impl Square {
    /// The square around what is not white in any of the pictures, of which it takes the share `ratio`.
    fn around(pictures: &[RgbImage], ratio: f64) -> Option<Self> {
        let inked = pictures.iter().flat_map(|picture| picture.enumerate_pixels());
        let inked = inked.filter(|(_, _, pixel)| pixel.0.iter().any(|&channel| channel < WHITE));
        let mut bounds: Option<[u32; 4]> = None;
        for (x, y, _) in inked {
            let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
            bounds = Some([left.min(x), top.min(y), right.max(x), bottom.max(y)]);
        }
        let [left, top, right, bottom] = bounds?;
        let side = (f64::from((right - left).max(bottom - top) + 1) / ratio).round().max(1.0) as u32;
        let from = |low: u32, high: u32| (i64::from(low) + i64::from(high) + 1 - i64::from(side)).div_euclid(2);
        Some(Self { left: from(left, right), top: from(top, bottom), side })
    }

    /// The square of a picture, white where the picture has ended.
    fn cut(self, picture: RgbImage) -> RgbImage {
        if self.side > SIDE_MAX {
            let scaled = |length: i64| length * i64::from(SIDE_MAX) / i64::from(self.side);
            let side = |length: u32| scaled(length.into()).max(1) as u32;
            let small = imageops::resize(&picture, side(picture.width()), side(picture.height()), FilterType::Triangle);
            return Self { left: scaled(self.left), top: scaled(self.top), side: SIDE_MAX }.cut(small);
        }
        let mut square = RgbImage::from_pixel(self.side, self.side, Rgb([255; 3]));
        imageops::replace(&mut square, &picture, -self.left, -self.top);
        square
    }
}

/// The picture files at `path`: the file itself, or the images of a folder in the order of their names.
///
/// # Errors
/// When there is nothing, or no image in the folder.
pub fn picture_paths(path: &Path) -> Result<Vec<PathBuf>, GivenError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let images: Vec<PathBuf> = entries(path)?.into_iter().filter(|path| is_image(path)).collect();
    if images.is_empty() {
        return Err(GivenError::Nothing { path: path.to_owned(), reason: "no images in it".to_owned() });
    }
    Ok(images)
}

/// Reads a picture; what is transparent becomes white.
///
/// # Errors
/// When it cannot be read.
pub fn read_picture(path: &Path, framing: Framing) -> Result<RgbImage, GivenError> {
    let framed = framing.apply(vec![pixels::read(path)?]).pop();
    framed.ok_or_else(|| GivenError::Nothing { path: path.to_owned(), reason: "no picture in it".to_owned() })
}

/// Reads every `stride`-th frame of a video, a folder of numbered images or an animation, `num_max` of them at most; all of
/// them framed alike.
///
/// # Errors
/// When it cannot be read, or needs an ffmpeg program that is not there.
pub fn read_video(
    path: &Path,
    framing: Framing,
    stride: usize,
    num_max: Option<usize>,
    ffmpeg: &FfmpegConfig,
) -> Result<Vec<RgbImage>, GivenError> {
    let fit = framing.fill_ratio.is_none().then_some(Fit { size: framing.size, resize: true });
    let frames = videos::read_frames(path, fit, ffmpeg, |total| {
        (0..total).step_by(stride.max(1)).take(num_max.unwrap_or(usize::MAX)).collect()
    })?;
    if frames.is_empty() {
        return Err(GivenError::Nothing { path: path.to_owned(), reason: "no frames in it".to_owned() });
    }
    Ok(framing.apply(frames))
}
