//! The learning rate by step, fetched from its plugin in blocks.

use crate::diffusion::LearningRate;
use crate::error::ComponentError;

/// Steps fetched in one call: at this length a call a block costs nanoseconds a step.
const BLOCK: u64 = 1024;

/// `base * factor(step)`.
pub struct Schedule {
    base: f64,
    plugin: Option<Box<dyn LearningRate>>,
    first: u64,
    factors: Vec<f64>,
}

impl Schedule {
    /// The schedule of `base` under `plugin`; constant without one.
    pub fn new(base: f64, plugin: Option<Box<dyn LearningRate>>) -> Self {
        Self { base, plugin, first: 0, factors: Vec::new() }
    }

    /// The learning rate of a step, counted from 0.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn at(&mut self, step: u64) -> Result<f64, ComponentError> {
        let Some(plugin) = &mut self.plugin else { return Ok(self.base) };
        let first = step - step % BLOCK;
        if self.factors.is_empty() || first != self.first {
            self.factors = plugin.factors(first, BLOCK as u32)?;
            self.first = first;
        }
        Ok(self.base * self.factors[(step - first) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ramp(std::sync::Arc<std::sync::atomic::AtomicU32>);

    impl LearningRate for Ramp {
        fn factors(&mut self, first: u64, count: u32) -> Result<Vec<f64>, ComponentError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok((first..first + u64::from(count)).map(|step| step as f64).collect())
        }
    }

    #[test]
    fn steps_are_served_from_blocks_in_any_order() {
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let mut schedule = Schedule::new(0.5, Some(Box::new(Ramp(calls.clone()))));
        for step in [0, 1, 1023, 1024, 5000, 3] {
            assert_eq!(schedule.at(step).unwrap(), 0.5 * step as f64);
        }
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 4);
        assert_eq!(Schedule::new(0.5, None).at(9).unwrap(), 0.5);
    }
}
