//! `embedder.*`: embedders alone, through their plugins.

use std::collections::BTreeMap;

use anneal::conditioner::{Draws, Embedded, Embedder, EmbedderCall, EmbedderInput};
use anneal::config::EmbedderConfig;
use anneal::error::{ComponentError, ErrorCode};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::model::Entry;
use super::{encoders, frame_encoders, model, schedule};
use crate::case::{Case, Outputs};
use crate::options::Options;
use crate::plugins;

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let kind = config.kind()?;
    let outputs = match kind.as_str() {
        "class" | "concat_timestep_nd" | "identity" => {
            let used = model::embedder(&config)?.used;
            let outputs = Loaded::of(case, &used, &[])?.forward(case, &["x"], 1, Given::none())?;
            name(&["out.emb"], outputs)?
        }
        "timestep_embedding" => timestep_embedding(case, &config)?,
        "spatial_rescaler" => {
            let loaded = Loaded::new(case, "spatial-rescaler", config.rest(), &[])?;
            name(&["out.emb"], loaded.forward(case, &["x"], 1, Given::none())?)?
        }
        "frozen_openclip_image" => encoders::open_clip_image(case, &config)?,
        "frozen_openclip_image_prediction" => encoders::open_clip_image_prediction(case, &config)?,
        "frozen_openclip_text" => encoders::open_clip_text(case, &config)?,
        "frozen_openclip_text2" => encoders::pooled_text(case, encoders::open_clip_text2_entry(&config)?)?,
        "frozen_clip" => encoders::pooled_text(case, encoders::clip_text_entry(&config)?)?,
        "gaussian_encoder" => frame_encoders::gaussian_encoder(case, &config)?,
        "low_scale_encoder" => frame_encoders::low_scale_encoder(case, &config)?,
        "video_prediction_with_encoder" => frame_encoders::video_prediction(case, &config)?,
        other => return Err(format!("no embedder is called `{other}`")),
    };
    config.finish()?;
    Ok(outputs)
}

/// Upstream's function of this name, which also can only repeat a number.
fn timestep_embedding(case: &Case, config: &Options) -> Result<Outputs, String> {
    let dim: i64 = config.get("dim")?;
    if config.or("repeat_only", false)? {
        let numbers = case.input("timesteps")?;
        return Ok(Outputs::from([("out.emb".to_owned(), numbers.unsqueeze(1).repeat([1, dim]))]));
    }
    let settings = json!({ "dim": dim, "max_period": config.or("max_period", 10000.0)? });
    let loaded = Loaded::new(case, "scalar", settings, &[])?;
    name(&["out.emb"], loaded.forward(case, &["timesteps"], 1, Given::none())?)
}

/// Outputs in their order by name.
pub fn name(names: &[&str], outputs: Vec<Embedded>) -> Result<Outputs, String> {
    if names.len() != outputs.len() {
        return Err(format!("{} outputs came, not {}", outputs.len(), names.len()));
    }
    Ok(names
        .iter()
        .map(|name| (*name).to_owned())
        .zip(outputs.into_iter().map(|output| output.tensor.detach()))
        .collect())
}

/// A use of an entry with settings; a null is a setting that is not given.
fn used(plugin: &str, settings: Value) -> Result<EmbedderConfig, String> {
    let Value::Object(mut table) = settings else { return Err("settings are no table".to_owned()) };
    table.retain(|_, value| !value.is_null());
    table.extend(Map::from_iter([("plugin".to_owned(), json!(plugin)), ("input_key".to_owned(), json!("x"))]));
    serde_json::from_value(Value::Object(table)).map_err(|error| error.to_string())
}

/// An embedder of a plugin with a case's weights.
pub struct Loaded {
    embedder: Box<dyn Embedder>,
    params: Vec<Tensor>,
}

impl Loaded {
    /// The entry of this name with settings; upstream's parameters that begin with one of `unread` are never read there
    /// and not declared here.
    pub fn new(case: &Case, plugin: &str, settings: Value, unread: &[String]) -> Result<Self, String> {
        Self::of(case, &used(plugin, settings)?, unread)
    }

    /// An entry with settings.
    pub fn entry(case: &Case, entry: Entry) -> Result<Self, String> {
        Self::new(case, entry.plugin, entry.settings, &entry.unread)
    }

    /// The entry of this name with parameters that `value` makes of their names and shapes.
    pub fn made(plugin: &str, settings: Value, value: impl Fn(&str, &[i64]) -> Tensor) -> Result<Self, String> {
        let used = used(plugin, settings)?;
        let embedder = plugins::with(|registry| registry.embedder(&used).map_err(|error| error.to_string()))?;
        let params = embedder.params().iter().map(|decl| value(&decl.name, &decl.shape)).collect();
        Ok(Self { embedder, params })
    }

    fn of(case: &Case, used: &EmbedderConfig, unread: &[String]) -> Result<Self, String> {
        let embedder = plugins::with(|registry| registry.embedder(used).map_err(|error| error.to_string()))?;
        let mut weights = case.weights("");
        let mut params = Vec::new();
        for decl in embedder.params() {
            let weight = weights.remove(&decl.name).ok_or_else(|| format!("the case has no weight {}", decl.name))?;
            if weight.size() != decl.shape {
                return Err(format!("{} is {:?}, in the case {:?}", decl.name, decl.shape, weight.size()));
            }
            params.push(weight);
        }
        let left: Vec<&String> =
            weights.keys().filter(|key| !unread.iter().any(|start| key.starts_with(start.as_str()))).collect();
        if left.is_empty() { Ok(Self { embedder, params }) } else { Err(format!("weights left over: {left:?}")) }
    }

    /// The embeddings of inputs of the case, of so many scenes.
    pub fn forward(&self, case: &Case, inputs: &[&str], scenes: i64, given: Given) -> Result<Vec<Embedded>, String> {
        let tensors: Vec<Tensor> = inputs.iter().map(|name| case.input(name)).collect::<Result<_, _>>()?;
        let named: Vec<(&str, &Tensor)> = inputs.iter().copied().zip(&tensors).collect();
        self.embed(&named, scenes, given)
    }

    /// The embeddings of tensors, of so many scenes.
    pub fn embed(&self, inputs: &[(&str, &Tensor)], scenes: i64, mut given: Given) -> Result<Vec<Embedded>, String> {
        let named = inputs.iter().map(|(name, tensor)| EmbedderInput::Tensor { name, tensor });
        let named: Vec<EmbedderInput<'_>> = named.collect();
        let training = given.training;
        let mut call = EmbedderCall { num_scenes: scenes, frames_per_scene: 1, training, draws: &mut given };
        self.embedder.forward(&named, &self.params, &mut call).map_err(|error| error.to_string())
    }
}

/// The draws that an embedder is given in place of those of random streams, by purpose.
pub struct Given {
    draws: BTreeMap<String, Tensor>,
    training: bool,
}

impl Given {
    /// No draws, as in sampling.
    pub fn none() -> Self {
        Self { draws: BTreeMap::new(), training: false }
    }

    /// Draws as in training.
    pub fn draws<const N: usize>(draws: [(&str, Tensor); N]) -> Self {
        Self {
            draws: draws.into_iter().map(|(purpose, numbers)| (purpose.to_owned(), numbers)).collect(),
            training: true,
        }
    }

    /// One more draw.
    pub fn and(mut self, purpose: &str, numbers: Tensor) -> Self {
        self.draws.insert(purpose.to_owned(), numbers);
        self
    }
}

impl Draws for Given {
    fn normal(&mut self, purpose: &str, shape: &[i64]) -> Result<Tensor, ComponentError> {
        let error = |message: String| ComponentError::new("parity", ErrorCode::InvalidArgument, message);
        match self.draws.get(purpose) {
            Some(numbers) if numbers.numel() as i64 == shape.iter().product::<i64>() => Ok(numbers.reshape(shape)),
            Some(numbers) => Err(error(format!("`{purpose}` is {:?}, asked for {shape:?}", numbers.size()))),
            None => Err(error(format!("the case gives no `{purpose}`"))),
        }
    }
}

/// Normal numbers whose places among all normal numbers are the middles of the intervals of `indices` out of `count`.
pub fn normals_of(indices: &Tensor, count: i64) -> Tensor {
    ((indices.to_kind(Kind::Double) + 0.5) / count as f64).special_ndtri().to_kind(Kind::Float)
}

/// Normal numbers that keep rows where a mask is 1 and drop them where it is 0, whatever the rate.
pub fn normals_of_mask(mask: &Tensor) -> Tensor {
    (mask.to_kind(Kind::Float) * 2.0 - 1.0) * 30.0
}

/// The noise levels of a table that upstream's discrete sampler draws from.
pub fn table_of(config: &Options) -> Result<Vec<f64>, String> {
    let grid = schedule::discretization(&config.table("discretization_config")?)?;
    let [append_zero, flip] = [config.or("do_append_zero", false)?, config.or("flip", true)?];
    let sigmas = schedule::grid(&grid, config.get("num_idx")?, append_zero, flip)?;
    config.finish()?;
    Ok(sigmas)
}
