//! Layers of networks; weights are parameters that the embedder has declared.

use super::operations;
use crate::native::Tensor;

operations! {
    /// The rows of a table `[n, d]` that integers of any shape name.
    embedding(table: &Tensor, rows: &Tensor) = "aten::embedding", "" (table, rows);
    /// `x` `[.., d_in]` by a weight `[d_out, d_in]`, plus a bias `[d_out]`.
    linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) = "aten::linear", "" (x, weight, bias);
    /// `x` `[n, c_in, h, w]` with a weight `[c_out, c_in / groups, h, w]`.
    conv2d(
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        stride: [i64; 2],
        padding: [i64; 2],
        dilation: [i64; 2],
        groups: i64
    ) = "aten::conv2d", "" (x, weight, bias, stride, padding, dilation, groups);
    /// Means of rectangles side by side.
    avg_pool2d(x: &Tensor, kernel: [i64; 2]) = "aten::avg_pool2d", "" (x, kernel);
    /// Mean 0 and variance 1 over the last axes, whose sizes are given, then a weight and a bias.
    layer_norm(x: &Tensor, sizes: &[i64], weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) =
        "aten::layer_norm", "" (x, sizes, weight, bias, eps);
    /// Mean 0 and variance 1 over groups of channels, then a weight and a bias `[c]`.
    group_norm(x: &Tensor, groups: i64, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) =
        "aten::group_norm", "" (x, groups, weight, bias, eps);
    /// `x * sigmoid(x)`.
    silu(x: &Tensor) = "aten::silu", "" (x);
    /// The exact Gaussian error linear unit.
    gelu(x: &Tensor) = "aten::gelu", "" (x);
    /// Nothing below zero.
    relu(x: &Tensor) = "aten::relu", "" (x);
    /// Attention of `[n, k, s, d]`; a mask of booleans says where it may look, one of numbers is added.
    scaled_dot_product_attention(query: &Tensor, key: &Tensor, value: &Tensor, mask: Option<&Tensor>) =
        "aten::scaled_dot_product_attention", "" (query, key, value, mask);
    /// `[n, c, h, w]` at another height and width, between pixel centres.
    upsample_bilinear2d(x: &Tensor, size: [i64; 2], align_corners: bool) =
        "aten::upsample_bilinear2d", "" (x, size, align_corners, super::Absent, super::Absent);
}
