//! Batch entries to what the network is conditioned on.

mod conditions;
mod dropping;
mod embedder;
mod kept;

pub use conditions::{Conditions, repeat_rows};
pub use dropping::{DropRule, StreamDraws, UcgDraws};
pub use embedder::{Draws, Embedded, Embedder, EmbedderCall, EmbedderInput, Init, ParamDecl, Slot};

use std::collections::BTreeMap;

use anneal_torch::tensor::{empty_meta, is_meta};
use anneal_torch::{TorchError, grad_mode, random::Stream};
use tch::{Kind, Tensor};

use crate::cache::Cached;
use crate::config::EmbedderConfig;
use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};
use crate::off_load::OffLoaded;
use dropping::Dropping;

/// An embedder of the conditioner with its parameters and the rules the host applies around it.
pub struct EmbedderUse {
    /// The embedder.
    pub embedder: Box<dyn Embedder>,
    /// Its parameters, in the order it declared them.
    pub params: Vec<Tensor>,
    /// The batch entries it reads.
    pub input_keys: Vec<String>,
    /// How its conditions are dropped in training.
    pub drop: DropRule,
    /// Whether its parameters are optimised.
    pub is_trainable: bool,
    /// Where its embeddings are kept, if they are.
    pub cached: Option<Cached>,
    /// Its parameters, where they are not to stay on the device.
    pub off_loaded: OffLoaded,
}

impl EmbedderUse {
    /// The use of `embedder` that `config` asks for.
    pub fn new(embedder: Box<dyn Embedder>, params: Vec<Tensor>, config: &EmbedderConfig) -> Self {
        let input_keys = match (&config.input_key, &config.input_keys) {
            (Some(key), _) => vec![key.clone()],
            (None, Some(keys)) => keys.clone(),
            (None, None) => Vec::new(),
        };
        let (drop, is_trainable) = (DropRule::new(config), config.is_trainable);
        Self { embedder, params, input_keys, drop, is_trainable, cached: None, off_loaded: OffLoaded::default() }
    }
}

/// What a pass through the conditioner is for.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Seed of the run's random streams.
    pub seed: u64,
    /// Training: conditions are dropped and noise augmentation is on. Otherwise neither.
    pub training: bool,
    /// Input keys whose embeddings are zeroed.
    pub force_zero: &'a [String],
}

/// All embedders of a model, in the order of the config.
pub struct Conditioner {
    uses: Vec<EmbedderUse>,
    per_row: bool,
    ucg_draws: Box<dyn UcgDraws>,
}

/// Batch entries that upstream's `legacy_ucg_value` was put in; the batch itself is never written to.
pub type Replaced = BTreeMap<String, Tensor>;

impl Conditioner {
    /// A conditioner; with `per_row` conditions are dropped row by row, as upstream does.
    pub fn new(uses: Vec<EmbedderUse>, per_row: bool) -> Self {
        Self { uses, per_row, ucg_draws: Box::new(StreamDraws) }
    }

    /// The same with other draws of what is dropped.
    #[must_use]
    pub fn with_ucg_draws(self, ucg_draws: Box<dyn UcgDraws>) -> Self {
        Self { ucg_draws, ..self }
    }

    /// Sets where the embeddings of each embedder are kept, in the order of the config.
    pub fn keep(&mut self, places: impl Iterator<Item = Option<Cached>>) {
        for (used, place) in self.uses.iter_mut().zip(places) {
            used.cached = place;
        }
    }

    /// The embedders, in the order of the config.
    pub fn uses(&self) -> &[EmbedderUse] {
        &self.uses
    }

    /// The embedders, given away.
    pub fn into_uses(self) -> Vec<EmbedderUse> {
        self.uses
    }

    /// Embeds a batch.
    ///
    /// Embeddings go to the slot they name, or that of their rank; those of one slot are concatenated in the order
    /// of the config. Upstream's `GeneralConditioner.forward`, but a condition is dropped for a whole scene unless
    /// `per_row`.
    ///
    /// # Errors
    /// When an embedder fails, an entry is missing in the batch, or rows of one slot do not fit.
    pub fn embed(&self, batch: &Batch, pass: Pass<'_>) -> Result<Conditions, ComponentError> {
        Ok(self.embed_and_replace(batch, pass)?.0)
    }

    /// As [`Conditioner::embed`], with the entries that a `legacy_ucg_value` was put in.
    ///
    /// # Errors
    /// As [`Conditioner::embed`].
    pub fn embed_and_replace(&self, batch: &Batch, pass: Pass<'_>) -> Result<(Conditions, Replaced), ComponentError> {
        let mut conditions = Conditions::default();
        let mut replaced = Replaced::new();
        for (i, used) in self.uses.iter().enumerate() {
            let draws = self.ucg_draws.as_ref();
            let dropping = Dropping { draws, seed: pass.seed, per_row: self.per_row, use_idx: i, batch };
            if pass.training {
                used.drop.replace_inputs(used, &dropping, &mut replaced)?;
            }
            let outputs = { run(i, used, &replaced, batch, pass)? };
            let zero = used.input_keys.iter().any(|key| pass.force_zero.contains(key));
            for (j, output) in outputs.into_iter().enumerate() {
                let slot = slot_of(used, &output)?;
                let mut value = output.tensor;
                if pass.training {
                    value = used.drop.apply(&value, j, &dropping);
                }
                if zero {
                    value = value.zeros_like();
                }
                conditions.append(slot, value, used.embedder.name())?;
            }
        }
        Ok((conditions, replaced))
    }

    /// The conditions of guidance's two halves: without what `force_zero` names, and without what `force_uc_zero` names.
    /// Nothing is dropped at random.
    ///
    /// # Errors
    /// As [`Conditioner::embed`].
    pub fn embed_pair(
        &self,
        batch: &Batch,
        seed: u64,
        force_zero: &[String],
        force_uc_zero: &[String],
    ) -> Result<(Conditions, Conditions), ComponentError> {
        let cond = self.embed(batch, Pass { seed, training: false, force_zero })?;
        let uncond = self.embed(batch, Pass { seed, training: false, force_zero: force_uc_zero })?;
        Ok((cond, uncond))
    }

    /// The input keys that a model trained with dropped conditions can do without: those with a `ucg_rate`.
    pub fn droppable_keys(&self) -> Vec<String> {
        self.uses.iter().filter(|used| used.drop.rate > 0.0).flat_map(|used| used.input_keys.clone()).collect()
    }
}

fn run(
    index: usize,
    used: &EmbedderUse,
    replaced: &Replaced,
    batch: &Batch,
    pass: Pass<'_>,
) -> Result<Vec<Embedded>, ComponentError> {
    let mut inputs = Vec::with_capacity(used.input_keys.len());
    for key in &used.input_keys {
        inputs.push(match replaced.get(key) {
            Some(tensor) => EmbedderInput::Tensor { name: key, tensor },
            None => input(batch, key, used.embedder.name())?,
        });
    }
    let scenes = Scenes { ids: &batch.sample_ids, frames_per_scene: batch.frames_per_scene };
    match &used.cached {
        Some(cached) => kept::forward(index, used, cached, &inputs, scenes, pass),
        None => Ok(forward(index, used, &inputs, scenes, pass)?.0),
    }
}

/// The scenes that an embedder's inputs are of.
#[derive(Debug, Clone, Copy)]
struct Scenes<'a> {
    ids: &'a [u64],
    frames_per_scene: i64,
}

/// Calls an embedder. Also returned is whether it drew random numbers.
fn forward(
    index: usize,
    used: &EmbedderUse,
    inputs: &[EmbedderInput<'_>],
    scenes: Scenes<'_>,
    pass: Pass<'_>,
) -> Result<(Vec<Embedded>, bool), ComponentError> {
    let without_values =
        |input: &EmbedderInput<'_>| matches!(input, EmbedderInput::Tensor { tensor, .. } if is_meta(tensor));
    let mut draws = SceneDraws {
        seed: pass.seed,
        embedder: index,
        sample_ids: scenes.ids,
        has_values: !inputs.iter().any(without_values),
        has_drawn: false,
    };
    let mut call = EmbedderCall {
        num_scenes: scenes.ids.len() as i64,
        frames_per_scene: scenes.frames_per_scene,
        training: pass.training,
        draws: &mut draws,
    };
    let _frozen = (!used.is_trainable).then(grad_mode::no_grad);
    let _present = used.off_loaded.present();
    let outputs = used.embedder.forward(inputs, &used.params, &mut call)?;
    Ok((outputs, draws.has_drawn))
}

fn input<'a>(batch: &'a Batch, key: &'a str, embedder: &str) -> Result<EmbedderInput<'a>, ComponentError> {
    if let Some(tensor) = batch.tensors.get(key) {
        return Ok(EmbedderInput::Tensor { name: key, tensor });
    }
    if let Some(texts) = batch.texts.get(key) {
        return Ok(EmbedderInput::Texts { name: key, texts });
    }
    let mut known: Vec<&str> = batch.tensors.keys().chain(batch.texts.keys()).map(String::as_str).collect();
    known.sort_unstable();
    let message = format!("the batch has no entry `{key}`; it has {}", known.join(", "));
    Err(ComponentError::new(embedder, ErrorCode::InvalidArgument, message).at("/input_key"))
}

fn slot_of(used: &EmbedderUse, output: &Embedded) -> Result<Slot, ComponentError> {
    // Pictures of these entries have a place of their own, also where the embedder says that its pictures are concatenated.
    match (used.input_keys.first().map(String::as_str), output.slot) {
        (Some("cond_view"), None | Some(Slot::Concat)) => return Ok(Slot::CondView),
        (Some("cond_motion"), None | Some(Slot::Concat)) => return Ok(Slot::CondMotion),
        (_, Some(slot)) => return Ok(slot),
        _ => {}
    }
    match output.tensor.dim() {
        2 => Ok(Slot::Vector),
        3 => Ok(Slot::Crossattn),
        4 | 5 => Ok(Slot::Concat),
        rank => Err(ComponentError::new(
            used.embedder.name(),
            ErrorCode::InvalidArgument,
            format!(
                "an embedding of shape {:?} (rank {rank}) fits no condition; ranks are 2 to 5",
                output.tensor.size()
            ),
        )),
    }
}

/// Random numbers for embedders, from the streams of the scenes in the batch.
struct SceneDraws<'a> {
    seed: u64,
    embedder: usize,
    sample_ids: &'a [u64],
    /// Without, shapes alone are asked for.
    has_values: bool,
    has_drawn: bool,
}

impl Draws for SceneDraws<'_> {
    fn normal(&mut self, purpose: &str, shape: &[i64]) -> Result<Tensor, ComponentError> {
        self.has_drawn = true;
        let scenes = self.sample_ids.len() as i64;
        let Some(rows) = shape.first().filter(|rows| scenes > 0 && *rows % scenes == 0) else {
            let message =
                format!("asked for random numbers of shape {shape:?}: rows must be a multiple of {scenes} scenes");
            return Err(ComponentError::new("conditioner", ErrorCode::InvalidArgument, message));
        };
        if !self.has_values {
            let failed = |error: TorchError| ComponentError::new("libtorch", ErrorCode::Internal, error.to_string());
            return empty_meta(shape, Kind::Float).map_err(failed);
        }
        let mut part = shape.to_vec();
        part[0] = rows / scenes;
        let purpose = format!("embedder/{}/{purpose}", self.embedder);
        let parts: Vec<Tensor> =
            self.sample_ids.iter().map(|&id| Stream::new(self.seed, &purpose, id, 0).normal_tensor(&part)).collect();
        Ok(Tensor::cat(&parts, 0))
    }
}

#[cfg(test)]
mod tests;
