//! What operations take and give.

use std::ffi::c_void;
use std::marker::PhantomData;

use super::error::{Error, ErrorKind, Result};
use super::tensor::{Device, Dtype, Tensor};
use crate::abi::{self, DeviceNumbers, Str, ValueData, tag};

/// An argument of an operation, which borrows what it is made of.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Value<'a> {
    raw: abi::Value,
    lives: PhantomData<&'a ()>,
}

impl<'a> Value<'a> {
    /// What stands for an optional argument that is left out.
    pub const NONE: Self = Self::new(tag::NONE, 0, ValueData { i: 0 });

    const fn new(tag: u32, len: usize, u: ValueData) -> Self {
        // A list of more elements than fit could not be in memory.
        Self { raw: abi::Value { tag, len: len as u32, u }, lives: PhantomData }
    }

    pub(super) fn handles(handles: &'a [*mut c_void]) -> Self {
        Self::new(tag::TENSORS, handles.len(), ValueData { tensors: handles.as_ptr() })
    }

    pub(super) fn raw(self) -> abi::Value {
        self.raw
    }

    /// A memory format by libtorch's number: 0 contiguous, 1 as the argument is, 2 channels last.
    pub fn memory_format(number: i64) -> Self {
        Self::new(tag::MEMORY_FORMAT, 0, ValueData { i: number })
    }
}

/// What an operation can be called with.
pub trait Arg {
    /// As the host reads it.
    fn value(&self) -> Value<'_>;
}

/// An optional argument that is left out.
#[derive(Debug, Clone, Copy)]
pub struct Absent;

impl Arg for Absent {
    fn value(&self) -> Value<'_> {
        Value::NONE
    }
}

impl Arg for Tensor {
    fn value(&self) -> Value<'_> {
        Value::new(tag::TENSOR, 0, ValueData { tensor: self.handle() })
    }
}

impl Arg for [Tensor] {
    fn value(&self) -> Value<'_> {
        // A tensor is its handle, and nothing else.
        Value::new(tag::TENSORS, self.len(), ValueData { tensors: self.as_ptr().cast() })
    }
}

impl Arg for bool {
    fn value(&self) -> Value<'_> {
        Value::new(tag::BOOL, 0, ValueData { i: i64::from(*self) })
    }
}

impl Arg for i64 {
    fn value(&self) -> Value<'_> {
        Value::new(tag::INT, 0, ValueData { i: *self })
    }
}

impl Arg for f64 {
    fn value(&self) -> Value<'_> {
        Value::new(tag::DOUBLE, 0, ValueData { d: *self })
    }
}

impl Arg for [i64] {
    fn value(&self) -> Value<'_> {
        Value::new(tag::INTS, self.len(), ValueData { ints: self.as_ptr() })
    }
}

impl Arg for [f64] {
    fn value(&self) -> Value<'_> {
        Value::new(tag::DOUBLES, self.len(), ValueData { doubles: self.as_ptr() })
    }
}

impl Arg for str {
    fn value(&self) -> Value<'_> {
        Value::new(tag::STR, 0, ValueData { str: Str::new(self) })
    }
}

impl Arg for Dtype {
    fn value(&self) -> Value<'_> {
        Value::new(tag::DTYPE, 0, ValueData { i: i64::from(self.0) })
    }
}

impl Arg for Device {
    fn value(&self) -> Value<'_> {
        Value::new(tag::DEVICE, 0, ValueData { device: DeviceNumbers { r#type: self.kind, index: self.index } })
    }
}

impl Arg for Value<'_> {
    fn value(&self) -> Value<'_> {
        *self
    }
}

impl<T: Arg + ?Sized> Arg for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: Arg> Arg for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::NONE, Arg::value)
    }
}

impl<T, const N: usize> Arg for [T; N]
where
    [T]: Arg,
{
    fn value(&self) -> Value<'_> {
        self.as_slice().value()
    }
}

impl<T> Arg for Vec<T>
where
    [T]: Arg,
{
    fn value(&self) -> Value<'_> {
        self.as_slice().value()
    }
}

/// What an operation returns.
#[derive(Debug)]
pub enum Output {
    /// Nothing.
    None,
    /// A tensor.
    Tensor(Tensor),
    /// Tensors.
    Tensors(Vec<Tensor>),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Numbers.
    Doubles(Vec<f64>),
    /// A text.
    Text(String),
}

impl Output {
    /// Takes over what the host returned.
    ///
    /// # Safety
    /// `raw` must come from an operation that has just been called, and be read once.
    pub(super) unsafe fn adopt(raw: &abi::Value) -> Result<Self> {
        let (len, u) = (raw.len as usize, raw.u);
        // SAFETY: the tag says which member it is, and the arrays live until the next call of an operation.
        Ok(unsafe {
            match raw.tag {
                tag::NONE => Self::None,
                tag::TENSOR => Tensor::adopt(u.tensor).map_or(Self::None, Self::Tensor),
                tag::TENSORS => Self::Tensors((0..len).filter_map(|i| Tensor::adopt(*u.tensors.add(i))).collect()),
                tag::BOOL => Self::Bool(u.i != 0),
                tag::INT => Self::Int(u.i),
                tag::DOUBLE => Self::Double(u.d),
                tag::INTS => Self::Ints((0..len).map(|i| *u.ints.add(i)).collect()),
                tag::DOUBLES => Self::Doubles((0..len).map(|i| *u.doubles.add(i)).collect()),
                tag::STR => Self::Text(u.str.to_text()),
                other => {
                    let message = format!("the host returned a value of the unknown tag {other}");
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
            }
        })
    }

    /// The tensor it is.
    ///
    /// # Errors
    /// When it is something else.
    pub fn tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            other => Err(Error::argument(format!("the operation returned {other:?}, a tensor is wanted"))),
        }
    }
}
