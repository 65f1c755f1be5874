//! Models of upstream's configs: network, denoiser, conditioner, batch; parameters by upstream's keys.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anneal::conditioner::{Conditioner, Conditions, EmbedderUse, Slot, UcgDraws};
use anneal::config::EmbedderConfig;
use anneal::data::Batch;
use anneal::diffusion::{Denoiser, ExtraInputs, SigmaTable, Wrapper};
use serde_json::json;
use tch::{Kind, Tensor};

use super::{network, schedule};
use crate::case::{Case, Outputs};
use crate::module;
use crate::options::Options;
use crate::plugins;

/// A parameter or buffer by its key.
pub type Named = (String, Tensor);

/// A network in its wrapper, its weights from below `prefix`, and its trained parameters by key.
pub fn wrapper(case: &Case, config: &Options, prefix: &str) -> Result<(Wrapper, Vec<Named>), String> {
    wrapper_of(config, prefix, case.weights(prefix))
}

/// As [`wrapper`], from weights of another place.
pub fn wrapper_of(
    config: &Options,
    prefix: &str,
    weights: BTreeMap<String, Tensor>,
) -> Result<(Wrapper, Vec<Named>), String> {
    let params = module::params();
    let network = network::build(config, &params.root())?;
    module::load(&params, weights)?;
    let trained = params.into_entries().into_iter().filter(|param| param.kind == anneal_nn::ParamKind::Trained);
    let named = trained.map(|param| (format!("{prefix}{}", param.path), param.tensor)).collect();
    Ok((Wrapper::new(network, None), named))
}

/// Upstream's denoiser.
pub fn denoiser(config: &Options) -> Result<Denoiser, String> {
    let scaling = schedule::scaling(&config.table("scaling_config")?)?;
    let table = match config.kind()?.as_str() {
        "continuous" => None,
        "discrete" => {
            let grid = schedule::discretization(&config.table("discretization_config")?)?;
            let [append_zero, flip] = [config.or("do_append_zero", false)?, config.or("flip", true)?];
            let sigmas = schedule::grid(&grid, config.get("num_idx")?, append_zero, flip)?;
            Some(SigmaTable { sigmas, quantize_c_noise: config.or("quantize_c_noise", true)? })
        }
        other => return Err(format!("no denoiser is called `{other}`")),
    };
    config.finish()?;
    Ok(Denoiser { scaling, table })
}

/// Upstream's `GeneralConditioner`, its embedders by plugin, with weights from below `prefix`; and the trained parameters.
pub fn conditioner(case: &Case, config: &Options, prefix: &str) -> Result<(Conditioner, Vec<Named>), String> {
    if config.kind()? != "general" {
        return Err("only the general conditioner is known".to_owned());
    }
    let mut uses = Vec::new();
    let mut trained = Vec::new();
    for (i, table) in config.tables("emb_models")?.iter().enumerate() {
        let used = embedder(table)?;
        table.finish()?;
        let embedder = plugins::with(|registry| registry.embedder(&used).map_err(|error| error.to_string()))?;
        let prefix = format!("{prefix}embedders.{i}.");
        let mut weights = case.weights(&prefix);
        let mut params = Vec::new();
        for decl in embedder.params() {
            let weight = weights.remove(&decl.name).ok_or_else(|| format!("no weight {prefix}{}", decl.name))?;
            let is_trained = used.is_trainable && !decl.buffer;
            let param = weight.copy().set_requires_grad(is_trained);
            if is_trained {
                trained.push((format!("{prefix}{}", decl.name), param.shallow_clone()));
            }
            params.push(param);
        }
        if let Some(key) = weights.keys().next() {
            return Err(format!("weight {prefix}{key} is left over"));
        }
        uses.push(EmbedderUse::new(embedder, params, &used));
    }
    config.finish()?;
    Ok((Conditioner::new(uses, true), trained))
}

/// Upstream's embedder as a use of ours.
pub fn embedder(config: &Options) -> Result<EmbedderConfig, String> {
    let mut used = match config.kind()?.as_str() {
        "class" => json!({
            "plugin": "class", "dim": config.get::<i64>("embed_dim")?, "n_classes": config.or("n_classes", 1000)?,
            "add_sequence_dim": config.or("add_sequence_dim", false)?,
        }),
        "concat_timestep_nd" => json!({ "plugin": "scalar", "dim": config.get::<i64>("outdim")? }),
        "identity" => json!({ "plugin": "identity" }),
        other => return Err(format!("no embedder is called `{other}`")),
    };
    for key in ["input_key", "input_keys", "is_trainable", "ucg_rate", "legacy_ucg_value"] {
        if let Some(value) = config.raw(key).filter(|value| !value.is_null()) {
            used[key] = value.clone();
        }
    }
    serde_json::from_value(used).map_err(|error| error.to_string())
}

/// A batch of the inputs below `prefix`. Each row is a scene where rows are dropped one by one; else all are one.
pub fn batch(case: &Case, prefix: &str, rows: i64, by_row: bool) -> Result<Batch, String> {
    let mut integers = BTreeMap::new();
    if let Some(scalars) = case.call.maybe_table("batch_scalars")? {
        if let Some(frames) = scalars.optional::<i64>("num_video_frames")? {
            integers.insert("num_video_frames".to_owned(), frames);
        }
        scalars.finish()?;
    }
    let (scenes, frames_per_scene) = if by_row { (rows, 1) } else { (1, rows) };
    let sample_ids = (0..scenes as u64).collect();
    Ok(Batch { tensors: case.below(prefix), texts: BTreeMap::new(), integers, sample_ids, frames_per_scene })
}

/// What the network is given besides conditions.
pub fn extra(batch: &Batch, keys: &[String]) -> Result<ExtraInputs, String> {
    ExtraInputs::from_batch(batch, keys).map_err(|error| error.to_string())
}

/// Dropping as the case's masks say: 1 keeps a row. Masks come in the order in which outputs are dropped.
pub struct Masks {
    masks: Vec<Vec<f64>>,
    order: Mutex<Vec<String>>,
}

impl Masks {
    /// Masks `in.PREFIX.0` and so on.
    pub fn new(case: &Case, prefix: &str) -> Self {
        let numbers = |t: &Tensor| Vec::<f64>::try_from(t.to_kind(Kind::Double).flatten(0, -1)).unwrap_or_default();
        Self { masks: case.numbered(prefix).iter().map(numbers).collect(), order: Mutex::default() }
    }

    /// The same, but 1 drops a row.
    pub fn inverted(mut self) -> Self {
        self.masks.iter_mut().flatten().for_each(|mask| *mask = 1.0 - *mask);
        self
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !self.masks.is_empty()
    }
}

impl UcgDraws for Masks {
    fn uniforms(&self, _: u64, purpose: &str, sample_id: u64, count: usize) -> Vec<f64> {
        let mut order = self.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = order.iter().position(|known| known == purpose).unwrap_or_else(|| {
            order.push(purpose.to_owned());
            order.len() - 1
        });
        let first = sample_id as usize * count;
        // 1 is above every rate, 0 below.
        self.masks[place][first..first + count].to_vec()
    }
}

/// Conditions as outputs `PREFIX.vector` and so on.
pub fn conditions(prefix: &str, conditions: &Conditions) -> Outputs {
    conditions.iter().map(|(slot, value)| (format!("{prefix}.{}", slot.name()), value.detach())).collect()
}

/// Inputs below a prefix as conditions; those of no slot of ours are returned beside them.
pub fn given_conditions(case: &Case, prefix: &str) -> (Conditions, BTreeMap<String, Tensor>) {
    let mut conditions = Conditions::default();
    let mut others = BTreeMap::new();
    let slots = [Slot::Vector, Slot::Crossattn, Slot::Concat, Slot::CondView, Slot::CondMotion];
    for (name, value) in case.below(prefix) {
        match slots.into_iter().find(|slot| slot.name() == name) {
            Some(slot) => conditions.set(slot, value),
            None => {
                others.insert(name, value);
            }
        }
    }
    (conditions, others)
}

/// `grad.KEY` of parameters that backward reached.
pub fn gradients(trained: &[Named]) -> Outputs {
    let reached = trained.iter().filter(|(_, param)| anneal_torch::tensor::has_grad(param));
    reached.map(|(key, param)| (format!("grad.{key}"), param.grad())).collect()
}
