//! Activations that libtorch has only as several operations.

use tch::Tensor;

use crate::ffi::{self, TorchError, check};

/// GEGLU (Shazeer 2020) of `x + bias`: the first half of the last axis is the value, the second the gate; `value *
/// gelu(gate)` with the exact GELU. On the CPU in f32 it is one pass over memory, and only the input is kept for backward.
///
/// # Shapes
/// - `x`: `[..., 2*h]`
/// - `bias`: `[2*h]`
/// - result: `[..., h]`
///
/// # Errors
/// When the last axis is odd, or the bias has another length.
pub fn geglu(x: &Tensor, bias: &Tensor) -> Result<Tensor, TorchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: the handles are live for the call, and on success `out` is a new tensor that we own.
    unsafe {
        check(ffi::anneal_torch_geglu(x.as_ptr().cast_mut(), bias.as_ptr().cast_mut(), &raw mut out))?;
        Ok(Tensor::from_ptr(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Libtorch's own operations, in f64.
    fn written_out(x: &Tensor, bias: &Tensor) -> Tensor {
        let halves = (x.to_kind(Kind::Double) + bias.to_kind(Kind::Double)).chunk(2, -1);
        &halves[0] * halves[1].gelu("none")
    }

    fn close(got: &Tensor, want: &Tensor, tolerance: f64) {
        assert_eq!(got.size(), want.size());
        let worst = ((got.to_kind(Kind::Double) - want).abs() / (want.abs() + 1.0)).max().double_value(&[]);
        assert!(worst < tolerance, "{worst}");
    }

    #[test]
    fn values_and_gradients_are_the_exact_ones() {
        let gates = Tensor::linspace(-20.0, 20.0, 5003, F32);
        let values = Tensor::linspace(3.0, -2.0, 5003, F32);
        let x = Tensor::stack(&[values, gates], 1).set_requires_grad(true);
        let bias = Tensor::from_slice(&[0.5f32, -0.25]).set_requires_grad(true);
        let y = geglu(&x, &bias).unwrap();
        close(&y, &written_out(&x, &bias), 2e-6);
        let grads = |y: &Tensor| Tensor::run_backward(&[(y * y).mean(Kind::Float)], &[&x, &bias], true, false);
        for (got, want) in grads(&y).iter().zip(grads(&written_out(&x, &bias))) {
            close(got, &want.to_kind(Kind::Double), 1e-5);
        }
    }

    #[test]
    fn rows_and_views_keep_their_places() {
        let x = Tensor::randn([6, 5, 14], F32).transpose(0, 1);
        let bias = Tensor::randn([14], F32);
        close(&geglu(&x, &bias).unwrap(), &written_out(&x, &bias), 2e-6);
        let half = x.to_kind(Kind::BFloat16);
        assert_eq!(geglu(&half, &bias).unwrap().kind(), Kind::BFloat16);
        close(&geglu(&half, &bias).unwrap(), &written_out(&half, &bias), 4e-2);
    }

    #[test]
    fn what_is_not_finite_shows_and_misfits_are_errors() {
        let zeros = |n: i64| Tensor::zeros([n], F32);
        assert!(geglu(&Tensor::from_slice(&[1f32, f32::NAN]), &zeros(2)).unwrap().double_value(&[0]).is_nan());
        assert!(geglu(&zeros(3), &zeros(3)).is_err());
        assert!(geglu(&zeros(4), &zeros(2)).is_err());
    }
}
