//! What a run does when a step goes wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done about a step whose loss or gradient is not finite, or whose loss is far from the usual. It is found before the
/// optimizer moves anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardsConfig {
    /// Where the loss or the gradient is not finite.
    pub non_finite: Policy,
    /// Where the loss is far above those before it; not looked at if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spike: Option<SpikeConfig>,
    /// Steps that may be left out in a row; one more stops the run.
    pub skips_max: u32,
    /// How often the run may go back to a checkpoint; once more stops it.
    pub roll_backs_max: u32,
    /// How many replays of such steps are written. One holds the whole state.
    pub replays_max: u32,
}

impl Default for GuardsConfig {
    fn default() -> Self {
        Self { non_finite: Policy::Stop, spike: None, skips_max: 10, roll_backs_max: 3, replays_max: 2 }
    }
}

/// What is done about a step that went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The run ends; the newest checkpoint stays as it is.
    Stop,
    /// Its batches are left out, and the next ones take their place.
    Skip,
    /// The state of the newest checkpoint is taken up again, with the batches that come next.
    RollBack,
}

/// When a loss is a spike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpikeConfig {
    /// How far above the median of the losses before it, in their typical deviations (1.4826 times the median distance from
    /// the median, which is the standard deviation of normal numbers).
    #[serde(default = "ten")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub threshold: f64,
    /// How many losses before it are looked at. With fewer than that nothing is a spike.
    #[serde(default = "window")]
    #[schemars(range(min = 16, max = 10000))]
    pub window: usize,
    /// What is done about it.
    #[serde(default = "skip")]
    pub policy: Policy,
}

fn ten() -> f64 {
    10.0
}
fn window() -> usize {
    200
}
fn skip() -> Policy {
    Policy::Skip
}
