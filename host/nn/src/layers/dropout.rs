//! Dropout.

use tch::Tensor;

/// Zeroes each value with probability `p` and scales the rest by `1/(1-p)`; the input itself unless training.
///
/// # Shapes
/// - `x`, result: any
pub fn dropout(x: Tensor, p: f64, train: bool) -> Tensor {
    if train && p > 0.0 { x.dropout(p, true) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn drops_only_in_training() {
        let ones = || Tensor::ones([1000], (Kind::Float, Device::Cpu));
        assert!(dropout(ones(), 0.5, false).equal(&ones()));
        let kept = dropout(ones(), 0.25, true).count_nonzero(None::<i64>).int64_value(&[]);
        assert!((650..850).contains(&kept), "{kept}");
    }
}
