//! The cache of a run's moments and embeddings: what they depend on, and the verb that fills it.

use std::sync::Arc;

use serde_json::json;

use super::{AssembleError, Built, FIRST_STAGE_PREFIX, Project};
use crate::cache::{Cached, Component, Counts, Store};
use crate::conditioner::Pass;
use crate::config::{Problems, RunConfig};
use crate::data::Loader;
use crate::weights::Named;

/// Parts of an autoencoder that its moments do not depend on.
const DECODING: [&str; 2] = ["decoder.", "post_quant_conv."];

impl Project<RunConfig> {
    /// Computes and keeps what the run's first `num_batches` batches need, or those of an epoch if not given, and tells
    /// `progress` of each. What is there already is not computed again. False from `progress` ends it early.
    ///
    /// # Errors
    /// When the config names no cache, something that it names cannot be loaded, or the cache cannot be written.
    pub fn fill_cache(
        &mut self,
        num_batches: Option<u64>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Counts, AssembleError> {
        let config = self.loaded.config.clone();
        let Some(dir) = &config.model.cache else {
            let help = "add `cache = \"..\"`, a folder, to the table [model]";
            return Err(Problems(vec![self.loaded.problem("/model/cache", "is missing", help)]).into());
        };
        let store = Arc::new(Store::new(dir, true));
        let (device, source) = (super::device(&config.run)?, self.source()?);
        if let Some(threads) = config.run.threads {
            tch::set_num_threads(threads);
        }
        let (mut built, _) = self.model_and_state(device, false, None)?;
        self.keep_in(&store, &mut built);
        let epoch = (source.num_samples() as u64).div_ceil(config.data.batch_size as u64);
        let num_batches = num_batches.unwrap_or(epoch);
        let mut loader = Loader::new(source, &config.data, config.run.seed, device, 0)?;
        for done in 0..num_batches {
            let batch = loader.next_batch()?;
            let _latents = built.model.encode(&batch, config.run.seed)?;
            let _conditions = built
                .model
                .conditioner
                .embed(&batch, Pass { seed: config.run.seed, training: true, force_zero: &[] })?;
            if let Some(failure) = store.take_failure() {
                return Err(failure.into());
            }
            if !progress(done + 1, num_batches) {
                break;
            }
        }
        Ok(store.counts())
    }

    /// Keeps the moments of the first stage, and the embeddings of frozen embedders with parameters, in `store`.
    pub(super) fn keep_in(&self, store: &Arc<Store>, built: &mut Built) {
        let config = self.config();
        let precision = json!(config.run.precision);
        let of = |prefix: &str, leave_out: &[&str]| -> Vec<Named> {
            let own = built.weights.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
            let chosen = own.filter(|(name, _)| !leave_out.iter().any(|part| name.starts_with(part)));
            chosen.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect()
        };
        if let Some(network) = config.model.first_stage.autoencoder() {
            let full = config.model.disable_first_stage_autocast;
            let settings = json!([network, precision, full]).to_string();
            let component = Component { settings, params: of(FIRST_STAGE_PREFIX, &DECODING) };
            built.model.first_stage.cached = Some(Cached::new(store.clone(), component));
        }
        let plugins = self.registry.used();
        let components: Vec<Option<Component>> = built
            .model
            .conditioner
            .uses()
            .iter()
            .enumerate()
            .map(|(idx, used)| {
                let params = of(&format!("conditioner.embedders.{idx}."), &[]);
                let id = used.embedder.name().split('/').next().unwrap_or_default();
                let plugin = plugins.iter().find(|plugin| plugin.split(' ').next() == Some(id));
                let settings = json!([plugin, config.model.embedders[idx].params, precision]).to_string();
                (!used.is_trainable && !params.is_empty()).then_some(Component { settings, params })
            })
            .collect();
        built.model.conditioner.keep(
            components.into_iter().map(|component| component.map(|component| Cached::new(store.clone(), component))),
        );
    }
}
