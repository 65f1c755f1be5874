//! A sample: what a source gives for one scene, in plain arrays that any thread may hold.

use std::collections::BTreeMap;

use tch::Tensor;

use super::Batch;

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
        self.frames = image.shape[0];
        let indicator = vec![0.0; self.frames as usize];
        self.put("image", image);
        self.put("image_only_indicator", Entry::f32(&[1, self.frames], indicator));
        self.integers.insert("num_video_frames".to_owned(), self.frames);
    }
}

/// Scenes one after another, as a batch on the CPU.
///
/// # Panics
/// When the samples have different entries: samples of one source have the same.
pub(super) fn collate(samples: &[Sample], sample_ids: Vec<u64>) -> Batch {
    let first = samples.first().unwrap_or_else(|| panic!("a batch has at least one sample"));
    for sample in samples {
        assert!(sample.tensors.keys().eq(first.tensors.keys()), "samples of one source have the same arrays");
        assert_eq!(sample.integers, first.integers, "integers of a batch hold for all its samples");
    }
    let tensors = first.tensors.keys().map(|name| (name.clone(), stack(samples, name))).collect();
    let texts = first
        .texts
        .keys()
        .map(|name| (name.clone(), samples.iter().map(|sample| sample.texts[name].clone()).collect()))
        .collect();
    Batch { tensors, texts, integers: first.integers.clone(), sample_ids, frames_per_scene: first.frames }
}

/// The entry `name` of all samples, on one first axis.
fn stack(samples: &[Sample], name: &str) -> Tensor {
    let first = &samples[0].tensors[name];
    let mut shape = first.shape.clone();
    shape[0] = samples.iter().map(|sample| sample.tensors[name].shape[0]).sum();
    let (mut floats, mut integers) = (Vec::new(), Vec::new());
    for sample in samples {
        let entry = &sample.tensors[name];
        assert_eq!(entry.shape[1..], shape[1..], "rows of {name:?} have one shape");
        match &entry.values {
            Values::F32(values) => floats.extend_from_slice(values),
            Values::I64(values) => integers.extend_from_slice(values),
        }
    }
    match first.values {
        Values::F32(_) => Tensor::from_slice(&floats).reshape(&shape),
        Values::I64(_) => Tensor::from_slice(&integers).reshape(&shape),
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
        let batch = collate(&[sample(0.0, 7), sample(10.0, 8)], vec![4, 5]);

        assert_eq!(batch.tensors["image"].size(), [4, 3, 1, 1]);
        let rows: Vec<f64> = (0..4).map(|row| batch.tensors["image"].double_value(&[row, 0, 0, 0])).collect();
        assert_eq!(rows, [0.0, 0.5, 10.0, 10.5]);
        assert_eq!(Vec::<i64>::try_from(&batch.tensors["class"]).unwrap(), [7, 8]);
        assert_eq!(batch.tensors["image_only_indicator"].size(), [2, 2]);
        assert_eq!(batch.integers["num_video_frames"], 2);
        assert_eq!(batch.texts["name"], ["scene 7", "scene 8"]);
        assert_eq!((batch.num_scenes(), batch.frames_per_scene), (2, 2));
    }
}
