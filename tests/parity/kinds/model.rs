//! Models of upstream's configs: network, denoiser, conditioner, batch; parameters by upstream's keys.

use std::collections::BTreeMap;

use anneal::conditioner::{Conditioner, Conditions, Embedder, EmbedderUse, Slot};
use anneal::config::EmbedderConfig;
use anneal::data::Batch;
use anneal::diffusion::{Denoiser, ExtraInputs, SigmaTable, Wrapper};
use serde_json::{Value, json};
use tch::Tensor;

use super::recorded::{DrawRule, Recorded, Redrawn};
use super::{encoders, frame_encoders, network, schedule};
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

/// Upstream's `GeneralConditioner`, its embedders by plugin, with weights from below `prefix`, and what they draw on
/// record in `recorded`; and the trained parameters.
pub fn conditioner(
    case: &Case,
    config: &Options,
    prefix: &str,
    recorded: &Recorded,
) -> Result<(Conditioner, Vec<Named>), String> {
    if config.kind()? != "general" {
        return Err("only the general conditioner is known".to_owned());
    }
    let mut uses = Vec::new();
    let mut trained = Vec::new();
    for (i, table) in config.tables("emb_models")?.iter().enumerate() {
        let Made { used, unread, draws } = embedder(table)?;
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
        if let Some(key) = weights.keys().find(|key| !unread.iter().any(|start| key.starts_with(start))) {
            return Err(format!("weight {prefix}{key} is left over"));
        }
        let embedder: Box<dyn Embedder> = match draws {
            Some(rule) => Box::new(Redrawn { inner: embedder, rule, recorded: recorded.clone() }),
            None => embedder,
        };
        uses.push(EmbedderUse::new(embedder, params, &used));
    }
    config.finish()?;
    Ok((Conditioner::new(uses, true).with_ucg_draws(Box::new(recorded.clone())), trained))
}

/// What upstream's options make of an embedder.
pub struct Made {
    /// The use of ours.
    pub used: EmbedderConfig,
    /// Beginnings of the keys that upstream keeps and never reads.
    pub unread: Vec<String>,
    /// How it draws, if it does.
    pub draws: Option<DrawRule>,
}

/// An entry with its settings, before the conditioner's own keys are among them.
pub struct Entry {
    /// Its name.
    pub plugin: &'static str,
    /// Its settings; a null is one that is not given.
    pub settings: Value,
    /// Beginnings of the keys that upstream keeps and never reads.
    pub unread: Vec<String>,
    /// How it draws, if it does.
    pub draws: Option<DrawRule>,
}

impl Entry {
    /// One that draws nothing and reads all its weights.
    fn plain(plugin: &'static str, settings: Value) -> Self {
        Self { plugin, settings, unread: Vec::new(), draws: None }
    }
}

/// Upstream's embedder as a use of ours.
pub fn embedder(config: &Options) -> Result<Made, String> {
    let entry = match config.kind()?.as_str() {
        "class" => {
            let settings = json!({
                "dim": config.get::<i64>("embed_dim")?, "n_classes": config.or("n_classes", 1000)?,
                "add_sequence_dim": config.or("add_sequence_dim", false)?,
            });
            Entry::plain("class", settings)
        }
        "concat_timestep_nd" => Entry::plain("scalar", json!({ "dim": config.get::<i64>("outdim")? })),
        "identity" => Entry::plain("identity", json!({})),
        "video_prediction_with_encoder" => frame_encoders::video_prediction_entry(config)?,
        "frozen_openclip_image" => encoders::open_clip_image_entry(config)?,
        "frozen_openclip_image_prediction" => encoders::open_clip_image_prediction_entry(config)?,
        "frozen_openclip_text" => encoders::open_clip_text_entry(config)?,
        "frozen_openclip_text2" => encoders::open_clip_text2_entry(config)?,
        "frozen_clip" => encoders::clip_text_entry(config)?,
        other => return Err(format!("no embedder of a conditioner is called `{other}`")),
    };
    let Value::Object(mut used) = entry.settings else { return Err("settings are no table".to_owned()) };
    used.retain(|_, value| !value.is_null());
    used.insert("plugin".to_owned(), json!(entry.plugin));
    for key in ["input_key", "input_keys", "is_trainable", "ucg_rate", "legacy_ucg_value"] {
        if let Some(value) = config.raw(key).filter(|value| !value.is_null()) {
            used.insert(key.to_owned(), value.clone());
        }
    }
    let used = serde_json::from_value(Value::Object(used)).map_err(|error| error.to_string())?;
    Ok(Made { used, unread: entry.unread, draws: entry.draws })
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
