//! Arithmetic, element by element and along axes.

use super::operations;
use crate::native::Tensor;

operations! {
    /// `a + b`; axes of one element are repeated.
    add(a: &Tensor, b: &Tensor) = "aten::add", "Tensor" (a, b);
    /// `a + number`.
    add_scalar(a: &Tensor, number: f64) = "aten::add", "Scalar" (a, number);
    /// `a - b`.
    sub(a: &Tensor, b: &Tensor) = "aten::sub", "Tensor" (a, b);
    /// `a - number`.
    sub_scalar(a: &Tensor, number: f64) = "aten::sub", "Scalar" (a, number);
    /// `a * b`.
    mul(a: &Tensor, b: &Tensor) = "aten::mul", "Tensor" (a, b);
    /// `a * number`.
    mul_scalar(a: &Tensor, number: f64) = "aten::mul", "Scalar" (a, number);
    /// `a / b`.
    div(a: &Tensor, b: &Tensor) = "aten::div", "Tensor" (a, b);
    /// `a / number`.
    div_scalar(a: &Tensor, number: f64) = "aten::div", "Scalar" (a, number);
    /// `-x`.
    neg(x: &Tensor) = "aten::neg", "" (x);
    /// The magnitude.
    abs(x: &Tensor) = "aten::abs", "" (x);
    /// The sine.
    sin(x: &Tensor) = "aten::sin", "" (x);
    /// The cosine.
    cos(x: &Tensor) = "aten::cos", "" (x);
    /// e to the power of `x`.
    exp(x: &Tensor) = "aten::exp", "" (x);
    /// The natural logarithm.
    log(x: &Tensor) = "aten::log", "" (x);
    /// The square root.
    sqrt(x: &Tensor) = "aten::sqrt", "" (x);
    /// `x` to the power of a number.
    pow(x: &Tensor, exponent: f64) = "aten::pow", "Tensor_Scalar" (x, exponent);
    /// `1 / (1 + exp(-x))`.
    sigmoid(x: &Tensor) = "aten::sigmoid", "" (x);
    /// The hyperbolic tangent.
    tanh(x: &Tensor) = "aten::tanh", "" (x);
    /// Nothing below `low`, nothing above `high`.
    clamp(x: &Tensor, low: Option<f64>, high: Option<f64>) = "aten::clamp", "" (x, low, high);
    /// `a` where the condition holds, else `b`.
    where_(condition: &Tensor, a: &Tensor, b: &Tensor) = "aten::where", "self" (condition, a, b);
    /// The sum along axes, which stay with one element if `keep` says so.
    sum(x: &Tensor, axes: &[i64], keep: bool) = "aten::sum", "dim_IntList" (x, axes, keep);
    /// The sum of all elements.
    sum_all(x: &Tensor) = "aten::sum", "" (x);
    /// The mean along axes, which stay with one element if `keep` says so.
    mean(x: &Tensor, axes: &[i64], keep: bool) = "aten::mean", "dim" (x, axes, keep);
    /// The mean of all elements.
    mean_all(x: &Tensor) = "aten::mean", "" (x);
    /// The smallest element.
    min(x: &Tensor) = "aten::min", "" (x);
    /// The largest element.
    max(x: &Tensor) = "aten::max", "" (x);
    /// Exponentials along an axis, in parts of one.
    softmax(x: &Tensor, axis: i64) = "aten::softmax", "int" (x, axis);
    /// The matrix product over the last two axes.
    matmul(a: &Tensor, b: &Tensor) = "aten::matmul", "" (a, b);
}
