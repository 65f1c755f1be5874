//! Every place of a config that names a plugin.

use serde_json::{Map, Value};

use crate::config::{DenoiserConfig, OptimizerConfig, PluginKind, PluginUse, RunConfig};

/// A place that names a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct UseOfPlugin<'a> {
    /// JSON pointer of the table, `/loss/weighting`.
    pub pointer: String,
    /// What the place needs.
    pub kind: PluginKind,
    /// The name it gives.
    pub name: &'a str,
    /// The settings it gives.
    pub params: &'a Map<String, Value>,
}

/// All places of `config` that name a plugin, in the order of the file's sections.
pub fn plugin_uses(config: &RunConfig) -> Vec<UseOfPlugin<'_>> {
    let mut uses = Vec::new();
    let mut add = |pointer: &str, kind, used: &'static str, name, params| {
        let pointer = if used.is_empty() { pointer.to_owned() } else { format!("{pointer}/{used}") };
        uses.push(UseOfPlugin { pointer, kind, name, params });
    };
    for (i, embedder) in config.model.embedders.iter().enumerate() {
        add(&format!("/model/embedders/{i}"), PluginKind::Embedder, "", &embedder.plugin, &embedder.params);
    }
    let OptimizerConfig::Adamw { schedule, .. } = &config.optimizer;
    let table = match &config.model.denoiser {
        DenoiserConfig::Discrete { discretization, .. } => Some(discretization),
        DenoiserConfig::Continuous { .. } => None,
    };
    let plain: [(&str, PluginKind, &'static str, Option<&PluginUse>); 7] = [
        ("/model/denoiser", PluginKind::Discretization, "discretization", table),
        ("/loss", PluginKind::SigmaSampling, "sigma_sampling", Some(&config.loss.sigma_sampling)),
        ("/loss", PluginKind::Weighting, "weighting", Some(&config.loss.weighting)),
        ("/optimizer", PluginKind::LearningRate, "schedule", schedule.as_ref()),
        ("/sampling", PluginKind::Sampler, "sampler", Some(&config.sampling.sampler)),
        ("/sampling", PluginKind::Discretization, "discretization", Some(&config.sampling.discretization)),
        ("/sampling", PluginKind::Guidance, "guidance", config.sampling.guidance.as_ref()),
    ];
    for (section, kind, key, used) in plain {
        if let Some(used) = used {
            add(section, kind, key, &used.plugin, &used.params);
        }
    }
    uses
}
