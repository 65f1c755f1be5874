//! Learning rates by step: multipliers of the base rate.

mod cycles;

use cycles::{Cycle, Cycles};
use plugin_api::wasm::prelude::*;

/// Always 1, after an optional linear warm-up.
#[derive(Config)]
struct Constant {
    /// Steps of the warm-up: the first is `1 / warm_up_steps`, the last is 1.
    #[config(default = 0)]
    warm_up_steps: u64,
}

impl LearningRate for Constant {
    fn factor(&self, step: u64) -> Result<f64> {
        if step >= self.warm_up_steps {
            return Ok(1.0);
        }
        Ok((step + 1) as f64 / self.warm_up_steps as f64)
    }
}

/// A linear warm-up, then half a cosine down to `lr_min`, which is held.
#[derive(Config)]
#[config(check = Self::check)]
struct WarmUpCosine {
    /// Factor at the end of the decay.
    #[config(min = 0.0)]
    lr_min: f64,
    /// Factor at the end of the warm-up.
    #[config(min = 0.0)]
    lr_max: f64,
    /// Factor of step 0.
    #[config(min = 0.0)]
    lr_start: f64,
    /// Steps of the warm-up.
    warm_up_steps: u64,
    /// The step at which the decay ends, counted from 0.
    max_decay_steps: u64,
}

impl WarmUpCosine {
    fn check(&self) -> Result<(), ConfigError> {
        if self.warm_up_steps < self.max_decay_steps {
            return Ok(());
        }
        let message = format!("{} is not above warm_up_steps = {}", self.max_decay_steps, self.warm_up_steps);
        Err(ConfigError::new("/max_decay_steps", message))
    }
}

impl LearningRate for WarmUpCosine {
    fn factor(&self, step: u64) -> Result<f64> {
        let cycle = Cycle {
            warm_up_steps: self.warm_up_steps,
            length: self.max_decay_steps,
            start: self.lr_start,
            max: self.lr_max,
            min: self.lr_min,
        };
        Ok(cycle.cosine(step))
    }
}

/// Cycles, one for each position in the lists. Past the last cycle its last factor is held.
#[derive(Config)]
struct CyclesConfig {
    /// Steps of each warm-up.
    warm_up_steps: Vec<u64>,
    /// Factor at the end of each cycle.
    #[config(min = 0.0)]
    f_min: Vec<f64>,
    /// Factor at the end of each warm-up.
    #[config(min = 0.0)]
    f_max: Vec<f64>,
    /// Factor of each cycle's first step.
    #[config(min = 0.0)]
    f_start: Vec<f64>,
    /// Steps of each cycle, the warm-up included.
    #[config(min = 1)]
    cycle_lengths: Vec<u64>,
}

/// Cycles that fall in half a cosine.
struct WarmUpCosine2(Cycles);

impl Entry for WarmUpCosine2 {
    type Config = CyclesConfig;

    fn new(config: CyclesConfig) -> Result<Self> {
        Cycles::new(config).map(Self)
    }
}

impl LearningRate for WarmUpCosine2 {
    fn factor(&self, step: u64) -> Result<f64> {
        let (cycle, within) = self.0.at(step);
        Ok(cycle.cosine(within))
    }
}

/// Cycles that fall in a straight line, which is counted from the start of the cycle, not from the end of its warm-up.
struct Linear(Cycles);

impl Entry for Linear {
    type Config = CyclesConfig;

    fn new(config: CyclesConfig) -> Result<Self> {
        Cycles::new(config).map(Self)
    }
}

impl LearningRate for Linear {
    fn factor(&self, step: u64) -> Result<f64> {
        let (cycle, within) = self.0.at(step);
        Ok(cycle.linear(within))
    }
}

export_plugin! {
    learning_rate
        "constant" => Constant,
        "linear" => Linear,
        "warm-up-cosine" => WarmUpCosine,
        "warm-up-cosine-2" => WarmUpCosine2,
}

#[cfg(test)]
mod tests;
