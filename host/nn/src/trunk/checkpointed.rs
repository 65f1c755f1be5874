//! Layers that give up their activations and compute them again in backward.

use std::sync::{Arc, Mutex, PoisonError};

use anneal_torch::checkpoint::checkpoint;
use anneal_torch::grad_mode;
use tch::Tensor;

use super::{Call, Layer};

/// A layer under activation checkpointing.
///
/// Backward runs the layer on another thread on some devices; the lock is there because tensors may change threads but
/// not be shared by them.
pub(crate) struct Checkpointed(Arc<Mutex<Box<dyn Layer>>>);

impl Checkpointed {
    pub fn new(layer: Box<dyn Layer>) -> Self {
        Self(Arc::new(Mutex::new(layer)))
    }
}

fn run(layer: &Mutex<Box<dyn Layer>>, x: &Tensor, call: &Call) -> Tensor {
    layer.lock().unwrap_or_else(PoisonError::into_inner).forward(x, call)
}

impl Layer for Checkpointed {
    fn forward(&self, x: &Tensor, call: &Call) -> Tensor {
        if !grad_mode::enabled() {
            return run(&self.0, x, call);
        }
        let (layer, replay) = (self.0.clone(), call.shallow_clone());
        // What may need a gradient goes in as an input, so that backward finds it.
        let mut inputs = vec![x, &call.emb];
        inputs.extend(call.context.as_ref());
        inputs.extend(call.time_context.as_ref());
        inputs.extend(call.cond_view.as_ref());
        let result = checkpoint(&inputs, move |inputs| {
            let mut inputs = inputs.iter().map(Tensor::shallow_clone);
            let mut next = || inputs.next().unwrap_or_else(|| panic!("a checkpointed layer lost an input"));
            let (x, emb) = (next(), next());
            let context = replay.context.is_some().then(&mut next);
            let time_context = replay.time_context.is_some().then(&mut next);
            let cond_view = replay.cond_view.is_some().then(&mut next);
            vec![run(&layer, &x, &Call { emb, context, time_context, cond_view, ..replay.shallow_clone() })]
        });
        match result {
            Ok(mut outputs) => outputs.remove(0),
            Err(error) => panic!("{error}"),
        }
    }
}
