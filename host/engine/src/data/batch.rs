//! A batch: named tensors, texts and integers of some scenes, rows ordered scene-major.

use std::collections::BTreeMap;

use tch::{Device, Tensor};

/// What the data module hands to a step.
///
/// Rows of an entry are ordered `(b t)`: all rows of scene 0, then scene 1. An entry has `b` rows (one a scene),
/// `b*t` rows (one a frame), or any other multiple of `b`.
#[derive(Debug)]
pub struct Batch {
    /// Tensors by name: images `[b*t, c, h, w]` f32 in `[-1, 1]`, numbers `[b]` or `[b*t]` f32, classes `[b]` i64.
    pub tensors: BTreeMap<String, Tensor>,
    /// Texts by name, one a scene.
    pub texts: BTreeMap<String, Vec<String>>,
    /// Integers of the whole batch, `num_video_frames` among them.
    pub integers: BTreeMap<String, i64>,
    /// One number a scene that tells it apart from all others of the run: the key of its random streams.
    pub sample_ids: Vec<u64>,
    /// Frames a scene has: `t`, or `v*t`.
    pub frames_per_scene: i64,
}

impl Batch {
    /// Scenes in the batch, `b`.
    pub fn num_scenes(&self) -> i64 {
        self.sample_ids.len() as i64
    }

    /// The same batch with its tensors on `device`.
    #[must_use]
    pub fn to_device(&self, device: Device) -> Batch {
        Batch {
            tensors: self.tensors.iter().map(|(k, v)| (k.clone(), v.to_device(device))).collect(),
            texts: self.texts.clone(),
            integers: self.integers.clone(),
            sample_ids: self.sample_ids.clone(),
            frames_per_scene: self.frames_per_scene,
        }
    }
}
