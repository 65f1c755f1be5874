//! Activation checkpointing: activations inside a block are dropped in forward and computed again in backward.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ffi::{self, TorchError, check};

type Block = dyn Fn(&[Tensor]) -> Vec<Tensor> + Send;

const MAX_OUTPUTS: usize = 8;

/// Runs `block` on `inputs` without keeping its activations; backward runs it once more, under the random and autocast
/// state of the first time. Parameters that `block` captures get their gradients also when no input needs one.
///
/// `block` may run on another thread in backward (autograd's of the device).
///
/// # Errors
/// When the block panics or libtorch refuses an operation in forward. A failure in backward comes out of `backward`.
pub fn checkpoint(
    inputs: &[&Tensor],
    block: impl Fn(&[Tensor]) -> Vec<Tensor> + Send + 'static,
) -> Result<Vec<Tensor>, TorchError> {
    let closure: Box<Box<Block>> = Box::new(Box::new(block));
    let handles: Vec<*mut C_tensor> = inputs.iter().map(|t| t.as_ptr().cast_mut()).collect();
    let mut outputs = [std::ptr::null_mut(); MAX_OUTPUTS];
    let mut num = 0;
    // SAFETY: the shim owns the closure from here on, also when it fails; handles and buffers outlive the call.
    unsafe {
        check(ffi::anneal_torch_checkpoint(
            handles.as_ptr(),
            handles.len(),
            Box::into_raw(closure).cast(),
            run,
            drop_closure,
            outputs.as_mut_ptr(),
            MAX_OUTPUTS,
            &raw mut num,
        ))?;
        Ok(outputs[..num].iter().map(|&t| Tensor::from_ptr(t)).collect())
    }
}

unsafe extern "C" fn run(
    closure: *mut c_void,
    inputs: *const *mut C_tensor,
    n: usize,
    outputs: *mut *mut C_tensor,
    capacity: usize,
) -> c_int {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the shim hands back the closure of `checkpoint` and n live tensors; clones are ours.
        let (block, inputs) = unsafe {
            let block = &*closure.cast::<Box<Block>>();
            let inputs: Vec<Tensor> = std::slice::from_raw_parts(inputs, n)
                .iter()
                .map(|&t| std::mem::ManuallyDrop::new(Tensor::from_ptr(t)).shallow_clone())
                .collect();
            (block, inputs)
        };
        block(&inputs)
    }));
    let fail = |text: &str| {
        // SAFETY: the text is copied during the call.
        unsafe { ffi::anneal_torch_set_error(text.as_ptr().cast(), text.len()) };
        -1
    };
    match result {
        Ok(tensors) if tensors.len() > capacity => fail("a checkpointed block has too many outputs"),
        Ok(tensors) => {
            let num = tensors.len();
            for (i, tensor) in tensors.into_iter().enumerate() {
                let mut tensor = std::mem::ManuallyDrop::new(tensor);
                // SAFETY: i < capacity; the shim takes the tensor over.
                unsafe { *outputs.add(i) = tensor.as_mut_ptr() };
            }
            num as c_int
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a checkpointed block panicked");
            fail(text)
        }
    }
}

unsafe extern "C" fn drop_closure(closure: *mut c_void) {
    // SAFETY: called once, with the pointer that `checkpoint` gave away.
    drop(unsafe { Box::from_raw(closure.cast::<Box<Block>>()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn block(w: &Tensor, x: &Tensor) -> Tensor {
        x.matmul(w).gelu("none").dropout(0.4, true).matmul(w)
    }

    #[test]
    fn gradients_and_the_random_stream_are_those_of_the_plain_block() {
        let attempt = || {
            let make = || {
                tch::manual_seed(3);
                let w = Tensor::randn([16, 16], F32).set_requires_grad(true);
                let x = Tensor::randn([8, 16], F32).set_requires_grad(true);
                (w, x)
            };
            let (w, x) = make();
            block(&w, &x).square().sum(Kind::Float).backward();
            let plain = (w.grad(), x.grad(), Tensor::randn([4], F32));

            let (w, x) = make();
            let captured = w.shallow_clone();
            let out = checkpoint(&[&x], move |inputs| vec![block(&captured, &inputs[0])]).unwrap();
            out[0].square().sum(Kind::Float).backward();
            let checkpointed = (w.grad(), x.grad(), Tensor::randn([4], F32));
            plain.0.equal(&checkpointed.0) && plain.1.equal(&checkpointed.1) && plain.2.equal(&checkpointed.2)
        };
        // The generator is the process's, and other tests draw from it, too: one attempt that none of them disturbs is enough.
        assert!((0..50).any(|_| attempt()));
    }

    #[test]
    fn captured_parameters_get_gradients_when_no_input_needs_one() {
        let w = Tensor::randn([4, 4], F32).set_requires_grad(true);
        let x = Tensor::randn([2, 4], F32);
        let captured = w.shallow_clone();
        let out = checkpoint(&[&x], move |inputs| vec![inputs[0].matmul(&captured)]).unwrap();
        out[0].sum(Kind::Float).backward();
        assert!(w.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0);
    }

    #[test]
    fn a_panic_is_an_error_in_forward_and_in_backward() {
        let x = Tensor::randn([2, 4], F32).set_requires_grad(true);
        let error = checkpoint(&[&x], |_| panic!("bad block")).unwrap_err();
        assert!(error.0.contains("bad block"), "{error}");
        let calls = std::sync::atomic::AtomicU32::new(0);
        let out = checkpoint(&[&x], move |inputs| {
            assert!(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0, "second call refused");
            vec![&inputs[0] * 2.0]
        })
        .unwrap();
        let error = out[0].sum(Kind::Float).f_backward().unwrap_err();
        assert!(error.to_string().contains("second call refused"), "{error}");
    }
}
