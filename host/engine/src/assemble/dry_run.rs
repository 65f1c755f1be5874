//! Embedders tried before anything is allocated: on tensors that have shapes and no values.

use anneal_torch::tensor::empty_meta;
use tch::{Kind, Tensor};

use super::activations::of_libtorch;
use super::check::widths;
use super::{AssembleError, Project};
use crate::conditioner::{Conditioner, EmbedderUse, Pass, Slot};
use crate::config::{Problems, RunConfig};
use crate::data::Batch;
use crate::error::ComponentError;

impl Project<RunConfig> {
    /// Calls the embedders that compute with the host's operations on a batch without values, so that what does not fit
    /// is told before the model is built. Those with a libtorch of their own may want values and are left out.
    ///
    /// # Errors
    /// When one of them fails, or what they give is wider than the network is told.
    pub(super) fn dry_run(&mut self, batch: &Batch) -> Result<(), AssembleError> {
        let config = self.loaded.config.clone();
        let mut uses = Vec::new();
        for used in &config.model.embedders {
            let embedder = self.registry.embedder(used)?;
            if embedder.runs_without_values() {
                let params = embedder.params().iter().map(|decl| meta(&decl.shape, Kind::Float));
                let params = params.collect::<Result<_, _>>()?;
                uses.push(EmbedderUse::new(embedder, params, used));
            }
        }
        if uses.is_empty() {
            return Ok(());
        }
        let tensors = batch.tensors.iter().map(|(key, value)| Ok((key.clone(), meta(&value.size(), value.kind())?)));
        let shapes = Batch {
            tensors: tensors.collect::<Result<_, ComponentError>>()?,
            texts: batch.texts.clone(),
            integers: batch.integers.clone(),
            sample_ids: batch.sample_ids.clone(),
            frames_per_scene: batch.frames_per_scene,
        };
        let pass = Pass { seed: config.run.seed, training: false, force_zero: &[] };
        let conditions = Conditioner::new(uses, false).embed(&shapes, pass)?;
        let widths = widths(&config.model.network);
        let mut problems = Vec::new();
        for (slot, key, told) in
            [(Slot::Vector, "adm_in_channels", widths.vector), (Slot::Crossattn, "context_dim", widths.context)]
        {
            // Other embedders may add to it, so only what is too wide is sure.
            let gives = conditions.get(slot).map_or(0, |value| value.size()[slot.join_axis() as usize]);
            if let Some(told) = told.filter(|told| *told < gives) {
                let message = format!("is {told}, but the embedders give at least {gives}");
                problems.push(self.loaded.problem(
                    &format!("/model/network/{key}"),
                    message,
                    format!("set it to {gives}, or make the embedders narrower"),
                ));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
    }
}

fn meta(shape: &[i64], kind: Kind) -> Result<Tensor, ComponentError> {
    empty_meta(shape, kind).map_err(of_libtorch)
}
