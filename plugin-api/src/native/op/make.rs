//! Tensors out of nothing, where the call's parameters and inputs are.

use super::operations;
use crate::native::{Dtype, Tensor};

operations! {
    /// Zeros.
    zeros(size: &[i64], dtype: Dtype) = "aten::zeros", "" (size; dtype = dtype);
    /// Ones.
    ones(size: &[i64], dtype: Dtype) = "aten::ones", "" (size; dtype = dtype);
    /// One number everywhere.
    full(size: &[i64], number: f64, dtype: Dtype) = "aten::full", "" (size, number; dtype = dtype);
    /// `start`, `start + step` and so on, below `end`.
    arange(start: f64, end: f64, step: f64, dtype: Dtype) = "aten::arange", "start_step" (start, end, step; dtype = dtype);
    /// Zeros of the same shape, dtype and place.
    zeros_like(x: &Tensor) = "aten::zeros_like", "" (x);
    /// Ones of the same shape, dtype and place.
    ones_like(x: &Tensor) = "aten::ones_like", "" (x);
}
