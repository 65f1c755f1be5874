//! Whether a step may move the weights.

use std::collections::VecDeque;
use std::fmt;

use super::checkpoint::Position;
use crate::config::{GuardsConfig, Policy};

/// The standard deviation of normal numbers, in median distances from the median.
const DEVIATIONS: f64 = 1.4826;

/// What is wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// The loss or the gradient is not finite.
    NonFinite,
    /// The loss is far above those before it.
    Spike {
        /// The median of those before it.
        median: f64,
        /// Their typical deviation from it.
        deviation: f64,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonFinite => f.write_str("not finite"),
            Self::Spike { median, deviation } => {
                write!(f, "a spike above losses of {median:.4} that typically deviate by {deviation:.4}")
            }
        }
    }
}

/// A step that the guard let move nothing.
#[derive(Debug)]
pub struct Refused {
    /// The step it would have been, counted from 1.
    pub step: u64,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// Mean loss of its batches.
    pub loss: f64,
    /// L2 norm of the whole gradient.
    pub grad_norm: f64,
    /// Where the run is when its batches are left out.
    pub position: Position,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, trouble, loss, grad_norm, .. } = self;
        write!(f, "step {step}: the loss is {loss} and the gradient's norm {grad_norm}, {trouble}")
    }
}

/// Looks at steps before they move anything.
#[derive(Debug, Default)]
pub struct Guard {
    settings: GuardsConfig,
    /// Losses of the last steps, oldest first.
    losses: VecDeque<f64>,
    /// Steps left out since the last that was made.
    pub(super) skipped: u32,
    /// How often the run went back.
    pub(super) rolled_back: u32,
    /// Replays written.
    pub(super) replays: u32,
}

impl Guard {
    /// A guard that has seen nothing.
    pub fn new(settings: GuardsConfig) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What is wrong with a step of this loss and this norm of its gradient.
    pub fn judge(&self, loss: f64, grad_norm: f64) -> Option<Trouble> {
        if !(loss.is_finite() && grad_norm.is_finite()) {
            return Some(Trouble::NonFinite);
        }
        let spike = self.settings.spike.as_ref().filter(|spike| self.losses.len() >= spike.window)?;
        let median = median(self.losses.iter().copied());
        let deviation = DEVIATIONS * self::median(self.losses.iter().map(|loss| (loss - median).abs()));
        // Losses that are all alike have no deviation; then any other is far away.
        (loss - median > spike.threshold * deviation).then_some(Trouble::Spike { median, deviation })
    }

    /// Takes note of a step that was made.
    pub fn accept(&mut self, loss: f64) {
        self.skipped = 0;
        let Some(spike) = &self.settings.spike else { return };
        self.losses.push_back(loss);
        while self.losses.len() > spike.window {
            self.losses.pop_front();
        }
    }

    /// What is done about a trouble.
    pub(super) fn policy(&self, trouble: Trouble) -> Policy {
        match (trouble, &self.settings.spike) {
            (Trouble::Spike { .. }, Some(spike)) => spike.policy,
            _ => self.settings.non_finite,
        }
    }

    pub(super) fn settings(&self) -> &GuardsConfig {
        &self.settings
    }

    /// The losses that spikes are told by, for a checkpoint.
    pub fn losses(&self) -> Vec<f64> {
        self.losses.iter().copied().collect()
    }

    /// Goes on with the losses of a checkpoint.
    pub fn set_losses(&mut self, losses: &[f64]) {
        self.losses = losses.iter().copied().collect();
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpikeConfig;

    fn guard() -> Guard {
        let spike = Some(SpikeConfig { threshold: 10.0, window: 16, policy: Policy::RollBack });
        Guard::new(GuardsConfig { spike, non_finite: Policy::Skip, ..GuardsConfig::default() })
    }

    #[test]
    fn what_is_not_finite_is_trouble_without_any_past() {
        let guard = guard();
        for (loss, norm) in [(f64::NAN, 1.0), (1.0, f64::INFINITY), (f64::NEG_INFINITY, 1.0)] {
            assert_eq!(guard.judge(loss, norm), Some(Trouble::NonFinite));
        }
        assert_eq!(guard.judge(1e30, 1e30), None);
        assert_eq!(guard.policy(Trouble::NonFinite), Policy::Skip);
    }

    #[test]
    fn a_spike_is_far_above_the_losses_before_it_and_outliers_do_not_hide_it() {
        let mut guard = guard();
        for i in 0..40 {
            // Two of sixteen are far away, which a mean would be moved by.
            guard.accept(if i % 8 == 0 { 50.0 } else { 1.0 + 0.01 * f64::from(i % 5) });
        }
        assert_eq!(guard.losses().len(), 16);
        assert_eq!(guard.judge(1.1, 1.0), None);
        assert_eq!(guard.judge(0.0, 1.0), None, "what is low is welcome");
        let trouble = guard.judge(2.0, 1.0).unwrap();
        assert_eq!(guard.policy(trouble), Policy::RollBack);
        assert!(trouble.to_string().starts_with("a spike above losses of 1.0"), "{trouble}");
        let mut fresh = self::guard();
        assert_eq!(fresh.judge(2.0, 1.0), None);
        fresh.set_losses(&guard.losses());
        assert_eq!(fresh.judge(2.0, 1.0), Some(trouble));
    }
}
