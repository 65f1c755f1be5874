//! What clips are cut from: frames in a row, decoded when they are wanted.

use std::path::PathBuf;

use image::RgbImage;

use super::{DataError, SampleError, pixels};

/// The size frames are brought to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// Rows and columns.
    pub(super) size: [u32; 2],
    /// Whether frames of another size are scaled to cover it and cropped, or an error.
    pub(super) resize: bool,
}

/// Whether sizes hold any pixel.
///
/// # Errors
/// When one does not.
pub(super) fn check(sizes: &[[u32; 2]]) -> Result<(), DataError> {
    match sizes.iter().find(|size| size.contains(&0)) {
        Some([rows, columns]) => {
            Err(DataError::Setting { key: "size", reason: format!("{rows}x{columns} is a picture of no pixels") })
        }
        None => Ok(()),
    }
}

/// The index of the size whose shape is nearest to that of `own`, rows and columns.
pub(super) fn nearest(sizes: &[[u32; 2]], own: [u32; 2]) -> u32 {
    let shape = |size: [u32; 2]| (f64::from(size[0].max(1)) / f64::from(size[1].max(1))).ln();
    let distance = |size: [u32; 2]| (shape(size) - shape(own)).abs();
    let nearest = (0..sizes.len()).min_by(|&a, &b| distance(sizes[a]).total_cmp(&distance(sizes[b])));
    nearest.unwrap_or(0) as u32
}

/// Frames in the order of time.
pub(super) trait Footage {
    /// How many there are.
    fn num_frames(&self) -> usize;

    /// How many of them a second takes.
    fn fps(&self) -> f64;

    /// The frames of these numbers, which grow.
    ///
    /// # Errors
    /// When one cannot be decoded, or has another size than it should.
    fn frames(&self, numbers: &[usize]) -> Result<Vec<RgbImage>, SampleError>;
}

/// Image files, a frame each.
#[derive(Debug)]
pub(super) struct ImageFiles<'a> {
    pub(super) paths: &'a [PathBuf],
    pub(super) fps: f64,
    pub(super) fit: Fit,
}

impl Footage for ImageFiles<'_> {
    fn num_frames(&self) -> usize {
        self.paths.len()
    }

    fn fps(&self) -> f64 {
        self.fps
    }

    fn frames(&self, numbers: &[usize]) -> Result<Vec<RgbImage>, SampleError> {
        let read = |path: &PathBuf| pixels::fit(pixels::read(path)?, self.fit.size, self.fit.resize, path);
        numbers.iter().map(|&number| read(&self.paths[number])).collect()
    }
}

/// Frames that are decoded already, because their file allows no other way.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) frames: Vec<RgbImage>,
    pub(super) fps: f64,
}

impl Footage for Decoded {
    fn num_frames(&self) -> usize {
        self.frames.len()
    }

    fn fps(&self) -> f64 {
        self.fps
    }

    fn frames(&self, numbers: &[usize]) -> Result<Vec<RgbImage>, SampleError> {
        Ok(numbers.iter().map(|&number| self.frames[number].clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_compared_by_ratio() {
        let sizes = [[64, 64], [48, 96], [96, 48]];
        let expect = |own: [u32; 2], index: u32| assert_eq!(nearest(&sizes, own), index, "{own:?}");
        expect([1000, 1000], 0);
        expect([720, 1280], 1);
        expect([1280, 720], 2);
        expect([100, 130], 0);
    }
}
