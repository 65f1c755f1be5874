//! Tensors made where another one is, which may be where tensors have no values: tch has no name for that place.

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ffi::{self, check};

/// The numbers 0, 1, .. where `like` is.
///
/// # Shapes
/// - result: `[n]` f32
///
/// # Panics
/// When libtorch cannot make it, as tch's own operations do.
pub fn count_to(n: i64, like: &Tensor) -> Tensor {
    // SAFETY: `like` is alive during the call; on success the shim hands over one owned tensor.
    made(|out| unsafe { ffi::anneal_torch_arange_like(n, like.as_ptr().cast_mut(), out) })
}

/// Zeros where `like` is.
///
/// # Shapes
/// - result: `shape`, f32
///
/// # Panics
/// When libtorch cannot make them, as tch's own operations do.
pub fn zeros_at(shape: &[i64], like: &Tensor) -> Tensor {
    // SAFETY: as above; the shape has as many numbers as the shim is told.
    made(|out| unsafe { ffi::anneal_torch_zeros_like(shape.as_ptr(), shape.len(), like.as_ptr().cast_mut(), out) })
}

/// `tensor` where `like` is.
///
/// # Panics
/// When libtorch cannot move it, as tch's own operations do.
pub fn moved_to(tensor: &Tensor, like: &Tensor) -> Tensor {
    // SAFETY: as above, for both tensors.
    made(|out| unsafe { ffi::anneal_torch_to_like(tensor.as_ptr().cast_mut(), like.as_ptr().cast_mut(), out) })
}

fn made(call: impl FnOnce(*mut *mut C_tensor) -> std::ffi::c_int) -> Tensor {
    let mut out = std::ptr::null_mut();
    check(call(&raw mut out)).unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the shim has written an owned tensor.
    unsafe { Tensor::from_ptr(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{empty_meta, is_meta};
    use tch::{Device, Kind};

    #[test]
    fn tensors_come_where_others_are() {
        let here = Tensor::ones([1], (Kind::Double, Device::Cpu));
        assert_eq!(Vec::<f32>::try_from(count_to(3, &here)).unwrap(), [0.0, 1.0, 2.0]);
        let zeros = zeros_at(&[2, 1], &here);
        assert_eq!((zeros.size(), zeros.kind(), zeros.double_value(&[1, 0])), (vec![2, 1], Kind::Float, 0.0));
        assert!(moved_to(&here, &zeros).equal(&here));

        let nowhere = empty_meta(&[4], Kind::Half).unwrap();
        let (count, zeros, moved) = (count_to(3, &nowhere), zeros_at(&[5], &nowhere), moved_to(&here, &nowhere));
        assert!(is_meta(&count) && is_meta(&zeros) && is_meta(&moved));
        assert_eq!((count.size(), zeros.size(), moved.kind()), (vec![3], vec![5], Kind::Double));
    }
}
