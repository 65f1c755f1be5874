//! What clips are cut from: frames in a row, decoded when they are wanted.

use std::path::PathBuf;

use image::RgbImage;

use super::{SampleError, pixels};

/// The size frames are brought to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// Rows and columns.
    pub(super) size: [u32; 2],
    /// Whether frames of another size are scaled to cover it and cropped, or an error.
    pub(super) resize: bool,
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
