//! Clips of a batch as moving pictures.

use std::path::Path;

use image::RgbImage;

use super::file::write_whole;
use super::picture::{below, beside, enlarge, pictures};
use super::sheet::Row;
use super::{LogError, gif, webp};
use crate::config::ClipFormat;

/// Pictures of a clip: at each time, one column a scene, in it one picture a row.
///
/// Rows with fewer pictures a scene than others (a condition) stand still at their last.
///
/// # Panics
/// When a row has no whole number of pictures a scene.
pub fn clip_frames(rows: &[Row], num_scenes: usize) -> Vec<RgbImage> {
    let rows: Vec<Vec<RgbImage>> =
        rows.iter().map(|row| pictures(row.pictures).iter().map(enlarge).collect()).collect();
    let length = |row: &Vec<RgbImage>| super::sheet::per_scene(row.len(), num_scenes);
    let frames = rows.iter().map(length).max().unwrap_or(0);
    let column = |scene: usize, time: usize| -> RgbImage {
        let at = |row: &Vec<RgbImage>| row[scene * length(row) + time.min(length(row) - 1)].clone();
        below(&rows.iter().map(at).collect::<Vec<_>>())
    };
    (0..frames).map(|time| beside(&(0..num_scenes).map(|scene| column(scene, time)).collect::<Vec<_>>())).collect()
}

/// Writes a clip that repeats for ever, whole or not at all; missing folders are made.
///
/// # Errors
/// When there are no frames, they are too large for the format, or the file cannot be written.
pub fn write_clip(frames: &[RgbImage], fps: f64, format: ClipFormat, path: &Path) -> Result<(), LogError> {
    let encoded = match format {
        ClipFormat::Gif => gif::encode(frames, fps),
        ClipFormat::Webp => webp::encode(frames, fps),
    };
    write_whole(path, &encoded.map_err(|reason| LogError::Encode { path: path.to_owned(), reason })?)
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::super::picture::GAP;
    use super::*;

    #[test]
    fn scenes_stand_beside_each_other_and_short_rows_stand_still() {
        // Two scenes of three frames, and one condition each; every picture has a grey of its own.
        let greys = |values: &[f32]| {
            Tensor::from_slice(values).view([values.len() as i64, 1, 1, 1]).expand([-1, 1, 96, 96], false)
        };
        let (frames, cond) = (greys(&[-1.0, -0.9, -0.6, 0.2, 0.3, 0.6]), greys(&[0.9, 1.0]));
        let rows = [Row { label: "samples", pictures: &frames }, Row { label: "condition", pictures: &cond }];
        let clip = clip_frames(&rows, 2);
        assert_eq!(clip.len(), 3);
        assert_eq!(clip[0].dimensions(), (2 * 96 + GAP, 2 * 96 + GAP));
        let at = |time: usize, x: u32, y: u32| clip[time].get_pixel(x, y).0[0];
        assert_eq!([at(0, 0, 0), at(1, 0, 0), at(2, 0, 0)], [0, 13, 51]);
        assert_eq!([at(0, 99, 0), at(2, 99, 0)], [153, 204]);
        assert_eq!([at(0, 0, 99), at(2, 0, 99), at(2, 99, 99)], [242, 242, 255]);
    }

    #[test]
    fn both_formats_are_written_where_they_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let frames = vec![RgbImage::new(4, 4); 2];
        for (format, name) in [(ClipFormat::Gif, "clips/a.gif"), (ClipFormat::Webp, "clips/a.webp")] {
            let path = folder.path().join(name);
            write_clip(&frames, 6.0, format, &path).unwrap();
            assert_eq!(image::open(&path).unwrap().into_rgb8(), frames[0]);
        }
        let error = write_clip(&[], 6.0, ClipFormat::Gif, Path::new("none.gif")).unwrap_err().to_string();
        assert_eq!(error, "none.gif: cannot be encoded: a clip of no frames");
    }
}
