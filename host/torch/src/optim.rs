//! The fused steps of Adam, AdamW and SGD.

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ffi::{self, TorchError, check};

/// How weight decay enters a step of Adam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// The parameter times the decay is added to the gradient: L2 regularisation, `torch.optim.Adam`.
    Coupled,
    /// The parameter shrinks by itself: `torch.optim.AdamW`.
    Decoupled,
}

/// Settings of one step of Adam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay rates of the moments.
    pub betas: [f64; 2],
    /// Weight decay.
    pub weight_decay: f64,
    /// How it enters.
    pub decay: Decay,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// What a step of Adam reads and moves.
///
/// # Shapes
/// All the same, f32.
#[derive(Debug, Clone, Copy)]
pub struct AdamTensors<'a> {
    /// The parameter.
    pub param: &'a Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// The first moment.
    pub exp_avg: &'a Tensor,
    /// The second moment.
    pub exp_avg_sq: &'a Tensor,
    /// The largest second moment so far, which divides in its place (AMSGrad).
    pub max_exp_avg_sq: Option<&'a Tensor>,
}

/// Moves a parameter by one step of Adam (Kingma and Ba 2015, algorithm 1) or AdamW (Loshchilov and Hutter 2019,
/// algorithm 2), in one pass over memory.
///
/// # Shapes
/// - `step`: `[]` f32, the number of this step, counted from 1
/// - `grad_scale`: `[]` f32; the gradient is divided by it first
///
/// # Errors
/// When shapes, kinds or devices differ.
pub fn fused_adam(
    t: AdamTensors<'_>,
    step: &Tensor,
    grad_scale: Option<&Tensor>,
    s: AdamStep,
) -> Result<(), TorchError> {
    // SAFETY: all handles are live for the call.
    check(unsafe {
        ffi::anneal_torch_fused_adam(
            raw(t.param),
            raw(t.grad),
            raw(t.exp_avg),
            raw(t.exp_avg_sq),
            t.max_exp_avg_sq.map_or(std::ptr::null_mut(), raw),
            raw(step),
            grad_scale.map_or(std::ptr::null_mut(), raw),
            i32::from(s.decay == Decay::Decoupled),
            s.learning_rate,
            s.betas[0],
            s.betas[1],
            s.weight_decay,
            s.eps,
        )
    })
}

/// Settings of one step of SGD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Share of the momentum buffer that is kept.
    pub momentum: f64,
    /// Share of the gradient that is kept out of the buffer.
    pub dampening: f64,
    /// The parameter times this is added to the gradient.
    pub weight_decay: f64,
    /// Look ahead along the momentum (Nesterov).
    pub nesterov: bool,
    /// Whether the momentum buffer holds nothing yet and becomes the gradient.
    pub is_first: bool,
}

/// Moves a parameter by one step of `torch.optim.SGD`, in one pass over memory.
///
/// # Shapes
/// - `param`, `grad`, `momentum_buffer`: all the same, f32; the buffer is needed where the momentum is not 0
/// - `grad_scale`: `[]` f32; the gradient is divided by it first
///
/// # Errors
/// When shapes, kinds or devices differ.
pub fn fused_sgd(
    param: &Tensor,
    grad: &Tensor,
    momentum_buffer: Option<&Tensor>,
    grad_scale: Option<&Tensor>,
    s: SgdStep,
) -> Result<(), TorchError> {
    // SAFETY: all handles are live for the call.
    check(unsafe {
        ffi::anneal_torch_fused_sgd(
            raw(param),
            raw(grad),
            momentum_buffer.map_or(std::ptr::null_mut(), raw),
            grad_scale.map_or(std::ptr::null_mut(), raw),
            s.learning_rate,
            s.momentum,
            s.dampening,
            s.weight_decay,
            i32::from(s.nesterov),
            i32::from(s.is_first),
        )
    })
}

fn raw(tensor: &Tensor) -> *mut C_tensor {
    tensor.as_ptr().cast_mut()
}
