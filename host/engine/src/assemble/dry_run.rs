//! Embedders tried before anything is allocated: on tensors that have shapes and no values.

use std::collections::BTreeMap;

use anneal_torch::tensor::empty_meta;
use tch::{Kind, Tensor};

use super::activations::of_libtorch;
use super::check::widths;
use super::{AssembleError, Project};
use crate::conditioner::{Conditioner, EmbedderUse, Pass, Slot};
use crate::config::{PluginKind, Problems, RunConfig};
use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};
use crate::plugin::TorchLink;

impl Project<RunConfig> {
    /// Calls the embedders that compute with the host's operations on a batch without values, so that what does not fit
    /// is told before the model is built. Those with a libtorch of their own may want values and are left out.
    ///
    /// # Errors
    /// When one of them fails, or what they give is wider than the network is told.
    pub(super) fn dry_run(&mut self, batch: &Batch) -> Result<(), AssembleError> {
        let config = self.loaded.config.clone();
        let mut given: BTreeMap<Slot, i64> = BTreeMap::new();
        for used in &config.model.embedders {
            let entry = self.registry.find(PluginKind::Embedder, &used.plugin);
            if entry.is_ok_and(|entry| *entry.plugin().torch() != TorchLink::None) {
                continue;
            }
            let embedder = self.registry.embedder(used)?;
            let params =
                embedder.params().iter().map(|decl| meta(&decl.shape, Kind::Float)).collect::<Result<_, _>>()?;
            let alone = Conditioner::new(vec![EmbedderUse::new(embedder, params, used)], false);
            let pass = Pass { seed: config.run.seed, training: false, force_zero: &[] };
            let conditions = match alone.embed(&without_values(batch)?, pass) {
                // libtorch has no shapes of some operations.
                Err(error) if error.code == ErrorCode::Unsupported => continue,
                conditions => conditions?,
            };
            for slot in [Slot::Vector, Slot::Crossattn] {
                let width = conditions.get(slot).map_or(0, |value| value.size()[slot.join_axis() as usize]);
                *given.entry(slot).or_default() += width;
            }
        }
        let widths = widths(&config.model.network);
        let mut problems = Vec::new();
        for (slot, key, told) in
            [(Slot::Vector, "adm_in_channels", widths.vector), (Slot::Crossattn, "context_dim", widths.context)]
        {
            // Other embedders may add to it, so only what is too wide is sure.
            let gives = given.get(&slot).copied().unwrap_or_default();
            if let Some(told) = told.filter(|told| *told < gives) {
                let message = format!("is {told}, but the embedders give at least {gives}");
                let help = format!("set it to {gives}, or make the embedders narrower");
                problems.push(self.loaded.problem(&format!("/model/network/{key}"), message, help));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
    }
}

/// A batch of the same shapes.
pub(super) fn without_values(batch: &Batch) -> Result<Batch, ComponentError> {
    let tensors = batch.tensors.iter().map(|(key, value)| Ok((key.clone(), meta(&value.size(), value.kind())?)));
    Ok(Batch {
        tensors: tensors.collect::<Result<_, ComponentError>>()?,
        texts: batch.texts.clone(),
        integers: batch.integers.clone(),
        sample_ids: batch.sample_ids.clone(),
        frames_per_scene: batch.frames_per_scene,
    })
}

pub(super) fn meta(shape: &[i64], kind: Kind) -> Result<Tensor, ComponentError> {
    empty_meta(shape, kind).map_err(of_libtorch)
}
