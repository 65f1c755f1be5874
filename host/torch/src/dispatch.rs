//! Operations of libtorch by name, through its dispatcher, and tensors from and to plain memory.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::ptr;

use tch::{Kind, Tensor};
use thiserror::Error;

use crate::ffi;
use crate::tensor::adopt;

/// Why an operation was not found, or not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpError {
    /// libtorch refused it; the text is its own.
    #[error("{0}")]
    Torch(String),
    /// The arguments do not fit.
    #[error("{0}")]
    Argument(String),
    /// There is no such operation, or it is one that callers may not have: it writes to its arguments or draws.
    #[error("{0}")]
    Unsupported(String),
}

fn check(code: c_int) -> Result<(), OpError> {
    match code {
        0.. => Ok(()),
        -2 => Err(OpError::Argument(ffi::last_error())),
        -3 => Err(OpError::Unsupported(ffi::last_error())),
        _ => Err(OpError::Torch(ffi::last_error())),
    }
}

/// A device by libtorch's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// 0 the CPU, 1 CUDA, 14 where tensors have no values.
    pub device_type: i32,
    /// Which of several, or -1.
    pub device_index: i32,
}

impl Place {
    /// The CPU.
    pub const CPU: Self = Self { device_type: 0, device_index: -1 };
    /// Nowhere: tensors have shapes and no values.
    pub const META: Self = Self { device_type: 14, device_index: -1 };
}

/// What a tensor is, without its values. The arrays live as long as the tensor and are not changed by reading it.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// libtorch's number of its kind.
    pub dtype: i32,
    /// Where it is.
    pub place: Place,
    /// Number of axes.
    pub rank: i32,
    /// Elements along each axis.
    pub sizes: *const i64,
    /// Elements from one to the next along each axis.
    pub strides: *const i64,
    /// Whether autograd follows it.
    pub requires_grad: bool,
    /// Whether it has no values.
    pub is_meta: bool,
}

/// What `tensor` is.
///
/// # Errors
/// When it is undefined, or has no strides.
pub fn info(tensor: &Tensor) -> Result<Info, OpError> {
    let (mut dtype, mut device_type, mut device_index, mut rank) = (0, 0, 0, 0);
    let (mut sizes, mut strides) = (ptr::null(), ptr::null());
    let (mut requires_grad, mut is_meta) = (0, 0);
    // SAFETY: the handle is live for the call, and the places are writable.
    check(unsafe {
        ffi::anneal_torch_tensor_info(
            tensor.as_ptr().cast_mut(),
            &raw mut dtype,
            &raw mut device_type,
            &raw mut device_index,
            &raw mut rank,
            &raw mut sizes,
            &raw mut strides,
            &raw mut requires_grad,
            &raw mut is_meta,
        )
    })?;
    let place = Place { device_type, device_index };
    Ok(Info { dtype, place, rank, sizes, strides, requires_grad: requires_grad != 0, is_meta: is_meta != 0 })
}

/// A tensor of a copy of memory. Where tensors have no values it takes the shape alone.
///
/// # Errors
/// When the dtype is unknown, a size negative, or the device cannot hold it.
///
/// # Safety
/// `data` must point to as many values of the dtype as the sizes say, in row-major order.
pub unsafe fn from_host(data: *const c_void, dtype: i32, sizes: &[i64], place: Place) -> Result<Tensor, OpError> {
    let mut out = ptr::null_mut();
    let Place { device_type, device_index } = place;
    // SAFETY: as the caller promises; on success `out` is a new tensor that we own.
    unsafe {
        let (shape, rank) = (sizes.as_ptr(), sizes.len());
        check(ffi::anneal_torch_from_host(data, dtype, shape, rank, device_type, device_index, &raw mut out))?;
        Ok(Tensor::from_ptr(out))
    }
}

/// Copies a tensor's values, in row-major order, to memory; waits for a GPU.
///
/// # Errors
/// When the tensor has no values, or not as many bytes.
///
/// # Safety
/// `dst` must be writable for `bytes` bytes.
pub unsafe fn to_host(tensor: &Tensor, dst: *mut c_void, bytes: usize) -> Result<(), OpError> {
    // SAFETY: as the caller promises, and the handle is live for the call.
    check(unsafe { ffi::anneal_torch_to_host(tensor.as_ptr().cast_mut(), dst, bytes) })
}

/// An argument of an operation, laid out as the C ABI of plugins has it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value<'a> {
    tag: u32,
    len: u32,
    data: MaybeUninit<[u64; 2]>,
    lives: PhantomData<&'a ()>,
}

impl<'a> Value<'a> {
    fn new<T: Copy>(tag: u32, len: usize, content: T) -> Self {
        const { assert!(size_of::<T>() <= 16 && align_of::<T>() <= 8) };
        let mut data = MaybeUninit::<[u64; 2]>::uninit();
        // SAFETY: the content fits, as is asserted above.
        unsafe { data.as_mut_ptr().cast::<T>().write(content) };
        Self { tag, len: len as u32, data, lives: PhantomData }
    }

    /// What stands for an argument that is left out.
    pub fn none() -> Self {
        Self::new(0, 0, 0_u64)
    }

    /// A tensor.
    pub fn tensor(tensor: &'a Tensor) -> Self {
        Self::new(1, 0, tensor.as_ptr())
    }

    /// A truth value.
    pub fn bool(value: bool) -> Self {
        Self::new(3, 0, i64::from(value))
    }

    /// A whole number.
    pub fn int(value: i64) -> Self {
        Self::new(4, 0, value)
    }

    /// A number.
    pub fn double(value: f64) -> Self {
        Self::new(5, 0, value)
    }

    /// Whole numbers: sizes, axes.
    pub fn ints(values: &'a [i64]) -> Self {
        Self::new(6, values.len(), values.as_ptr())
    }

    /// A kind.
    pub fn kind(kind: Kind) -> Self {
        Self::new(9, 0, i64::from(ffi::scalar_type(kind)))
    }
}

/// An operation of libtorch.
#[derive(Debug, Clone, Copy)]
pub struct Op(*const c_void);

// SAFETY: an operation is found once, lives as long as the process, and is only read.
unsafe impl Send for Op {}
// SAFETY: as above.
unsafe impl Sync for Op {}

impl Op {
    /// The operation of a name, `aten::add`, and an overload, `Tensor`.
    ///
    /// # Errors
    /// When there is none, or it writes to its arguments or draws random numbers.
    pub fn find(name: &CStr, overload: &CStr) -> Result<Self, OpError> {
        let mut out = ptr::null();
        // SAFETY: both texts outlive the call.
        check(unsafe { ffi::anneal_torch_op_find(name.as_ptr(), overload.as_ptr(), &raw mut out) })?;
        Ok(Self(out))
    }

    /// The operation behind a pointer that [`Op::as_ptr`] gave.
    ///
    /// # Safety
    /// `op` must come from there.
    pub unsafe fn from_ptr(op: *const c_void) -> Self {
        Self(op)
    }

    /// The operation as others may keep it.
    pub fn as_ptr(self) -> *const c_void {
        self.0
    }

    /// Calls an operation that returns one tensor. Autograd records it as the grad mode says.
    ///
    /// # Errors
    /// When the arguments do not fit, libtorch refuses them, or the result is no tensor.
    pub fn tensor(self, place: Place, args: &[Value<'_>]) -> Result<Tensor, OpError> {
        let mut result = Value::none();
        // SAFETY: arguments and result have the layout and the number that are told.
        unsafe {
            let (first, stride) = (args.as_ptr().cast(), size_of::<Value<'_>>());
            self.call_raw(place, first, args.len(), ptr::null(), 0, stride, (&raw mut result).cast(), 1)?;
            if result.tag != 1 {
                return Err(OpError::Unsupported("the operation returns no tensor".to_owned()));
            }
            Ok(adopt(result.data.as_ptr().cast::<*mut c_void>().read()))
        }
    }

    /// Calls an operation with values as the C ABI of plugins has them: `value_size` bytes apart, those of keywords
    /// after their name. Handles in the results belong to the caller; arrays live until the next call on this thread.
    /// Results that are not asked for are freed, and those that do not exist are none.
    ///
    /// # Errors
    /// When the arguments do not fit or libtorch refuses them; then there are no results.
    ///
    /// # Safety
    /// The arrays must be as long as their counts say, `value_size` at least a value's size, and what is in them
    /// readable: handles live, arrays as long as they say.
    #[expect(clippy::too_many_arguments, reason = "the arguments are those of the C function")]
    pub unsafe fn call_raw(
        self,
        place: Place,
        args: *const c_void,
        num_args: usize,
        kwargs: *const c_void,
        num_kwargs: usize,
        value_size: usize,
        results: *mut c_void,
        num_results: usize,
    ) -> Result<(), OpError> {
        let Place { device_type, device_index } = place;
        // SAFETY: as the caller promises.
        check(unsafe {
            ffi::anneal_torch_op_call(
                self.0,
                device_type,
                device_index,
                args,
                num_args,
                kwargs,
                num_kwargs,
                value_size,
                results,
                num_results,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn op(name: &CStr, overload: &CStr) -> Op {
        Op::find(name, overload).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
    }

    #[test]
    fn arguments_are_given_as_the_schema_wants_them() {
        let x = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]);
        let x2 = Value::tensor(&x);
        let call = |name, overload, args: &[Value<'_>]| op(name, overload).tensor(Place::CPU, args).unwrap();
        assert_eq!(call(c"aten::add", c"Tensor", &[x2, x2]), &x + &x);
        assert_eq!(call(c"aten::mul", c"Scalar", &[x2, Value::double(0.5)]), &x * 0.5);
        assert_eq!(call(c"aten::roll", c"", &[x2, Value::ints(&[1]), Value::ints(&[1])]), x.roll([1], [1]));
        // One number stands for a list, none for what may be left out, and an int for a double.
        assert_eq!(call(c"aten::sum", c"dim_IntList", &[x2, Value::int(0)]), x.sum_dim_intlist(0, false, Kind::Float));
        let twice = call(c"aten::repeat_interleave", c"self_int", &[x2, Value::int(2), Value::int(1)]);
        assert_eq!(
            call(c"aten::avg_pool2d", c"", &[Value::tensor(&twice.unsqueeze(0)), Value::int(2)]).size(),
            [1, 1, 3]
        );
        assert_eq!(call(c"aten::clamp", c"", &[x2, Value::none(), Value::int(3)]), x.clamp_max(3));
        let kind = [x2, Value::kind(Kind::Double), Value::bool(false), Value::bool(true), Value::none()];
        assert_eq!(call(c"aten::to", c"dtype", &kind).kind(), Kind::Double);
        let image = x.view([1, 1, 2, 3]);
        let resized = [Value::tensor(&image), Value::ints(&[4, 6]), Value::bool(false), Value::none(), Value::none()];
        assert_eq!(
            call(c"aten::upsample_bilinear2d", c"", &resized),
            image.upsample_bilinear2d([4, 6], false, None, None)
        );
    }

    #[test]
    fn gradients_flow() {
        let w = Tensor::from_slice(&[2.0_f32, 3.0]).set_requires_grad(true);
        let x = Tensor::from_slice(&[5.0_f32, 7.0]);
        let y = op(c"aten::mul", c"Tensor").tensor(Place::CPU, &[Value::tensor(&w), Value::tensor(&x)]).unwrap();
        y.sum(Kind::Float).backward();
        assert_eq!(numbers(&w.grad()), [5.0, 7.0]);
    }

    #[test]
    fn results_without_arguments_are_made_where_the_caller_is() {
        let zeros = op(c"aten::zeros", c"");
        let meta = Place { device_type: 14, device_index: -1 };
        assert!(info(&zeros.tensor(meta, &[Value::ints(&[2, 3])]).unwrap()).unwrap().is_meta);
        assert!(!info(&zeros.tensor(Place::CPU, &[Value::ints(&[2, 3])]).unwrap()).unwrap().is_meta);
    }

    #[test]
    fn what_writes_or_draws_is_not_found() {
        let refused = |name: &CStr, overload: &CStr| match Op::find(name, overload) {
            Err(OpError::Unsupported(text)) => text,
            other => panic!("{name:?}: {other:?}"),
        };
        let text = refused(c"aten::add_", c"Tensor");
        assert!(
            text.contains("`aten::add_.Tensor` writes to its argument `self`; `aten::add.Tensor` returns"),
            "{text}"
        );
        assert!(refused(c"aten::add", c"out").contains("writes to its argument `out`; `aten::add."));
        assert!(refused(c"aten::randn", c"").contains("draw_normal"));
        assert!(refused(c"aten::dropout", c"").contains("draw_normal"));
        assert!(refused(c"aten::_backward", c"").contains("autograd"));
        let text = refused(c"aten::add", c"Tensr");
        assert!(text.starts_with("libtorch has no operation `aten::add.Tensr`") && text.contains("`Tensor`"), "{text}");
        assert!(refused(c"add", c"Tensor").contains("namespace"));
    }

    #[test]
    fn attention_is_allowed_without_dropout() {
        let attention = op(c"aten::scaled_dot_product_attention", c"");
        let q = Tensor::ones([1, 1, 2, 4], (Kind::Float, Device::Cpu));
        let (q, none) = (Value::tensor(&q), Value::none());
        assert!(attention.tensor(Place::CPU, &[q, q, q]).is_ok());
        let error = attention.tensor(Place::CPU, &[q, q, q, none, Value::double(0.5)]).unwrap_err();
        assert!(error.to_string().contains("dropout"), "{error}");
    }

    #[test]
    fn wrong_arguments_are_named() {
        let x = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let x = Value::tensor(&x);
        let error = |name, args: &[Value<'_>]| op(name, c"").tensor(Place::CPU, args).unwrap_err();
        let cases = [
            (error(c"aten::roll", &[]), "`aten::roll` lacks its argument `self`"),
            (error(c"aten::roll", &[Value::double(1.0)]), "`aten::roll`: `self` is a double, wanted is Tensor"),
            (error(c"aten::relu", &[x, x]), "`aten::relu` takes 1 arguments by position, got 2"),
            (error(c"aten::matmul", &[x, Value::new(1, 0, 0_u64)]), "`other` is a null handle"),
            (error(c"aten::relu", &[Value::new(77, 0, 0_u64)]), "of an unknown tag"),
        ];
        for (error, text) in cases {
            assert!(matches!(&error, OpError::Argument(got) if got.contains(text)), "{error:?}, wanted {text}");
        }
        let torch = error(c"aten::matmul", &[x, x]);
        let text = "`aten::matmul`: libtorch: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)";
        assert_eq!(torch, OpError::Torch(text.to_owned()));
    }

    #[test]
    fn values_come_from_and_go_to_memory() {
        let values = [1.0_f32, 2.0, 3.0, 4.0];
        // SAFETY: four values for a shape of two by two, and a place for them.
        unsafe {
            let tensor = from_host(values.as_ptr().cast(), 6, &[2, 2], Place::CPU).unwrap();
            assert_eq!(numbers(&tensor), [1.0, 2.0, 3.0, 4.0]);
            assert_ne!(tensor.data_ptr().cast_const(), values.as_ptr().cast());
            let mut back = [0.0_f32; 4];
            to_host(&tensor.tr(), back.as_mut_ptr().cast(), 16).unwrap();
            assert_eq!(back, [1.0, 3.0, 2.0, 4.0]);
            let error = to_host(&tensor, back.as_mut_ptr().cast(), 12).unwrap_err().to_string();
            assert_eq!(error, "the tensor has 16 bytes, the place for it 12");
            assert!(from_host(values.as_ptr().cast(), 999, &[2], Place::CPU).is_err());
            assert!(from_host(values.as_ptr().cast(), 6, &[-2], Place::CPU).is_err());
            assert!(from_host(ptr::null(), 6, &[2], Place::CPU).is_err());
        }
    }
}
