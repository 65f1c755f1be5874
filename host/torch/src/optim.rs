//! The fused AdamW step.

use tch::Tensor;

use crate::ffi::{self, TorchError, check};

/// Settings of one AdamW step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay rates of the moments.
    pub betas: [f64; 2],
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// Moves `param` by one step (Loshchilov and Hutter 2019, algorithm 2), in one pass over memory.
///
/// # Shapes
/// - `param`, `grad`, `exp_avg`, `exp_avg_sq`: all the same, f32
/// - `step`: `[]` f32, the number of this step, counted from 1
/// - `grad_scale`: `[]` f32; `grad` is divided by it first
///
/// # Errors
/// When shapes, kinds or devices differ.
pub fn fused_adamw(
    param: &Tensor,
    grad: &Tensor,
    exp_avg: &Tensor,
    exp_avg_sq: &Tensor,
    step: &Tensor,
    grad_scale: Option<&Tensor>,
    s: AdamWStep,
) -> Result<(), TorchError> {
    let raw = |t: &Tensor| t.as_ptr().cast_mut();
    // SAFETY: all handles are live for the call.
    check(unsafe {
        ffi::anneal_torch_fused_adamw(
            raw(param),
            raw(grad),
            raw(exp_avg),
            raw(exp_avg_sq),
            raw(step),
            grad_scale.map_or(std::ptr::null_mut(), raw),
            s.learning_rate,
            s.betas[0],
            s.betas[1],
            s.weight_decay,
            s.eps,
        )
    })
}
