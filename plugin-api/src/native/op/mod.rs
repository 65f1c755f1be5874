//! The host's operations: those that embedders need most as functions, and [`op!`](crate::native::op!) for the rest.
//!
//! Names, arguments and results are libtorch's. Autograd records them; none writes to its arguments or draws.

mod call;
mod make;
mod math;
mod network;
mod shape;

pub use call::Op;
pub use make::{arange, full, ones, ones_like, zeros, zeros_like};
pub use math::{
    abs, add, add_scalar, clamp, cos, div, div_scalar, exp, log, matmul, max, mean, mean_all, min, mul, mul_scalar,
    neg, pow, sigmoid, sin, softmax, sqrt, sub, sub_scalar, sum, sum_all, tanh, where_,
};
pub use network::{
    avg_pool2d, conv2d, embedding, gelu, group_norm, layer_norm, linear, relu, scaled_dot_product_attention, silu,
    upsample_bilinear2d,
};
pub use shape::{
    cat, expand, flatten, index_select, narrow, permute, repeat_interleave, reshape, select, slice, squeeze, stack,
    to_dtype, transpose, unsqueeze,
};

pub use super::value::{Absent, Arg, Output, Value};

/// Calls an operation that returns one tensor, by its name and overload in libtorch's native_functions.yaml:
/// `op!("aten::roll", "", x, [1], [2])`. Arguments that have names alone come behind a semicolon:
/// `op!("aten::sum", "dim_IntList", x, [1], false; dtype = Dtype::F64)`. `Absent` leaves an optional argument out.
#[doc(hidden)]
#[macro_export]
macro_rules! __native_op {
    ($name:literal, $overload:literal $(, $arg:expr)* $(; $($key:ident = $value:expr),+)? $(,)?) => {{
        static OP: $crate::native::op::Op =
            $crate::native::op::Op::new(concat!($name, "\0"), concat!($overload, "\0"));
        OP.tensor(
            &[$($crate::native::op::Arg::value(&$arg)),*],
            &[$($((stringify!($key), $crate::native::op::Arg::value(&$value))),+)?],
        )
    }};
}

/// Functions that only name an operation and the order of its arguments.
macro_rules! operations {
    ($($(#[$doc:meta])* $function:ident($($arg:ident: $type:ty),*) = $name:literal, $overload:literal
        ($($given:expr),* $(; $key:ident = $value:expr)?);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// When libtorch refuses the arguments.
        pub fn $function($($arg: $type),*) -> $crate::native::Result<$crate::native::Tensor> {
            $crate::__native_op!($name, $overload $(, $given)* $(; $key = $value)?)
        }
    )*};
}
use operations;
