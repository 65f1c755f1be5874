//! A component chosen by plugin name, its own fields inline.

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
    /// The plugin's own settings, checked against its schema.
    #[serde(flatten)]
    pub params: Map<String, Value>,
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
