//! An instance of a native plugin's embedder or weighting: the calls, and what the host checks and restores around them.

use std::cell::Cell;
use std::mem::size_of;
use std::ptr;

use anneal_torch::dispatch::{self, Place};
use anneal_torch::{grad_mode, tensor};
use plugin_api::abi::{self, EmbedderV1, Str, status};
use tch::Tensor;

use super::context::{Context, Sink};
use super::crash;
use super::table;
use crate::conditioner::{Draws, EmbedderInput, ParamDecl};
use crate::error::{ComponentError, ErrorCode};

type Forward = unsafe extern "C" fn(*mut abi::Instance, *const abi::Call, *mut abi::Sink) -> abi::Status;
type Destroy = unsafe extern "C" fn(*mut abi::Instance);

/// What a call is about, beside its inputs.
pub(super) struct CallInfo<'a> {
    pub num_scenes: i64,
    pub frames_per_scene: i64,
    pub training: bool,
    pub draws: &'a mut dyn Draws,
}

/// An instance of a plugin's entry.
pub(super) struct Instance {
    /// `anneal.embedders/class`.
    name: String,
    /// The slots that it may emit to; an empty one is of no name.
    slots: &'static [&'static str],
    instance: *mut abi::Instance,
    forward: Forward,
    destroy: Destroy,
    params: Vec<ParamDecl>,
    /// A panic may have left the instance half changed: nothing but `destroy` is called any more.
    poisoned: Cell<bool>,
    // Declared last, so that it outlives the instance.
    context: Box<Context>,
}

// SAFETY: an instance may move between threads, and is entered by one at a time because it is not `Sync`.
unsafe impl Send for Instance {}

impl Instance {
    /// An instance of `entry`, its parameters declared, which may emit to `slots`.
    pub(super) fn create(
        table: *const EmbedderV1,
        name: &str,
        entry: &str,
        settings: &str,
        slots: &'static [&'static str],
    ) -> Result<Self, ComponentError> {
        let context = Context::new(name);
        // SAFETY: the table is as long as it says.
        let (create, destroy, declare, forward) = unsafe {
            (
                abi::member!(table, EmbedderV1, create),
                abi::member!(table, EmbedderV1, destroy),
                abi::member!(table, EmbedderV1, declare),
                abi::member!(table, EmbedderV1, forward),
            )
        };
        let (Some(create), Some(destroy), Some(forward)) = (create, destroy, forward) else {
            return Err(context.fault("the plugin lacks create, destroy or forward"));
        };
        let mut instance = ptr::null_mut();
        let inside = crash::enter(name, "create");
        // SAFETY: context, texts and the place for the instance outlive the call.
        let code = unsafe { create(context.as_ptr(), Str::new(entry), Str::new(settings), &raw mut instance) };
        drop(inside);
        if code != status::OK {
            return Err(context.error("create", code, Vec::new()));
        }
        if instance.is_null() {
            return Err(context.fault("create returned no instance"));
        }
        let (name, params, poisoned) = (name.to_owned(), Vec::new(), Cell::new(false));
        let mut made = Self { name, slots, instance, forward, destroy, params, poisoned, context };
        if let Some(declare) = declare {
            let mut sink = Sink::params();
            let code = {
                let _inside = crash::enter(&made.name, "declare");
                // SAFETY: instance, context and sink outlive the call.
                unsafe { declare(instance, made.context.as_ptr(), sink.as_ptr()) }
            };
            let Sink::Params { decls, refused } = sink else {
                return Err(made.context.fault("declare changed what it was given"));
            };
            // A plugin may overlook a refusal, and would then wait for a parameter that does not come.
            if code != status::OK || !refused.is_empty() {
                return Err(made.context.error("declare", code, refused));
            }
            made.params = decls;
        }
        Ok(made)
    }

    /// Runs the plugin's `forward`; grad mode and thread count come back whatever the plugin does.
    fn call(&self, call: &abi::Call) -> Result<Vec<(&'static str, Tensor)>, ComponentError> {
        let mut sink = Sink::outputs(self.slots);
        let (threads, recorded) = (tch::get_num_threads(), grad_mode::enabled());
        let code = {
            let _grad_mode = grad_mode::keep();
            let _inside = crash::enter(&self.name, "forward");
            // SAFETY: the instance lives until it is dropped, and what `call` points to outlives the call.
            let code = unsafe { (self.forward)(self.instance, call, sink.as_ptr()) };
            if grad_mode::enabled() != recorded {
                self.left_changed("the grad mode");
            }
            code
        };
        if tch::get_num_threads() != threads {
            tch::set_num_threads(threads);
            self.left_changed("libtorch's number of threads");
        }
        let Sink::Outputs { emitted, refused, .. } = sink else {
            return Err(self.context.fault("forward changed what it was given"));
        };
        if code == status::PANIC {
            self.poisoned.set(true);
        }
        if code != status::OK || !refused.is_empty() {
            return Err(self.context.error("forward", code, refused));
        }
        self.context.take_reported();
        Ok(emitted)
    }

    fn left_changed(&self, what: &'static str) {
        tracing::warn!(target: "plugin", plugin = self.name, "forward left {what} changed; it is as it was again");
        table::left_changed(what);
    }

    /// An error of what was emitted.
    pub(super) fn wrong_output(&self, message: String) -> ComponentError {
        ComponentError::new(&self.name, ErrorCode::InvalidArgument, format!("forward: {message}"))
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The parameters it declares.
    pub(super) fn params(&self) -> &[ParamDecl] {
        &self.params
    }

    /// Calls it. At least one result comes, each under one of its slots and defined.
    pub(super) fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        params: &[Tensor],
        call: CallInfo<'_>,
    ) -> Result<Vec<(&'static str, Tensor)>, ComponentError> {
        if self.poisoned.get() {
            return Err(self.context.fault("forward: an earlier panic left this instance unusable"));
        }
        if params.len() != self.params.len() {
            let message =
                format!("forward: {} parameters were declared, {} are given", self.params.len(), params.len());
            return Err(self.context.fault(message));
        }
        let texts: Vec<Vec<Str>> = inputs.iter().map(texts_of).collect();
        let raw: Vec<abi::Input> = inputs.iter().zip(&texts).map(|(input, texts)| raw_input(input, texts)).collect();
        let handles: Vec<*mut abi::Tensor> = params.iter().map(tensor::handle).collect();
        let watched = Watched::new(inputs, params, &self.params);
        let raw_call = abi::Call {
            struct_size: size_of::<abi::Call>(),
            ctx: self.context.as_ptr(),
            inputs: raw.as_ptr(),
            num_inputs: raw.len(),
            input_size: size_of::<abi::Input>(),
            params: handles.as_ptr(),
            num_params: handles.len(),
            num_scenes: call.num_scenes,
            frames_per_scene: call.frames_per_scene,
            flags: if call.training { abi::CALL_TRAINING } else { 0 },
            reserved: 0,
        };
        let outputs = {
            let _lent = self.context.lend(call.draws, place_of(inputs, params));
            self.call(&raw_call)?
        };
        if let Some(written) = watched.written() {
            return Err(self.context.fault(format!(
                "forward: the plugin wrote to {written} in place; inputs and parameters are read only"
            )));
        }
        if outputs.is_empty() {
            return Err(self.wrong_output("nothing was emitted".to_owned()));
        }
        if outputs.iter().any(|(_, tensor)| !tensor.defined()) {
            return Err(self.wrong_output("an emitted tensor is undefined".to_owned()));
        }
        Ok(outputs)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _inside = crash::enter(&self.name, "destroy");
        // SAFETY: the instance is not used again; its context is dropped after it.
        unsafe { (self.destroy)(self.instance) };
    }
}

/// Where a call makes its tensors: where its parameters and inputs are.
fn place_of(inputs: &[EmbedderInput<'_>], params: &[Tensor]) -> Place {
    let given = inputs.iter().find_map(|input| match input {
        EmbedderInput::Tensor { tensor, .. } => Some(*tensor),
        EmbedderInput::Texts { .. } => None,
    });
    let first = params.first().or(given);
    first.and_then(|tensor| dispatch::info(tensor).ok()).map_or(Place::CPU, |info| info.place)
}

fn texts_of(input: &EmbedderInput<'_>) -> Vec<Str> {
    match input {
        EmbedderInput::Tensor { .. } => Vec::new(),
        EmbedderInput::Texts { texts, .. } => texts.iter().map(|text| Str::new(text)).collect(),
    }
}

fn raw_input(input: &EmbedderInput<'_>, texts: &[Str]) -> abi::Input {
    let (name, handle) = match input {
        EmbedderInput::Tensor { name, tensor } => (name, tensor::handle(tensor).cast_const()),
        EmbedderInput::Texts { name, .. } => (name, ptr::null()),
    };
    abi::Input { name: Str::new(name), tensor: handle, texts: texts.as_ptr(), num_texts: texts.len() }
}

/// How often each tensor was written to before a call.
struct Watched<'a>(Vec<(String, &'a Tensor, i64)>);

impl<'a> Watched<'a> {
    fn new(inputs: &'a [EmbedderInput<'_>], params: &'a [Tensor], decls: &[ParamDecl]) -> Self {
        let inputs = inputs.iter().filter_map(|input| match input {
            EmbedderInput::Tensor { name, tensor } => Some((format!("the input `{name}`"), *tensor)),
            EmbedderInput::Texts { .. } => None,
        });
        let params = params.iter().zip(decls).map(|(param, decl)| (format!("the parameter `{}`", decl.name), param));
        Self(inputs.chain(params).map(|(what, value)| (what, value, tensor::version(value))).collect())
    }

    /// What was written to since.
    fn written(&self) -> Option<&str> {
        let changed = self.0.iter().find(|(_, value, before)| tensor::version(value) != *before);
        changed.map(|(what, ..)| what.as_str())
    }
}
