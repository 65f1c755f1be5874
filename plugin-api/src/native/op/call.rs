//! An operation, found when it is first called.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{Output, Value};
use crate::abi::{self, Kwarg, Str, ValueData, tag};
use crate::native::Tensor;
use crate::native::error::Result;
use crate::native::host::{Host, host};

/// An operation of libtorch.
pub struct Op {
    name: &'static CStr,
    overload: &'static CStr,
    found: AtomicPtr<abi::Op>,
}

/// More than any operation returns.
const RESULTS_MAX: usize = 16;

const NOTHING: abi::Value = abi::Value { tag: tag::NONE, len: 0, u: ValueData { i: 0 } };

impl Op {
    /// The operation of a name and an overload, both with a NUL at their end.
    ///
    /// # Panics
    /// When the NUL is missing, or is not at the end.
    pub const fn new(name: &'static str, overload: &'static str) -> Self {
        match (CStr::from_bytes_with_nul(name.as_bytes()), CStr::from_bytes_with_nul(overload.as_bytes())) {
            (Ok(name), Ok(overload)) => Self { name, overload, found: AtomicPtr::new(ptr::null_mut()) },
            _ => panic!("a name of an operation has a NUL at its end, and no other"),
        }
    }

    /// Calls it for its one result, a tensor.
    ///
    /// # Errors
    /// When there is no such operation, libtorch refuses the arguments, or the result is no tensor.
    pub fn tensor(&self, args: &[Value<'_>], kwargs: &[(&str, Value<'_>)]) -> Result<Tensor> {
        let mut result = NOTHING;
        self.run(args, kwargs, std::slice::from_mut(&mut result))?;
        // SAFETY: the host has just written it.
        unsafe { Output::adopt(&result)? }.tensor()
    }

    /// Calls it for all its results.
    ///
    /// # Errors
    /// When there is no such operation, or libtorch refuses the arguments.
    pub fn call(&self, args: &[Value<'_>], kwargs: &[(&str, Value<'_>)]) -> Result<Vec<Output>> {
        let mut results = [NOTHING; RESULTS_MAX];
        self.run(args, kwargs, &mut results)?;
        let len = results.iter().rposition(|result| result.tag != tag::NONE).map_or(0, |last| last + 1);
        // SAFETY: the host has just written them.
        results[..len].iter().map(|result| unsafe { Output::adopt(result) }).collect()
    }

    fn run(&self, args: &[Value<'_>], kwargs: &[(&str, Value<'_>)], results: &mut [abi::Value]) -> Result<()> {
        let host = host()?;
        let op = self.find(host)?;
        let kwargs: Vec<Kwarg> =
            kwargs.iter().map(|(name, value)| Kwarg { name: Str::new(name), value: value.raw() }).collect();
        // SAFETY: the host found the operation, and what the values borrow outlives the call.
        unsafe { host.op_call(op, args, &kwargs, results) }
    }

    fn find(&self, host: &Host) -> Result<*const abi::Op> {
        let found = self.found.load(Ordering::Relaxed);
        if !found.is_null() {
            return Ok(found);
        }
        let found = host.op_find(self.name, self.overload)?;
        // Two threads find the same operation.
        self.found.store(found.cast_mut(), Ordering::Relaxed);
        Ok(found)
    }
}
