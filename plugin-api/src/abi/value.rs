//! What the host's operations take and give, as the header has it.

use super::{Ctx, Op, Status, Str, Tensor};

/// The values of [`Value::tag`].
pub mod tag {
    /// An optional argument that is left out.
    pub const NONE: u32 = 0;
    /// A tensor.
    pub const TENSOR: u32 = 1;
    /// Tensors.
    pub const TENSORS: u32 = 2;
    /// A truth value.
    pub const BOOL: u32 = 3;
    /// A whole number.
    pub const INT: u32 = 4;
    /// A number.
    pub const DOUBLE: u32 = 5;
    /// Whole numbers.
    pub const INTS: u32 = 6;
    /// Numbers.
    pub const DOUBLES: u32 = 7;
    /// A text.
    pub const STR: u32 = 8;
    /// A dtype.
    pub const DTYPE: u32 = 9;
    /// A device.
    pub const DEVICE: u32 = 10;
    /// A layout.
    pub const LAYOUT: u32 = 11;
    /// A memory format.
    pub const MEMORY_FORMAT: u32 = 12;
}

/// An argument or a result of an operation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    /// Which member of `u` it is: one of [`tag`].
    pub tag: u32,
    /// Elements of an array.
    pub len: u32,
    /// Its content.
    pub u: ValueData,
}

/// The content of a [`Value`].
#[repr(C)]
#[derive(Clone, Copy)]
pub union ValueData {
    /// A handle.
    pub tensor: *mut Tensor,
    /// Handles.
    pub tensors: *const *mut Tensor,
    /// A whole number, a truth value, or libtorch's number of a dtype, layout or memory format.
    pub i: i64,
    /// A number.
    pub d: f64,
    /// Whole numbers.
    pub ints: *const i64,
    /// Numbers.
    pub doubles: *const f64,
    /// A text.
    pub str: Str,
    /// A device.
    pub device: DeviceNumbers,
}

/// A device by libtorch's numbers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumbers {
    /// 0 the CPU, 1 CUDA, 14 where tensors have no values.
    pub r#type: i32,
    /// Which of several, or -1.
    pub index: i32,
}

/// An argument with its name.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Kwarg {
    /// Its name in the schema.
    pub name: Str,
    /// Its value.
    pub value: Value,
}

/// What a tensor is, without its values.
#[repr(C)]
pub struct TensorInfo {
    /// Size of the struct as the plugin knew it.
    pub struct_size: usize,
    /// libtorch's number of its dtype.
    pub dtype: i32,
    /// Its device's type.
    pub device_type: i32,
    /// Which of several devices, or -1.
    pub device_index: i32,
    /// Number of axes.
    pub ndim: i32,
    /// Elements along each axis.
    pub sizes: *const i64,
    /// Elements from one to the next along each axis.
    pub strides: *const i64,
    /// Whether autograd follows it.
    pub requires_grad: i32,
    /// Whether it has no values.
    pub is_meta: i32,
}

/// The type of [`HostApi::op_call`].
pub type OpCallFn = unsafe extern "C" fn(
    *mut Ctx,
    *const Op,
    *const Value,
    usize,
    *const Kwarg,
    usize,
    usize,
    *mut Value,
    usize,
) -> Status;
