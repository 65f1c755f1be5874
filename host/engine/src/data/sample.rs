//! A sample: what a source gives for one scene, in plain arrays that any thread may hold.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anneal_torch::tensor;
use tch::Tensor;

use super::{Batch, DataError};

/// The entry of rows and columns that a picture had before it was scaled, `[1, 2]`.
pub(crate) const ORIGINAL_SIZE: &str = "original_size_as_tuple";
/// The entry of rows and columns that were cut off a scaled picture at the top and the left, `[1, 2]`.
pub(crate) const CROP: &str = "crop_coords_top_left";
/// The entry of rows and columns that a picture is to have, `[1, 2]`.
pub(crate) const TARGET_SIZE: &str = "target_size_as_tuple";

/// The numbers of an entry, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Images, angles, seconds.
    F32(Vec<f32>),
    /// Classes.
    I64(Vec<i64>),
}

/// A named array of a sample. Its first axis counts the rows the scene adds to the batch's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Lengths of the axes, rows first.
    pub shape: Vec<i64>,
    /// As many numbers as the shape holds.
    pub values: Values,
}

impl Entry {
    /// An entry of floats.
    ///
    /// # Panics
    /// When `values` are not as many as `shape` holds.
    pub fn f32(shape: &[i64], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<i64>(), values.len() as i64, "values of an entry of shape {shape:?}");
        Self { shape: shape.to_vec(), values: Values::F32(values) }
    }

    /// One class: `[1]` i64.
    pub fn class(class: usize) -> Self {
        Self { shape: vec![1], values: Values::I64(vec![class as i64]) }
    }
}

/// One scene.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// Arrays by name.
    pub tensors: BTreeMap<String, Entry>,
    /// Texts by name.
    pub texts: BTreeMap<String, String>,
    /// Integers that hold for the whole batch; the same in every sample of a source.
    pub integers: BTreeMap<String, i64>,
    /// Frames of the scene: `t`, or `t*v`.
    pub frames: i64,
}

impl Sample {
    /// Adds an array.
    pub(super) fn put(&mut self, name: &str, entry: Entry) {
        self.tensors.insert(name.to_owned(), entry);
    }

    /// Adds what every source of more than one frame gives: the images, the frame count and the indicator.
    ///
    /// # Shapes
    /// - `image`: `[t, 3, h, w]`, f32 in `[-1, 1]`
    /// - `image_only_indicator`: `[1, t]`, zeros: the frames are a clip, not unrelated images
    pub(super) fn put_frames(&mut self, image: Entry) {
        self.put_indicator(image.shape[0]);
        self.put("image", image);
    }

    /// Adds the count of `frames` and the indicator alone.
    pub(super) fn put_indicator(&mut self, frames: i64) {
        self.frames = frames;
        self.put("image_only_indicator", Entry::f32(&[1, frames], vec![0.0; frames as usize]));
        self.integers.insert("num_video_frames".to_owned(), frames);
    }
}

/// Scenes one after another, as a batch on the CPU.
///
/// # Errors
/// When the samples do not have the same entries, with rows of the same shape.
pub(super) fn collate(samples: &[Sample], sample_ids: Vec<u64>) -> Result<Batch, DataError> {
    let first = samples.first().unwrap_or_else(|| panic!("a batch has at least one sample"));
    for sample in samples {
        fit(first, sample)?;
    }
    let tensors = first.tensors.keys().map(|name| (name.clone(), stack(samples, name))).collect();
    let texts = first.texts.keys().map(|name| {
        let of_scenes = samples.iter().map(|sample| sample.texts[name].clone()).collect();
        (name.clone(), of_scenes)
    });
    Ok(Batch {
        tensors,
        texts: texts.collect(),
        integers: first.integers.clone(),
        sample_ids,
        frames_per_scene: first.frames,
    })
}

/// Whether two samples can be in one batch.
fn fit(first: &Sample, other: &Sample) -> Result<(), DataError> {
    let uneven = |what: &str, expected: &dyn Debug, got: &dyn Debug| {
        Err(DataError::Uneven { what: what.to_owned(), expected: format!("{expected:?}"), got: format!("{got:?}") })
    };
    let kinds = |sample: &Sample| -> Vec<(String, bool, Vec<i64>)> {
        let kind = |(name, entry): (&String, &Entry)| {
            (name.clone(), matches!(entry.values, Values::F32(_)), entry.shape[1..].to_vec())
        };
        sample.tensors.iter().map(kind).collect()
    };
    let texts = |sample: &Sample| -> Vec<String> { sample.texts.keys().cloned().collect() };
    if kinds(first) != kinds(other) {
        return uneven("arrays (name, whether floats, shape of a row)", &kinds(first), &kinds(other));
    }
    if texts(first) != texts(other) {
        return uneven("texts", &texts(first), &texts(other));
    }
    if (first.frames, &first.integers) != (other.frames, &other.integers) {
        return uneven("frames and integers", &(first.frames, &first.integers), &(other.frames, &other.integers));
    }
    Ok(())
}

/// The entry `name` of all samples, on one first axis.
fn stack(samples: &[Sample], name: &str) -> Tensor {
    let first = &samples[0].tensors[name];
    let mut shape = first.shape.clone();
    shape[0] = samples.iter().map(|sample| sample.tensors[name].shape[0]).sum();
    let (mut floats, mut integers) = (Vec::new(), Vec::new());
    for sample in samples {
        match &sample.tensors[name].values {
            Values::F32(values) => floats.push(values.as_slice()),
            Values::I64(values) => integers.push(values.as_slice()),
        }
    }
    match first.values {
        Values::F32(_) => tensor::joined(&floats, &shape),
        Values::I64(_) => tensor::joined(&integers, &shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_batch_are_scene_major() {
        let sample = |value: f32, class| {
            let mut sample = Sample::default();
            sample.put_frames(Entry::f32(&[2, 3, 1, 1], [vec![value; 3], vec![value + 0.5; 3]].concat()));
            sample.put("class", Entry::class(class));
            sample.texts.insert("name".to_owned(), format!("scene {class}"));
            sample
        };
        let batch = collate(&[sample(0.0, 7), sample(10.0, 8)], vec![4, 5]).unwrap();

        assert_eq!(batch.tensors["image"].size(), [4, 3, 1, 1]);
        let rows: Vec<f64> = (0..4).map(|row| batch.tensors["image"].double_value(&[row, 0, 0, 0])).collect();
        assert_eq!(rows, [0.0, 0.5, 10.0, 10.5]);
        assert_eq!(Vec::<i64>::try_from(&batch.tensors["class"]).unwrap(), [7, 8]);
        assert_eq!(batch.tensors["image_only_indicator"].size(), [2, 2]);
        assert_eq!(batch.integers["num_video_frames"], 2);
        assert_eq!(batch.texts["name"], ["scene 7", "scene 8"]);
        assert_eq!((batch.num_scenes(), batch.frames_per_scene), (2, 2));
    }

    #[test]
    fn samples_that_do_not_fit_each_other_are_no_batch() {
        let sample = |side: i64, frames: i64| {
            let mut sample = Sample::default();
            sample.put_frames(Entry::f32(&[frames, 3, side, side], vec![0.0; (frames * 3 * side * side) as usize]));
            sample
        };
        let error = |other: Sample| collate(&[sample(2, 4), other], vec![0, 1]).unwrap_err().to_string();
        assert!(collate(&[sample(2, 4), sample(2, 4)], vec![0, 1]).is_ok());
        assert!(error(sample(1, 4)).contains("[3, 2, 2]"));
        assert!(error(sample(2, 3)).contains("samples of one source differ"));
        let named = Sample { texts: BTreeMap::from([("name".to_owned(), String::new())]), ..sample(2, 4) };
        assert!(error(named).contains("texts"));
    }
}
