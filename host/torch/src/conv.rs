//! Convolutions that keep the size of their input, by the fastest way there is for them.

use tch::Tensor;

use crate::ffi::{self, TorchError, check};

/// A convolution of stride 1 with padding `kh/2` and `kw/2`.
///
/// On the CPU in f32 images of few pixels (up to 4x4) become one matrix product, and wide convolutions of 3x3 and 3x1
/// go by Winograd's minimal filtering, whose results differ from the direct sum by about 1e-5 of the largest. Anything else is
/// libtorch's own convolution.
///
/// # Shapes
/// - `x`: `[n, c, h, w]`
/// - `weight`: `[c_out, c, kh, kw]`, `kh` and `kw` odd
/// - `bias`: `[c_out]`
/// - result: `[n, c_out, h, w]`
///
/// # Errors
/// When shapes do not fit or a kernel is even.
pub fn conv_same(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, TorchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: the handles are live for the call, and on success `out` is a new tensor that we own.
    unsafe {
        check(ffi::anneal_torch_conv_same(
            x.as_ptr().cast_mut(),
            weight.as_ptr().cast_mut(),
            bias.as_ptr().cast_mut(),
            &raw mut out,
        ))?;
        Ok(Tensor::from_ptr(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn agrees(n: i64, c: i64, c_out: i64, [h, w]: [i64; 2], [kh, kw]: [i64; 2]) {
        let leaf = |shape: &[i64]| Tensor::randn(shape, F32).set_requires_grad(true);
        let (x, weight, bias) = (leaf(&[n, c, h, w]), leaf(&[c_out, c, kh, kw]), leaf(&[c_out]));
        let cotangent = Tensor::randn([n, c_out, h, w], F32);
        let grads =
            |y: &Tensor| Tensor::run_backward(&[(y * &cotangent).sum(Kind::Float)], &[&x, &weight, &bias], true, false);
        let got = conv_same(&x, &weight, &bias).unwrap();
        let want = x.conv2d(&weight, Some(&bias), [1, 1], [kh / 2, kw / 2], [1, 1], 1);
        let mut pairs = vec![(got.copy(), want.copy())];
        pairs.extend(grads(&got).into_iter().zip(grads(&want)));
        for (got, want) in pairs {
            assert_eq!(got.size(), want.size());
            let (worst, largest) = ((&got - &want).abs().max().double_value(&[]), want.abs().max().double_value(&[]));
            assert!(worst < 3e-5 * largest, "{worst} of {largest}");
        }
    }

    #[test]
    fn equals_the_convolution_in_values_and_gradients() {
        agrees(3, 5, 7, [4, 4], [3, 3]);
        agrees(2, 4, 3, [2, 2], [3, 3]);
        agrees(1, 1, 2, [1, 1], [3, 3]);
        agrees(2, 3, 4, [2, 5], [3, 1]);
        agrees(2, 3, 4, [3, 2], [5, 3]);
        agrees(2, 32, 40, [8, 8], [3, 3]);
        agrees(3, 37, 33, [9, 11], [3, 3]);
        agrees(1, 64, 32, [16, 5], [3, 3]);
        agrees(2, 4, 5, [9, 9], [3, 3]);
        agrees(1, 32, 48, [8, 9], [3, 1]);
        agrees(2, 37, 33, [5, 16], [3, 1]);
        agrees(2, 32, 32, [14, 7], [3, 1]);
    }

    #[test]
    fn inputs_need_not_be_contiguous_and_kinds_other_than_f32_work() {
        let x = Tensor::randn([3, 2, 4, 4], F32).transpose(0, 1);
        let (weight, bias) = (Tensor::randn([5, 3, 3, 3], F32), Tensor::randn([5], F32));
        let want = conv_same(&x.contiguous(), &weight, &bias).unwrap();
        assert!(conv_same(&x, &weight, &bias).unwrap().equal(&want));
        let double = |t: &Tensor| t.to_kind(Kind::Double);
        let same = conv_same(&double(&x), &double(&weight), &double(&bias)).unwrap() - double(&want);
        assert!(same.abs().max().double_value(&[]) < 1e-4);
    }

    #[test]
    fn misfits_are_errors() {
        let (x, bias) = (Tensor::zeros([1, 2, 4, 4], F32), Tensor::zeros([3], F32));
        assert!(conv_same(&x, &Tensor::zeros([3, 2, 2, 2], F32), &bias).is_err());
        assert!(conv_same(&x, &Tensor::zeros([3, 4, 3, 3], F32), &bias).is_err());
    }
}
