//! Dropping conditions in training, so that guidance has an unconditional model to lean on.

use anneal_torch::random::Stream;
use serde_json::Value;
use tch::Tensor;

use super::{EmbedderUse, Pass};
use crate::config::EmbedderConfig;
use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};

/// How the conditions of one embedder are dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct DropRule {
    /// Probability of a drop, `[0, 1]`.
    pub rate: f64,
    /// Embedders of one group share the draw.
    pub group: Option<String>,
    /// A dropped input is replaced by this, and its embedding kept.
    pub legacy_value: Option<Value>,
}

impl DropRule {
    /// The rule of an embedder's config.
    pub fn new(config: &EmbedderConfig) -> Self {
        Self { rate: config.ucg_rate, group: config.ucg_group.clone(), legacy_value: config.legacy_ucg_value.clone() }
    }

    /// `value` with dropped scenes (or rows) set to zero.
    ///
    /// # Shapes
    /// - `value`, result: `[rows, ..]`, `rows` a multiple of the scenes
    pub(super) fn apply(
        &self,
        value: &Tensor,
        use_idx: usize,
        output_idx: usize,
        per_row: bool,
        batch: &Batch,
        seed: u64,
    ) -> Tensor {
        if self.rate == 0.0 || self.legacy_value.is_some() {
            return value.shallow_clone();
        }
        let rows = value.size()[0];
        let scenes = batch.num_scenes();
        let rows_per_scene = (rows / scenes.max(1)).max(1);
        let mut keep = Vec::with_capacity(rows as usize);
        for &id in &batch.sample_ids {
            if per_row {
                let mut stream = Stream::new(seed, &format!("ucg/{use_idx}/{output_idx}"), id, 0);
                keep.extend((0..rows_per_scene).map(|_| f32::from(stream.uniform() >= self.rate)));
            } else {
                let kept = f32::from(!self.drops(use_idx, id, seed));
                keep.extend(std::iter::repeat_n(kept, rows_per_scene as usize));
            }
        }
        let mut shape = vec![1; value.dim()];
        shape[0] = rows;
        let mask = Tensor::from_slice(&keep).to_device(value.device()).to_kind(value.kind()).reshape(shape);
        value * mask
    }

    /// For each input of the embedder, what replaces it where upstream's `legacy_ucg_value` is set.
    pub(super) fn legacy_inputs(
        &self,
        used: &EmbedderUse,
        use_idx: usize,
        batch: &Batch,
        pass: Pass<'_>,
    ) -> Result<Vec<Option<Tensor>>, ComponentError> {
        let none = || used.input_keys.iter().map(|_| None).collect();
        let Some(value) = self.legacy_value.as_ref().filter(|_| pass.training && self.rate > 0.0) else {
            return Ok(none());
        };
        let Some(value) = value.as_f64() else {
            let message = format!("legacy_ucg_value must be a number for tensor inputs, not {value}");
            return Err(
                ComponentError::new(used.embedder.name(), ErrorCode::InvalidConfig, message).at("/legacy_ucg_value")
            );
        };
        let mut replaced: Vec<Option<Tensor>> = none();
        for (slot, key) in replaced.iter_mut().zip(&used.input_keys) {
            let Some(tensor) = batch.tensors.get(key) else { continue };
            let copy = tensor.copy();
            let rows_per_scene = tensor.size()[0] / batch.num_scenes().max(1);
            for (scene, &id) in batch.sample_ids.iter().enumerate() {
                if self.drops(use_idx, id, pass.seed) {
                    let _ = copy.narrow(0, scene as i64 * rows_per_scene, rows_per_scene).fill_(value);
                }
            }
            *slot = Some(copy);
        }
        Ok(replaced)
    }

    fn drops(&self, use_idx: usize, sample_id: u64, seed: u64) -> bool {
        let purpose = match &self.group {
            Some(group) => format!("ucg/group/{group}"),
            None => format!("ucg/{use_idx}"),
        };
        Stream::new(seed, &purpose, sample_id, 0).uniform() < self.rate
    }
}
