//! Ramps and waves over the frames of a clip.

/// `count` values from `start` to `end`; a single one is `start`.
pub fn linspace(start: f64, end: f64, count: u32) -> impl DoubleEndedIterator<Item = f64> + Clone {
    let last = f64::from(count.max(2) - 1);
    (0..count).map(move |i| start + f64::from(i) / last * (end - start))
}

/// A wave of period 1 that is 0 at whole numbers and 1 halfway between them.
pub fn triangle(at: f64) -> f64 {
    2.0 * (at - (at + 0.5).floor()).abs()
}
