//! Dropping conditions in training, so that guidance has an unconditional model to lean on.

use anneal_torch::random::Stream;
use serde_json::Value;
use tch::Tensor;

use super::{EmbedderUse, Replaced};
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

/// Where the numbers come from that decide what is dropped.
pub trait UcgDraws: Send {
    /// Uniform numbers in `[0, 1)` for a scene: what is drawn is dropped where it is below the rate. The same arguments give
    /// the same numbers.
    fn uniforms(&self, seed: u64, purpose: &str, sample_id: u64, count: usize) -> Vec<f64>;
}

/// The run's random streams.
pub struct StreamDraws;

impl UcgDraws for StreamDraws {
    fn uniforms(&self, seed: u64, purpose: &str, sample_id: u64, count: usize) -> Vec<f64> {
        let mut stream = Stream::new(seed, purpose, sample_id, 0);
        (0..count).map(|_| stream.uniform()).collect()
    }
}

impl DropRule {
    /// The rule of an embedder's config.
    pub fn new(config: &EmbedderConfig) -> Self {
        Self { rate: config.ucg_rate, group: config.ucg_group.clone(), legacy_value: config.legacy_ucg_value.clone() }
    }

    /// `value`, output `output_idx` of the embedder, with dropped scenes (or rows) set to zero.
    ///
    /// # Shapes
    /// - `value`, result: `[rows, ..]`, `rows` a multiple of the scenes
    pub(super) fn apply(&self, value: &Tensor, output_idx: usize, at: &Dropping<'_>) -> Tensor {
        if self.rate == 0.0 || self.legacy_value.is_some() {
            return value.shallow_clone();
        }
        let rows = value.size()[0];
        let rows_per_scene = (rows / at.batch.num_scenes().max(1)).max(1) as usize;
        let mut keep = Vec::with_capacity(rows as usize);
        for &id in &at.batch.sample_ids {
            if at.per_row {
                let purpose = format!("ucg/{}/{output_idx}", at.use_idx);
                let draws = at.draws.uniforms(at.seed, &purpose, id, rows_per_scene);
                keep.extend(draws.into_iter().map(|draw| f32::from(draw >= self.rate)));
            } else {
                keep.extend(std::iter::repeat_n(f32::from(!self.drops(id, at)), rows_per_scene));
            }
        }
        let mut shape = vec![1; value.dim()];
        shape[0] = rows;
        let mask = Tensor::from_slice(&keep).to_device(value.device()).to_kind(value.kind()).reshape(shape);
        value * mask
    }

    /// Puts upstream's `legacy_ucg_value` in the place of inputs that are dropped. As upstream, embedders that come later
    /// see what was put there.
    pub(super) fn replace_inputs(
        &self,
        used: &EmbedderUse,
        at: &Dropping<'_>,
        replaced: &mut Replaced,
    ) -> Result<(), ComponentError> {
        let Some(value) = self.legacy_value.as_ref().filter(|_| self.rate > 0.0) else { return Ok(()) };
        let Some(value) = value.as_f64() else {
            let message = format!("legacy_ucg_value must be a number for tensor inputs, not {value}");
            return Err(
                ComponentError::new(used.embedder.name(), ErrorCode::InvalidConfig, message).at("/legacy_ucg_value")
            );
        };
        for key in &used.input_keys {
            let Some(tensor) = replaced.get(key).or_else(|| at.batch.tensors.get(key)) else { continue };
            let copy = tensor.copy();
            let rows_per_scene = tensor.size()[0] / at.batch.num_scenes().max(1);
            for (scene, &id) in at.batch.sample_ids.iter().enumerate() {
                if self.drops(id, at) {
                    let _ = copy.narrow(0, scene as i64 * rows_per_scene, rows_per_scene).fill_(value);
                }
            }
            replaced.insert(key.clone(), copy);
        }
        Ok(())
    }

    fn drops(&self, sample_id: u64, at: &Dropping<'_>) -> bool {
        let purpose = match &self.group {
            Some(group) => format!("ucg/group/{group}"),
            None => format!("ucg/{}", at.use_idx),
        };
        at.draws.uniforms(at.seed, &purpose, sample_id, 1)[0] < self.rate
    }
}

/// What a decision to drop depends on.
pub(super) struct Dropping<'a> {
    pub(super) draws: &'a dyn UcgDraws,
    pub(super) seed: u64,
    pub(super) per_row: bool,
    pub(super) use_idx: usize,
    pub(super) batch: &'a Batch,
}
