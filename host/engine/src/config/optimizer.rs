//! Settings of the optimizer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PluginUse;

/// The optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`.
    Adamw {
        /// Base learning rate; the schedule multiplies it.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        learning_rate: f64,
        /// Decay rates of the two moments.
        #[serde(default = "betas")]
        betas: [f64; 2],
        /// Added to the root of the second moment.
        #[serde(default = "eps")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        eps: f64,
        /// Decoupled weight decay.
        #[serde(default = "hundredth")]
        #[schemars(range(min = 0.0))]
        weight_decay: f64,
        /// Divide by the largest second moment so far instead of the present one (Reddi et al. 2018).
        #[serde(default)]
        amsgrad: bool,
        /// Multiplier of the learning rate by step; constant 1 if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("x-anneal-plugin" = "learning-rate"))]
        schedule: Option<PluginUse>,
        /// How many bits the optimizer spends on what it remembers of each value.
        #[serde(default)]
        moments: Moments,
        /// Parameters with a learning rate or a weight decay of their own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<GroupConfig>,
    },
    /// Adam with weight decay added to the gradient (Kingma and Ba 2015), as `torch.optim.Adam`.
    Adam {
        /// Base learning rate; the schedule multiplies it.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        learning_rate: f64,
        /// Decay rates of the two moments.
        #[serde(default = "betas")]
        betas: [f64; 2],
        /// Added to the root of the second moment.
        #[serde(default = "eps")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        eps: f64,
        /// The parameter times this is added to the gradient.
        #[serde(default)]
        #[schemars(range(min = 0.0))]
        weight_decay: f64,
        /// Divide by the largest second moment so far instead of the present one (Reddi et al. 2018).
        #[serde(default)]
        amsgrad: bool,
        /// Multiplier of the learning rate by step; constant 1 if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("x-anneal-plugin" = "learning-rate"))]
        schedule: Option<PluginUse>,
        /// How many bits the optimizer spends on what it remembers of each value.
        #[serde(default)]
        moments: Moments,
        /// Parameters with a learning rate or a weight decay of their own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<GroupConfig>,
    },
    /// Gradient descent with momentum, as `torch.optim.SGD`.
    Sgd {
        /// Base learning rate; the schedule multiplies it.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        learning_rate: f64,
        /// Share of the momentum that each step keeps.
        #[serde(default)]
        #[schemars(range(min = 0.0))]
        momentum: f64,
        /// Share of the gradient that does not enter the momentum.
        #[serde(default)]
        dampening: f64,
        /// The parameter times this is added to the gradient.
        #[serde(default)]
        #[schemars(range(min = 0.0))]
        weight_decay: f64,
        /// Look ahead along the momentum.
        #[serde(default)]
        nesterov: bool,
        /// Multiplier of the learning rate by step; constant 1 if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("x-anneal-plugin" = "learning-rate"))]
        schedule: Option<PluginUse>,
        /// How many bits the optimizer spends on what it remembers of each value.
        #[serde(default)]
        moments: Moments,
        /// Parameters with a learning rate or a weight decay of their own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<GroupConfig>,
    },
}

impl OptimizerConfig {
    /// Base learning rate.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Adamw { learning_rate, .. } | Self::Adam { learning_rate, .. } | Self::Sgd { learning_rate, .. } => {
                *learning_rate
            }
        }
    }

    /// Moments that it keeps of each value.
    pub fn num_moments(&self) -> u64 {
        match self {
            Self::Adamw { amsgrad, .. } | Self::Adam { amsgrad, .. } => 2 + u64::from(*amsgrad),
            Self::Sgd { momentum, .. } => u64::from(*momentum != 0.0),
        }
    }

    /// Bits that a moment has.
    pub fn moments(&self) -> Moments {
        match self {
            Self::Adamw { moments, .. } | Self::Adam { moments, .. } | Self::Sgd { moments, .. } => *moments,
        }
    }

    /// Parameters that are moved in another way.
    pub fn groups(&self) -> &[GroupConfig] {
        match self {
            Self::Adamw { groups, .. } | Self::Adam { groups, .. } | Self::Sgd { groups, .. } => groups,
        }
    }

    /// Multiplier of the learning rate by step.
    pub fn schedule(&self) -> Option<&PluginUse> {
        match self {
            Self::Adamw { schedule, .. } | Self::Adam { schedule, .. } | Self::Sgd { schedule, .. } => {
                schedule.as_ref()
            }
        }
    }
}

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}
fn eps() -> f64 {
    1e-8
}
fn hundredth() -> f64 {
    0.01
}

/// What an optimizer keeps its moments in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Moments {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16, rounded up or down at random: half the memory.
    Bf16,
    /// 8 bits and a scale for each 256 values (Dettmers et al. 2022, block-wise dynamic quantization): a quarter of the
    /// memory.
    Int8,
}

impl Moments {
    /// Bytes of one moment of a parameter of `len` values.
    pub fn bytes(self, len: u64) -> u64 {
        match self {
            Self::F32 => 4 * len,
            Self::Bf16 => 2 * len,
            Self::Int8 => len + 4 * len.div_ceil(256),
        }
    }
}

/// Parameters that are moved in another way than the rest. A parameter is of the first group that takes it in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Patterns over the paths of trained parameters: `*.bias`, `*norm*`, `temporal`. Those of embedders begin with
    /// `conditioner.embedders.`.
    pub parameters: Vec<String>,
    /// Factor of the learning rate.
    #[serde(default = "unit")]
    #[schemars(range(min = 0.0))]
    pub learning_rate_factor: f64,
    /// Weight decay in place of the optimizer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
}

fn unit() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_as_large_as_they_say() {
        let bytes = [Moments::F32, Moments::Bf16, Moments::Int8].map(|moments| moments.bytes(1000));
        assert_eq!(bytes, [4000, 2000, 1000 + 4 * 4]);
    }
}
