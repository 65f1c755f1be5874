//! Contact sheets: all pictures of some scenes on one page, labelled.

use image::RgbImage;
use tch::{Kind, Tensor};

use super::caption::caption;
use super::picture::{below, beside, overview, pictures};
use crate::data::Batch;

/// Width of the column the labels stand in.
const LABEL_WIDTH: u32 = 90;
/// Width of a sheet's captions at least, so that single pictures do not squeeze them.
const CAPTION_WIDTH_MIN: u32 = 400;

/// A labelled line of pictures in every scene of a sheet.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// What the pictures are: `inputs`, `reconstructions`, `condition`, `samples`.
    pub label: &'a str,
    /// `[b*r, c, h, w]`, the `r` pictures of each scene together; `r` may be another in each row.
    pub pictures: &'a Tensor,
}

/// One block a scene: its caption (where there is one), and under it each row's pictures of the scene.
///
/// # Panics
/// When a row has no whole number of pictures a scene.
pub fn contact_sheet(rows: &[Row], captions: &[String], num_scenes: usize) -> RgbImage {
    let drawn: Vec<(&str, Vec<RgbImage>)> =
        rows.iter().map(|row| (row.label, pictures(row.pictures).iter().map(overview).collect())).collect();
    let mut blocks = Vec::new();
    for scene in 0..num_scenes {
        let lines: Vec<RgbImage> = drawn
            .iter()
            .map(|(label, row)| {
                let length = per_scene(row.len(), num_scenes);
                let mut line = vec![caption(label, LABEL_WIDTH)];
                line.extend_from_slice(&row[scene * length..(scene + 1) * length]);
                beside(&line)
            })
            .collect();
        let page = below(&lines);
        if let Some(text) = captions.get(scene) {
            blocks.push(caption(text, page.width().max(CAPTION_WIDTH_MIN)));
        }
        blocks.push(page);
    }
    below(&blocks)
}

/// A batch as the trainer sees it: of each scene every image entry in a row, and every other entry written out.
pub fn batch_sheet(batch: &Batch) -> RgbImage {
    let is_picture = |tensor: &Tensor| tensor.dim() == 4 && tensor.kind() != Kind::Int64;
    let rows: Vec<Row> = batch
        .tensors
        .iter()
        .filter(|(_, tensor)| is_picture(tensor))
        .map(|(name, tensor)| Row { label: name, pictures: tensor })
        .collect();
    let num_scenes = batch.sample_ids.len();
    let captions: Vec<String> = (0..num_scenes)
        .map(|scene| {
            let mut lines = vec![format!("scene {scene}: sample {}", batch.sample_ids[scene])];
            lines.extend(batch.texts.iter().map(|(name, texts)| format!("{name}: {}", texts[scene])));
            lines.extend(batch.integers.iter().map(|(name, value)| format!("{name}: {value}")));
            let numbers = batch.tensors.iter().filter(|(_, tensor)| !is_picture(tensor));
            lines.extend(numbers.map(|(name, tensor)| format!("{name}: {}", numbers_of(tensor, scene, num_scenes))));
            lines.join("\n")
        })
        .collect();
    contact_sheet(&rows, &captions, num_scenes)
}

/// The numbers a scene has in an entry; said once when they are all the same.
fn numbers_of(tensor: &Tensor, scene: usize, num_scenes: usize) -> String {
    let values = tensor.to_kind(Kind::Double).view([num_scenes as i64, -1]).select(0, scene as i64).contiguous();
    let values = Vec::<f64>::try_from(&values).unwrap_or_else(|error| panic!("numbers of a tensor: {error}"));
    let write = |value: &f64| {
        if tensor.kind() == Kind::Int64 { format!("{value}") } else { format!("{value:.3}") }
    };
    match values.split_first() {
        Some((first, rest)) if rest.len() > 1 && rest.iter().all(|value| value == first) => {
            format!("{} x{}", write(first), values.len())
        }
        _ => values.iter().map(write).collect::<Vec<_>>().join(" "),
    }
}

/// Pictures a scene has in a row of `total`.
///
/// # Panics
/// When that is not a whole number over zero.
pub(super) fn per_scene(total: usize, num_scenes: usize) -> usize {
    assert!(num_scenes > 0 && total > 0 && total.is_multiple_of(num_scenes), "{total} pictures of {num_scenes} scenes");
    total / num_scenes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::Device;

    use super::super::picture::{BACKGROUND, GAP};
    use super::*;

    #[test]
    fn each_scene_has_a_block_of_labelled_rows() {
        let grey = |values: &[f32]| Tensor::from_slice(values).view([-1, 1, 1, 1]).expand([-1, 1, 96, 96], false);
        let (frames, cond) = (grey(&[-1.0, -0.9, 0.6, 0.9]), grey(&[0.0, 1.0]));
        let rows = [Row { label: "inputs", pictures: &frames }, Row { label: "condition", pictures: &cond }];
        let sheet = contact_sheet(&rows, &[], 2);
        assert_eq!(sheet.dimensions(), (LABEL_WIDTH + 2 * (96 + GAP), 4 * (96 + GAP) - GAP));
        let (x, next) = (LABEL_WIDTH + GAP, 96 + GAP);
        let at = |column: u32, line: u32| sheet.get_pixel(x + column * next, line * next).0[0];
        assert_eq!([at(0, 0), at(1, 0), at(0, 1)], [0, 13, 128]);
        assert_eq!([at(0, 2), at(1, 2), at(0, 3)], [204, 242, 255]);
        let label =
            |line: u32| (0..LABEL_WIDTH).any(|x| (0..10).any(|y| *sheet.get_pixel(x, line * next + y) != BACKGROUND));
        assert!((0..4).all(label), "every row has its label");
    }

    #[test]
    fn a_batch_is_drawn_with_all_its_numbers() {
        let option = (Kind::Float, Device::Cpu);
        let batch = |azimuth: f64| Batch {
            tensors: BTreeMap::from([
                ("image".to_owned(), Tensor::zeros([4, 3, 8, 8], option)),
                ("azimuth_rad".to_owned(), Tensor::from_slice(&[0.5f32, azimuth as f32, 1.0, 1.0])),
                ("class".to_owned(), Tensor::from_slice(&[3i64, 12])),
            ]),
            texts: BTreeMap::from([("name".to_owned(), vec!["fox".to_owned(), "hen".to_owned()])]),
            integers: BTreeMap::from([("num_video_frames".to_owned(), 2)]),
            sample_ids: vec![7, 8],
            frames_per_scene: 2,
        };
        let sheet = batch_sheet(&batch(1.5));
        assert_eq!(sheet.width(), CAPTION_WIDTH_MIN);
        assert_ne!(sheet, batch_sheet(&batch(1.6)), "a number that changes is seen");
    }

    #[test]
    fn numbers_of_a_scene() {
        let angles = Tensor::from_slice(&[0.5f32, 1.25, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(numbers_of(&angles, 0, 2), "0.500 1.250 2.000 2.000");
        assert_eq!(numbers_of(&angles, 1, 2), "2.000 x4");
        assert_eq!(numbers_of(&Tensor::from_slice(&[3i64, 12]), 1, 2), "12");
    }
}
