//! A component chosen by plugin name, its own fields inline.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A plugin by name with its own fields inline: `{ plugin = "edm", sigma_max = 700.0 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginUse {
    /// `edm`, or `vendor.name/entry` where the short name is ambiguous.
    pub plugin: String,
    /// The plugin's own settings, checked against its schema.
    #[serde(flatten)]
    pub params: Map<String, Value>,
}

/// One embedder of the conditioner: what the host reads, and the plugin's own fields inline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-anneal-plugin" = "embedder"))]
pub struct EmbedderConfig {
    /// `class`, or `vendor.name/entry` where the short name is ambiguous.
    pub plugin: String,
    /// The batch entry to embed. One of `input_key` and `input_keys` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_key: Option<String>,
    /// Several batch entries, handed over in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_keys: Option<Vec<String>>,
    /// Probability that the condition is dropped (zeroed) in training, `[0, 1]`.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ucg_rate: f64,
    /// Replaces a dropped input in the batch by this value instead of zeroing the embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_ucg_value: Option<Value>,
    /// Embedders that name the same group are dropped together, by one draw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ucg_group: Option<String>,
    /// Whether the plugin's parameters are optimised with the network's.
    #[serde(default)]
    pub is_trainable: bool,
    /// What holds the start of every parameter of the plugin, by key: a file of safetensors or torch.save, or the folder of a
    /// run. A run that is resumed, or started from other weights that hold the embedder's, has them from there. Embedders
    /// that are not trained and start from the same key of the same file hold one copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "file-or-folder"))]
    pub weights: Option<PathBuf>,
    /// What the keys in the file begin with beyond the plugin's own: `conditioner.embedders.0.` in a whole checkpoint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub weights_prefix: String,
    /// What the plugin's keys begin with beyond those in the file: `model.` for the file of an open_clip model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub weights_at: String,
    /// The plugin's own settings, checked against its schema.
    #[serde(flatten)]
    pub params: Map<String, Value>,
}

impl EmbedderConfig {
    /// The batch entries that it reads.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.input_key.iter().chain(self.input_keys.iter().flatten())
    }
}

/// What a plugin entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Batch entries to conditions (native).
    Embedder,
    /// Sigma to the weight of the loss.
    Weighting,
    /// A grid of sigmas.
    Discretization,
    /// The distribution of sigma in training.
    SigmaSampling,
    /// The scale of classifier-free guidance.
    Guidance,
    /// Multiplier of the learning rate by step.
    LearningRate,
    /// The solver.
    Sampler,
}

impl std::fmt::Display for PluginKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Embedder => "embedder",
            Self::Weighting => "weighting",
            Self::Discretization => "discretization",
            Self::SigmaSampling => "sigma-sampling",
            Self::Guidance => "guidance",
            Self::LearningRate => "learning-rate",
            Self::Sampler => "sampler",
        })
    }
}

/// A place in a config that names a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginRef<'a> {
    /// JSON pointer of the plugin's table, `/model/embedders/0`.
    pub pointer: String,
    /// What the plugin must be.
    pub kind: PluginKind,
    /// The plugin's name as written.
    pub name: &'a str,
    /// The plugin's own settings.
    pub params: &'a Map<String, Value>,
}

impl<'a> PluginRef<'a> {
    /// The plugin at `pointer`.
    pub(super) fn new(pointer: &str, kind: PluginKind, used: &'a PluginUse) -> Self {
        Self { pointer: pointer.to_owned(), kind, name: &used.plugin, params: &used.params }
    }
}
