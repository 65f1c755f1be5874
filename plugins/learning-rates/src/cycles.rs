//! Cycles of a warm-up and a decay.

use std::f64::consts::PI;

use plugin_api::wasm::{Error, Result};

use crate::CyclesConfig;

/// One warm-up and the decay after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cycle {
    pub warm_up_steps: u64,
    /// Steps, the warm-up included.
    pub length: u64,
    pub start: f64,
    pub max: f64,
    pub min: f64,
}

impl Cycle {
    fn warm_up(&self, step: u64) -> Option<f64> {
        (step < self.warm_up_steps)
            .then(|| self.start + (self.max - self.start) / self.warm_up_steps as f64 * step as f64)
    }

    /// Warm-up, then half a cosine.
    pub fn cosine(&self, step: u64) -> f64 {
        self.warm_up(step).unwrap_or_else(|| {
            let decayed = (step - self.warm_up_steps) as f64 / (self.length - self.warm_up_steps) as f64;
            self.min + 0.5 * (self.max - self.min) * (1.0 + (decayed.min(1.0) * PI).cos())
        })
    }

    /// Warm-up, then a straight line that would have begun with the cycle. So the factor jumps where the warm-up ends;
    /// the reference's schedules have it so, and published settings count on it.
    pub fn linear(&self, step: u64) -> f64 {
        self.warm_up(step).unwrap_or_else(|| {
            let left = self.length.saturating_sub(step) as f64 / self.length as f64;
            self.min + (self.max - self.min) * left
        })
    }
}

/// Cycles one after the other.
#[derive(Debug)]
pub struct Cycles {
    cycles: Vec<Cycle>,
}

impl Cycles {
    /// Cycles from lists of equal length.
    ///
    /// # Errors
    /// When there is no cycle, the lists differ in length, or a warm-up fills its cycle.
    pub fn new(config: CyclesConfig) -> Result<Self> {
        let count = config.cycle_lengths.len();
        if count == 0 {
            return Err(Error::invalid_config("/cycle_lengths", "no cycles"));
        }
        let lengths = [
            ("/warm_up_steps", config.warm_up_steps.len()),
            ("/f_min", config.f_min.len()),
            ("/f_max", config.f_max.len()),
            ("/f_start", config.f_start.len()),
        ];
        if let Some((path, length)) = lengths.into_iter().find(|(_, length)| *length != count) {
            return Err(Error::invalid_config(path, format!("{length} values for {count} cycles")));
        }
        if let Some(idx) = (0..count).find(|&idx| config.warm_up_steps[idx] >= config.cycle_lengths[idx]) {
            let (warm_up, length) = (config.warm_up_steps[idx], config.cycle_lengths[idx]);
            let message = format!("a warm-up of {warm_up} steps fills its cycle of {length}");
            return Err(Error::invalid_config(format!("/warm_up_steps/{idx}"), message));
        }
        let cycle = |idx: usize| Cycle {
            warm_up_steps: config.warm_up_steps[idx],
            length: config.cycle_lengths[idx],
            start: config.f_start[idx],
            max: config.f_max[idx],
            min: config.f_min[idx],
        };
        Ok(Self { cycles: (0..count).map(cycle).collect() })
    }

    /// The cycle of a step, and the step within it. A cycle's end belongs to it; the last cycle's end is held.
    pub fn at(&self, step: u64) -> (&Cycle, u64) {
        let (last, earlier) = self.cycles.split_last().expect("there is at least one cycle");
        let mut within = step;
        for cycle in earlier {
            if within <= cycle.length {
                return (cycle, within);
            }
            within -= cycle.length;
        }
        (last, within.min(last.length))
    }
}
