//! What tch lacks on single tensors: gradients as views, version counters, meta tensors, raw handles.

use std::ffi::CStr;
use std::mem::ManuallyDrop;

use tch::kind::Element;
use tch::{Device, Kind, Tensor};

use crate::ffi::{self, TorchError, check};

/// Has every gradient of `param`, a leaf, arrive in `home`: the first after [`clear_grad`] replaces what is there, the next
/// ones are added.
///
/// # Errors
/// When shapes, kinds or devices differ.
pub fn keep_grad_in(param: &Tensor, home: &Tensor) -> Result<(), TorchError> {
    // SAFETY: both handles are live for the call; the shim takes a reference of its own on `home`.
    check(unsafe { ffi::anneal_torch_keep_grad_in(param.as_ptr().cast_mut(), home.as_ptr().cast_mut()) })
}

/// Leaves `param` without a gradient.
pub fn clear_grad(param: &Tensor) {
    // SAFETY: the handle is live for the call, and dropping a gradient cannot fail.
    unsafe { ffi::anneal_torch_clear_grad(param.as_ptr().cast_mut()) };
}

/// Whether backward has given `param` a gradient.
pub fn has_grad(param: &Tensor) -> bool {
    // SAFETY: the handle is live for the call.
    unsafe { ffi::anneal_torch_has_grad(param.as_ptr().cast_mut()) != 0 }
}

/// How often `tensor` was written to in place.
pub fn version(tensor: &Tensor) -> i64 {
    // SAFETY: the handle is live for the call.
    unsafe { ffi::anneal_torch_version_counter(tensor.as_ptr().cast_mut()) }
}

/// The values of `parts` one after another, as a tensor on the CPU. They are copied once.
///
/// # Panics
/// When the parts do not have as many values as `shape` holds.
pub fn joined<T: Element>(parts: &[&[T]], shape: &[i64]) -> Tensor {
    let count: usize = parts.iter().map(|part| part.len()).sum();
    assert_eq!(shape.iter().product::<i64>(), count as i64, "values of a tensor of shape {shape:?}");
    let tensor = Tensor::empty(shape, (T::KIND, Device::Cpu));
    let mut to = tensor.data_ptr().cast::<T>();
    for part in parts {
        // SAFETY: the new tensor is contiguous and has room for all parts, which nothing else points into.
        unsafe {
            to.copy_from_nonoverlapping(part.as_ptr(), part.len());
            to = to.add(part.len());
        }
    }
    tensor
}

/// A tensor with a shape and a kind, but no values.
///
/// # Errors
/// When a size is negative.
pub fn empty_meta(shape: &[i64], kind: Kind) -> Result<Tensor, TorchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: the shape outlives the call, and on success `out` is a new tensor that we own.
    unsafe {
        check(ffi::anneal_torch_empty_meta(shape.as_ptr(), shape.len(), ffi::scalar_type(kind), &raw mut out))?;
        Ok(Tensor::from_ptr(out))
    }
}

/// Whether a tensor has no values.
pub fn is_meta(tensor: &Tensor) -> bool {
    // SAFETY: the handle is live for the call.
    unsafe { ffi::anneal_torch_is_meta(tensor.as_ptr().cast_mut()) != 0 }
}

/// libtorch's version, `2.11.0`.
pub fn torch_version() -> &'static str {
    // SAFETY: a constant NUL-terminated text.
    unsafe { CStr::from_ptr(ffi::anneal_torch_version()) }.to_str().unwrap_or_default()
}

/// Lends a tensor that belongs to someone else for as long as `'a` lasts.
///
/// # Safety
/// `handle` must be a live `at::Tensor*` of this process's libtorch, and outlive the result.
pub unsafe fn borrow(handle: *mut std::ffi::c_void) -> ManuallyDrop<Tensor> {
    // SAFETY: as the caller promises; ManuallyDrop leaves the handle to its owner.
    ManuallyDrop::new(unsafe { Tensor::from_ptr(handle.cast()) })
}

/// Takes over a tensor.
///
/// # Safety
/// `handle` must be a live `at::Tensor*` of this process's libtorch that nobody else frees.
pub unsafe fn adopt(handle: *mut std::ffi::c_void) -> Tensor {
    // SAFETY: as the caller promises.
    unsafe { Tensor::from_ptr(handle.cast()) }
}

/// Gives a tensor away; who gets the handle must adopt it.
pub fn release(tensor: Tensor) -> *mut std::ffi::c_void {
    ManuallyDrop::new(tensor).as_mut_ptr().cast()
}

/// The handle of a tensor, to be borrowed while `tensor` lives.
pub fn handle(tensor: &Tensor) -> *mut std::ffi::c_void {
    tensor.as_ptr().cast_mut().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_one_after_another() {
        let joined = joined(&[&[1_i64, 2][..], &[], &[3, 4, 5, 6]], &[3, 2]);
        assert_eq!((joined.size(), joined.kind()), (vec![3, 2], Kind::Int64));
        assert_eq!(Vec::<i64>::try_from(&joined.reshape([-1])).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(super::joined::<f32>(&[], &[0, 4]).size(), [0, 4]);
    }

    #[test]
    #[should_panic(expected = "values of a tensor of shape [2, 2]")]
    fn parts_fill_the_shape() {
        let _ = joined(&[&[1.0_f32; 3]], &[2, 2]);
    }

    #[test]
    fn gradients_come_home() {
        let flat = Tensor::full([6], 9.0, (Kind::Float, Device::Cpu));
        let p = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        keep_grad_in(&p, &flat.narrow(0, 1, 4).view([2, 2])).unwrap();
        for _ in 0..2 {
            assert!(!has_grad(&p));
            (&p * 3.0).sum(Kind::Float).backward();
            (&p * 1.0).sum(Kind::Float).backward();
            assert_eq!(Vec::<f32>::try_from(&flat).unwrap(), [9.0, 4.0, 4.0, 4.0, 4.0, 9.0]);
            assert_eq!(p.grad().data_ptr(), flat.get(1).data_ptr());
            clear_grad(&p);
        }
        assert!(keep_grad_in(&p, &flat).is_err());
    }

    #[test]
    fn writes_are_counted_and_meta_tensors_have_no_values() {
        let mut t = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        let before = version(&t);
        let _ = t.fill_(1.0);
        assert!(version(&t) > before);
        let meta = empty_meta(&[100_000, 100_000, 100], Kind::Float).unwrap();
        assert!(is_meta(&meta) && !is_meta(&t) && meta.size() == [100_000, 100_000, 100]);
        assert!(torch_version().starts_with("2.11."));
    }
}
