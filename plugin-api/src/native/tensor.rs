//! A tensor of the host's libtorch, by its handle.

use std::ffi::c_void;
use std::fmt;
use std::mem::{ManuallyDrop, size_of, zeroed};
use std::ptr::{self, NonNull};

use super::error::{Error, Result};
use super::handle::Handle;
use super::host::host;
use crate::abi;

/// A tensor of the host. Operations on it are in [`op`](super::op); a clone is another handle of the same values.
#[repr(transparent)]
pub struct Tensor(NonNull<abi::Tensor>);

// SAFETY: handles may be retained and released on any thread; everything else the host refuses outside of a call.
unsafe impl Send for Tensor {}

/// The type of a tensor's values, by libtorch's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dtype(pub i32);

impl Dtype {
    /// 8 bits without a sign.
    pub const U8: Self = Self(0);
    /// 8 bits with a sign.
    pub const I8: Self = Self(1);
    /// 16 bits with a sign.
    pub const I16: Self = Self(2);
    /// 32 bits with a sign.
    pub const I32: Self = Self(3);
    /// 64 bits with a sign: labels, indices.
    pub const I64: Self = Self(4);
    /// Half precision.
    pub const F16: Self = Self(5);
    /// Single precision.
    pub const F32: Self = Self(6);
    /// Double precision.
    pub const F64: Self = Self(7);
    /// Truth values.
    pub const BOOL: Self = Self(11);
    /// The upper half of single precision.
    pub const BF16: Self = Self(15);

    /// Whether it is a real floating-point type of at least 16 bits.
    pub fn is_floating_point(self) -> bool {
        [Self::F16, Self::F32, Self::F64, Self::BF16].contains(&self)
    }
}

impl fmt::Debug for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::BOOL => "bool",
            Self::BF16 => "bf16",
            Self(number) => return write!(f, "dtype {number}"),
        };
        f.write_str(name)
    }
}

/// Where a tensor is, by libtorch's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// 0 the CPU, 1 CUDA, 14 where tensors have no values.
    pub kind: i32,
    /// Which of several, or -1 for the current one.
    pub index: i32,
}

impl Device {
    /// The CPU.
    pub const CPU: Self = Self { kind: 0, index: -1 };
}

/// A number that tensors are made of.
///
/// # Safety
/// [`Element::DTYPE`] must be the dtype of this size whose every bit pattern is a value of the type.
pub unsafe trait Element: Copy {
    /// Its dtype.
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($element:ty => $dtype:ident),+) => {$(
        // SAFETY: the number of this size and kind.
        unsafe impl Element for $element {
            const DTYPE: Dtype = Dtype::$dtype;
        }
    )+};
}

elements! { u8 => U8, i8 => I8, i16 => I16, i32 => I32, i64 => I64, f32 => F32, f64 => F64 }

impl Tensor {
    /// A tensor of these values in row-major order, where the call's parameters and inputs are.
    ///
    /// # Errors
    /// When there are not as many values as the sizes say, or no call is running.
    pub fn from_slice<E: Element>(values: &[E], sizes: &[i64]) -> Result<Self> {
        let wanted = sizes.iter().try_fold(1_i64, |product, size| product.checked_mul(*size));
        if wanted != i64::try_from(values.len()).ok() {
            return Err(Error::argument(format!("{} values are no tensor of shape {sizes:?}", values.len())));
        }
        // SAFETY: the values are as many as the sizes say, and of the dtype.
        unsafe { host()?.tensor_from_host(values.as_ptr().cast(), E::DTYPE, sizes) }
    }

    /// Its values in row-major order; waits for a GPU.
    ///
    /// # Errors
    /// When it has another dtype, or no values.
    pub fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        let (dtype, len) = (self.dtype()?, usize::try_from(self.numel()?).unwrap_or(0));
        if dtype != E::DTYPE {
            return Err(Error::argument(format!("the tensor is {dtype:?}, its values are wanted as {:?}", E::DTYPE)));
        }
        let mut values: Vec<E> = Vec::with_capacity(len);
        // SAFETY: there is room for `len` values, all of which the host writes on success, and any bits are one.
        unsafe {
            host()?.tensor_to_host(self, values.as_mut_ptr().cast(), len * size_of::<E>())?;
            values.set_len(len);
        }
        Ok(values)
    }

    /// Elements along each axis.
    ///
    /// # Errors
    /// When the tensor is undefined.
    pub fn size(&self) -> Result<Vec<i64>> {
        let info = self.info()?;
        let ndim = usize::try_from(info.ndim).unwrap_or(0);
        if ndim == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: the host lists `ndim` sizes, which live as long as the handle.
        Ok(unsafe { std::slice::from_raw_parts(info.sizes, ndim) }.to_vec())
    }

    /// Number of axes.
    ///
    /// # Errors
    /// When the tensor is undefined.
    pub fn dim(&self) -> Result<usize> {
        Ok(usize::try_from(self.info()?.ndim).unwrap_or(0))
    }

    /// Number of elements.
    ///
    /// # Errors
    /// When the tensor is undefined.
    pub fn numel(&self) -> Result<i64> {
        Ok(self.size()?.iter().product())
    }

    /// The type of its values.
    ///
    /// # Errors
    /// When the tensor is undefined.
    pub fn dtype(&self) -> Result<Dtype> {
        Ok(Dtype(self.info()?.dtype))
    }

    /// Where it is.
    ///
    /// # Errors
    /// When the tensor is undefined.
    pub fn device(&self) -> Result<Device> {
        let info = self.info()?;
        Ok(Device { kind: info.device_type, index: info.device_index })
    }

    /// Whether autograd follows it.
    ///
    /// # Errors
    /// When the tensor is undefined.
    pub fn requires_grad(&self) -> Result<bool> {
        Ok(self.info()?.requires_grad != 0)
    }

    /// Whether it has a shape but no values, as when the host only plans a run.
    ///
    /// # Errors
    /// When the tensor is undefined.
    pub fn is_meta(&self) -> Result<bool> {
        Ok(self.info()?.is_meta != 0)
    }

    fn info(&self) -> Result<abi::TensorInfo> {
        // SAFETY: all members may be zero.
        let mut info: abi::TensorInfo = unsafe { zeroed() };
        info.struct_size = size_of::<abi::TensorInfo>();
        host()?.tensor_info(self, &mut info)?;
        Ok(info)
    }

    /// The handle, to be borrowed while the tensor lives.
    pub(super) fn handle(&self) -> *mut abi::Tensor {
        self.0.as_ptr()
    }

    /// # Safety
    /// As [`Handle::from_handle`].
    pub(super) unsafe fn adopt(handle: *mut c_void) -> Option<Self> {
        NonNull::new(handle).map(Self)
    }
}

impl Handle for Tensor {
    const TORCH_VERSION: &'static str = "";
    const ABI_MINOR_MIN: u16 = abi::ABI_MINOR_OPS;

    unsafe fn from_handle(handle: *mut abi::Tensor) -> Self {
        // SAFETY: a live handle is not null.
        Self(unsafe { NonNull::new_unchecked(handle) })
    }

    fn into_handle(self) -> *mut abi::Tensor {
        ManuallyDrop::new(self).handle()
    }
}

impl Clone for Tensor {
    /// # Panics
    /// When the host cannot make a handle, which takes memory alone.
    fn clone(&self) -> Self {
        let handle = host().map_or(ptr::null_mut(), |host| host.retain(self.handle()));
        Self(NonNull::new(handle).expect("the host gave no other handle of a tensor"))
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if let Ok(host) = host() {
            host.release(self.handle());
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.dtype(), self.size()) {
            (Ok(dtype), Ok(size)) => write!(f, "Tensor({dtype:?}, {size:?})"),
            _ => f.write_str("Tensor(undefined)"),
        }
    }
}
