//! `guider.*`: the doubled batch, and how its two answers are blended.

use anneal::config::PluginUse;
use anneal::diffusion::{ExtraInputs, Guider};
use serde_json::{Value, json};
use tch::Tensor;

use super::{model, schedule};
use crate::case::{Case, Outputs};
use crate::options::Options;
use crate::plugins;

/// Upstream's guider as ours.
pub struct Guidance {
    /// The scale, if the guider guides.
    pub used: Option<PluginUse>,
    /// Frames of a scene; none if all have one scale.
    pub num_frames: Option<u32>,
    /// Views among the frames.
    pub num_views: u32,
    /// Conditions that are doubled besides the usual ones.
    pub additional: Vec<String>,
}

/// Upstream's guider.
pub fn guidance(config: &Options) -> Result<Guidance, String> {
    let kind = config.kind()?;
    if kind == "identity" {
        config.finish()?;
        return Ok(Guidance { used: None, num_frames: None, num_views: 1, additional: Vec::new() });
    }
    if kind == "vanilla_cfg" {
        let scale: f64 = config.get("scale")?;
        config.finish()?;
        let used = json!({ "plugin": "constant", "scale": scale });
        let used = serde_json::from_value(used).map_err(|error| error.to_string())?;
        return Ok(Guidance { used: Some(used), num_frames: None, num_views: 1, additional: Vec::new() });
    }
    let num_frames = Some(config.get("num_frames")?);
    let num_views = if kind == "spatiotemporal" { config.or("num_views", 1)? } else { 1 };
    let additional = match config.raw("additional_cond_keys") {
        Some(Value::String(key)) => vec![key.clone()],
        _ => config.or("additional_cond_keys", Vec::new())?,
    };
    let Value::Object(mut params) = config.rest() else { return Err("options are no table".to_owned()) };
    if kind == "trapezoid" {
        params.insert("upstream_plateau".to_owned(), json!(true));
    }
    Ok(Guidance { used: Some(plugins::named(&kind, params)), num_frames, num_views, additional })
}

impl Guidance {
    /// The guider over a grid, and its scales, `[sigmas * frames]`.
    pub fn guider(&self, sigmas: &[f64]) -> Result<Option<(Guider, Vec<f64>)>, String> {
        let Some(used) = &self.used else { return Ok(None) };
        let frames = self.num_frames.unwrap_or(1);
        let scales = plugins::with(|registry| {
            let mut guidance = registry.guidance(used).map_err(|error| error.to_string())?;
            guidance.scales(sigmas, frames, self.num_views).map_err(|error| error.to_string())
        })?;
        let guider = Guider::new(sigmas, scales.clone(), frames as usize, &self.additional);
        Ok(Some((guider.map_err(|error| error.to_string())?, scales)))
    }
}

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let guidance = guidance(&case.config()?)?;
    let (x, sigma, both) = (case.input("x_in")?, case.input("sigma_in")?, case.input("model_out")?);
    let (cond, others) = model::given_conditions(case, "c");
    let (uncond, _) = model::given_conditions(case, "uc");
    let at = sigma.double_value(&[0]);
    let mut outputs = Outputs::new();
    // The host has no slot for these: whatever it does not know, it leaves alone.
    outputs.extend(others.into_iter().map(|(name, value)| (format!("out.prepared.c.{name}"), value)));
    let Some((guider, scales)) = guidance.guider(&[at])? else {
        outputs.extend(model::conditions("out.prepared.c", &cond));
        outputs.extend([("out.prepared.x", x), ("out.prepared.sigma", sigma), ("out.guided", both)].map(named));
        return Ok(outputs);
    };
    let doubled = guider.double(&x, &cond, &uncond, &ExtraInputs::default()).map_err(|error| error.to_string())?;
    outputs.extend(model::conditions("out.prepared.c", &doubled.conditions));
    let doubled_sigma = Tensor::cat(&[&sigma, &sigma], 0);
    let guided = guider.blend(&both, at);
    outputs.extend(
        [("out.prepared.x", doubled.x), ("out.prepared.sigma", doubled_sigma), ("out.guided", guided)].map(named),
    );
    if guidance.num_frames.is_some() {
        outputs.insert("out.scale".to_owned(), schedule::row(&scales).unsqueeze(0));
    }
    Ok(outputs)
}

fn named((name, value): (&str, Tensor)) -> (String, Tensor) {
    (name.to_owned(), value)
}
