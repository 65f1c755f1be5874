//! What a computation allocates and multiplies, counted as it runs: with values, or without on the meta device.

use std::ffi::c_int;

use tch::Device;

use crate::ffi::{self, TorchError, check};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Most bytes of tensors at a time, beyond those that lived before.
    pub peak: u64,
    /// Bytes of tensors that live afterwards beyond those that lived before.
    pub kept: u64,
    /// Multiplications and additions of matrix products, convolutions and attention. Convolutions and attention count on the
    /// meta device alone.
    pub flops: u64,
}

/// Runs `f` and counts what this thread allocates for tensors on the CPU and on the meta device.
///
/// # Errors
/// When libtorch refuses, which would be a bug.
pub fn count<R>(f: impl FnOnce() -> R) -> Result<(R, Counted), TorchError> {
    count_for(Device::Cpu, f)
}

/// As [`count`], with tensors without values counted as `device` would hold them: its operations may keep other tensors.
///
/// # Errors
/// As [`count`].
pub fn count_for<R>(device: Device, f: impl FnOnce() -> R) -> Result<(R, Counted), TorchError> {
    let (mut before, mut after, mut peak, mut flops) = (0, 0, 0, 0);
    // SAFETY: the shim writes one number.
    check(unsafe { ffi::anneal_torch_count(c_int::from(device == Device::Cpu), &raw mut before) })?;
    let result = f();
    // SAFETY: the shim writes three numbers.
    check(unsafe { ffi::anneal_torch_counted(&raw mut after, &raw mut peak, &raw mut flops) })?;
    let positive = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok((result, Counted { peak: positive(peak - before), kept: positive(after - before), flops: positive(flops) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::empty_meta;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn the_peak_is_of_what_lives_at_once() {
        let ones = |kib: i64| Tensor::ones([kib, 256], (Kind::Float, Device::Cpu));
        let before = ones(64);
        let (_, counted) = count(|| {
            drop(ones(300));
            drop((ones(100), ones(50)));
            drop(before);
        })
        .unwrap();
        assert_eq!(counted, Counted { peak: 300 << 10, kept: 0, flops: 0 });
        let (kept, counted) = count(|| ones(10).matmul(&ones(256).transpose(0, 1))).unwrap();
        assert_eq!(counted, Counted { peak: (10 + 256 + 10) << 10, kept: 10 << 10, flops: 2 * 10 * 256 * 256 });
        drop(kept);
    }

    /// Shapes, memory and operations of a block with a gradient, of a size that no machine could hold.
    #[test]
    fn what_has_no_values_is_counted_as_well() {
        let empty = |shape: &[i64]| empty_meta(shape, Kind::Float).unwrap().set_requires_grad(true);
        let (n, c, side) = (1 << 10, 1 << 10, 1 << 9);
        let (x, weight, scale) = (empty(&[n, c, side, side]), empty(&[c, c, 3, 3]), empty(&[c]));
        let numel = (n * c * side * side) as u64;
        let block = || {
            let out = x.conv2d(&weight, Some(&scale), [1, 1], [1, 1], [1, 1], 1);
            out.group_norm(32, Some(&scale), Some(&scale), 1e-5, false).silu()
        };
        let (out, counted) = count_for(Device::Cuda(0), block).unwrap();
        assert_eq!(out.size(), x.size());
        assert_eq!(counted.flops, 2 * 9 * numel * c as u64);
        let moments = 2 * 4 * (n * 32) as u64;
        assert_eq!(counted.peak, 3 * 4 * numel + moments, "the outputs of the three");
        let (_, on_cpu) = count_for(Device::Cpu, block).unwrap();
        // Winograd's convolution makes 36 numbers of 16, of its input and of its output, and of 9 weights.
        let transformed = 4 * (36 * (2 * numel / 16 + (c * c) as u64));
        assert_eq!((on_cpu.peak, on_cpu.flops), (transformed, counted.flops));
        let (_, backward) = count(|| out.sum(Kind::Float).backward()).unwrap();
        assert_eq!(backward.flops, 2 * counted.flops);
        assert_eq!(x.grad().size(), x.size());

        let [q, k] = [4096, 77].map(|s| empty(&[2, 8, s, 64]));
        let attend = || Tensor::scaled_dot_product_attention(&q, &k, &k, None::<&Tensor>, 0.0, false, None, false);
        let (out, counted) = count(attend).unwrap();
        assert_eq!((out.size(), counted.flops), (q.size(), 4 * 2 * 8 * 4096 * 77 * 64));
        assert_eq!(counted.peak, 4 * 2 * 8 * 4096 * (64 + 1), "no scores are kept");
        out.sum(Kind::Float).backward();
        assert_eq!(k.grad().size(), k.size());
    }
}
