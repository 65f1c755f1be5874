//! Activations that libtorch has only as several operations.

use tch::Tensor;

use crate::ffi::{self, TorchError, check};

/// GEGLU (Shazeer 2020): the first half of the last axis is the value, the second the gate; `value * gelu(gate)` with the
/// exact GELU. On the CPU in f32 it is one pass over memory, and only the input is kept for backward.
///
/// # Shapes
/// - `x`: `[..., 2*h]`
/// - result: `[..., h]`
///
/// # Errors
/// When the last axis is odd.
pub fn geglu(x: &Tensor) -> Result<Tensor, TorchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: the handle is live for the call, and on success `out` is a new tensor that we own.
    unsafe {
        check(ffi::anneal_torch_geglu(x.as_ptr().cast_mut(), &raw mut out))?;
        Ok(Tensor::from_ptr(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// Libtorch's own operations, in f64.
    fn written_out(x: &Tensor) -> Tensor {
        let halves = x.to_kind(Kind::Double).chunk(2, -1);
        &halves[0] * halves[1].gelu("none")
    }

    fn close(got: &Tensor, want: &Tensor, tolerance: f64) {
        assert_eq!(got.size(), want.size());
        let worst = ((got.to_kind(Kind::Double) - want).abs() / (want.abs() + 1.0)).max().double_value(&[]);
        assert!(worst < tolerance, "{worst}");
    }

    #[test]
    fn values_and_gradients_are_the_exact_ones() {
        let gates = Tensor::linspace(-20.0, 20.0, 5003, (Kind::Float, Device::Cpu));
        let values = Tensor::linspace(3.0, -2.0, 5003, (Kind::Float, Device::Cpu));
        let x = Tensor::stack(&[values, gates], 1).set_requires_grad(true);
        let y = geglu(&x).unwrap();
        close(&y, &written_out(&x), 2e-6);
        let grad = |y: &Tensor| Tensor::run_backward(&[(y * y).sum(Kind::Float)], &[&x], true, false).remove(0);
        close(&grad(&y), &grad(&written_out(&x)).to_kind(Kind::Double), 5e-6);
    }

    #[test]
    fn rows_and_views_keep_their_places() {
        let x = Tensor::randn([6, 5, 14], (Kind::Float, Device::Cpu)).transpose(0, 1);
        close(&geglu(&x).unwrap(), &written_out(&x), 2e-6);
        let half = x.to_kind(Kind::BFloat16);
        assert_eq!(geglu(&half).unwrap().kind(), Kind::BFloat16);
        close(&geglu(&half).unwrap(), &written_out(&half), 2e-2);
    }

    #[test]
    fn what_is_not_finite_shows() {
        let x = Tensor::from_slice(&[1f32, f32::NAN]);
        assert!(geglu(&x).unwrap().double_value(&[0]).is_nan());
        assert!(geglu(&Tensor::zeros([3], (Kind::Float, Device::Cpu))).is_err());
    }
}
