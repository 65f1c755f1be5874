//! Settings of low-rank adapters.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PathPattern;

/// Names of the linear layers of attention, at the end of their paths.
const PROJECTIONS: [&str; 4] = ["to_q", "to_k", "to_v", "to_out.0"];

/// Low-rank adapters (LoRA, Hu et al. 2021) of the network's linear layers: `alpha / rank * B A x` is added to what a layer
/// gives. The weights themselves stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of an adapter: rows of A, columns of B.
    #[schemars(range(min = 1, max = 4096))]
    pub rank: u32,
    /// Strength: an adapter's product is multiplied by this over the rank. As large as the rank if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub alpha: Option<f64>,
    /// Which linear layers get adapters: patterns over their paths (`*.attn1.to_q`), or `temporal` or `spatial` for those of
    /// attention over frames, or of all other attention.
    #[serde(default = "projections")]
    pub targets: Vec<String>,
    /// Probability with which a value that an adapter reads is dropped in training; the layer itself sees all of them.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// Adapters to start from, as `anneal checkpoint convert --adapters` writes them; new ones if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "file"))]
    pub weights: Option<PathBuf>,
}

fn projections() -> Vec<String> {
    PROJECTIONS.iter().map(|name| format!("*.{name}")).collect()
}

impl LoraConfig {
    /// Factor of an adapter's product.
    pub fn scale(&self) -> f64 {
        self.alpha() / f64::from(self.rank)
    }

    /// The strength.
    pub fn alpha(&self) -> f64 {
        self.alpha.unwrap_or_else(|| f64::from(self.rank))
    }

    /// Whether the targets are those of a config that names none.
    pub fn has_default_targets(&self) -> bool {
        self.targets == projections()
    }

    /// Whether the linear layer at `path` gets an adapter.
    pub fn chooses(&self, path: &str) -> bool {
        self.targets.iter().any(|target| lora_takes(target, path))
    }
}

/// Whether one of the targets takes in the linear layer at `path`.
pub(crate) fn lora_takes(target: &str, path: &str) -> bool {
    let Some(pattern) = PathPattern::new(target) else { return false };
    let is_projection = || PROJECTIONS.iter().any(|name| path.ends_with(&format!(".{name}")));
    match target {
        "temporal" | "spatial" => is_projection() && pattern.matches(path),
        _ => pattern.matches(path) || pattern.matches(&format!("{path}.weight")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(settings: &str) -> LoraConfig {
        toml::from_str(settings).unwrap()
    }

    #[test]
    fn targets_are_of_layers() {
        let (own, time) = ("input_blocks.1.1.transformer_blocks.0.attn1", "input_blocks.1.1.time_stack.0.attn1");
        let all = lora("rank = 4");
        for name in PROJECTIONS {
            assert!(all.chooses(&format!("{own}.{name}")) && all.chooses(&format!("{time}.{name}")), "{name}");
        }
        let ff = "input_blocks.1.1.time_stack.0.ff.net.2";
        assert!(!all.chooses(ff) && !all.chooses("time_embed.0"));
        let over_frames = lora("rank = 4\ntargets = [\"temporal\"]");
        assert!(over_frames.chooses(&format!("{time}.to_q")));
        assert!(!over_frames.chooses(&format!("{own}.to_q")) && !over_frames.chooses(ff));
        let by_name = lora("rank = 4\ntargets = [\"*.ff.net.2\", \"*.attn2.to_k.weight\"]");
        assert!(by_name.chooses(ff) && by_name.chooses("a.attn2.to_k") && !by_name.chooses("a.attn2.to_q"));
    }

    #[test]
    fn the_scale_is_alpha_over_rank() {
        assert_eq!((lora("rank = 8").scale(), lora("rank = 8\nalpha = 4.0").scale()), (1.0, 0.5));
    }
}
