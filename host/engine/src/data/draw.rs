//! Choices among things that are counted.

/// The thing that `share`, uniform in `[0, 1)`, falls on, of `count`.
pub(super) fn pick(share: f64, count: usize) -> usize {
    ((share * count as f64) as usize).min(count.saturating_sub(1))
}
