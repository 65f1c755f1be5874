//! Other shapes, parts and dtypes of tensors.

use super::{Value, operations};
use crate::native::{Dtype, Result, Tensor, op};

/// Tensors behind one another along an axis they have.
///
/// # Errors
/// When libtorch refuses the arguments.
pub fn cat(tensors: &[&Tensor], axis: i64) -> Result<Tensor> {
    let handles: Vec<_> = tensors.iter().map(|tensor| tensor.handle()).collect();
    op!("aten::cat", "", Value::handles(&handles), axis)
}

/// Tensors behind one another along an axis they do not have yet.
///
/// # Errors
/// When libtorch refuses the arguments.
pub fn stack(tensors: &[&Tensor], axis: i64) -> Result<Tensor> {
    let handles: Vec<_> = tensors.iter().map(|tensor| tensor.handle()).collect();
    op!("aten::stack", "", Value::handles(&handles), axis)
}

operations! {
    /// The same elements in another shape; one size may be -1.
    reshape(x: &Tensor, size: &[i64]) = "aten::reshape", "" (x, size);
    /// The axes `start` to `end` as one.
    flatten(x: &Tensor, start: i64, end: i64) = "aten::flatten", "using_ints" (x, start, end);
    /// The axes in another order.
    permute(x: &Tensor, axes: &[i64]) = "aten::permute", "" (x, axes);
    /// Two axes in each other's place.
    transpose(x: &Tensor, a: i64, b: i64) = "aten::transpose", "int" (x, a, b);
    /// One axis more, of one element.
    unsqueeze(x: &Tensor, axis: i64) = "aten::unsqueeze", "" (x, axis);
    /// Without an axis of one element.
    squeeze(x: &Tensor, axis: i64) = "aten::squeeze", "dim" (x, axis);
    /// Axes of one element repeated, without a copy; -1 leaves a size.
    expand(x: &Tensor, size: &[i64]) = "aten::expand", "" (x, size);
    /// Each element along an axis, `repeats` times in a row.
    repeat_interleave(x: &Tensor, repeats: i64, axis: i64) = "aten::repeat_interleave", "self_int" (x, repeats, axis);
    /// `len` elements along an axis, from `start`.
    narrow(x: &Tensor, axis: i64, start: i64, len: i64) = "aten::narrow", "" (x, axis, start, len);
    /// Every `step`-th element along an axis, from `start` to before `end`.
    slice(x: &Tensor, axis: i64, start: Option<i64>, end: Option<i64>, step: i64) =
        "aten::slice", "Tensor" (x, axis, start, end, step);
    /// One element along an axis, which goes.
    select(x: &Tensor, axis: i64, index: i64) = "aten::select", "int" (x, axis, index);
    /// The elements along an axis that integers name.
    index_select(x: &Tensor, axis: i64, index: &Tensor) = "aten::index_select", "" (x, axis, index);
    /// Another dtype.
    to_dtype(x: &Tensor, dtype: Dtype) = "aten::to", "dtype" (x, dtype);
}
