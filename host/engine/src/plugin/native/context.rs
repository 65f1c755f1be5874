//! What the host keeps behind the opaque pointers it hands to a plugin: errors, random numbers, parameters, outputs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use anneal_torch::dispatch::Place;
use anneal_torch::tensor::empty_meta;
use plugin_api::abi::{self, Status, Str, status};
use tch::Tensor;

use crate::conditioner::{Draws, ParamDecl};
use crate::error::{ComponentError, ErrorCode};

/// Longest error text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// One thing a plugin reported through `set_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub code: Status,
    pub message: String,
    pub config_path: Option<String>,
}

/// Behind `anneal_ctx`: one per plugin and one per instance.
pub(super) struct Context {
    /// `anneal.embedders` or `anneal.embedders/class`.
    name: String,
    call: Mutex<CallState>,
}

#[derive(Default)]
struct CallState {
    reported: Vec<Reported>,
    /// Why the host refused what the plugin asked of it.
    refused: Vec<String>,
    running: Option<Running>,
    /// Why the last host function failed, kept where the plugin may read it.
    last_failure: String,
}

/// What the running `forward` may use: its draws, without their lifetime, and where its tensors are.
struct Running {
    draws: *mut (dyn Draws + 'static),
    place: Place,
    thread: ThreadId,
}

// SAFETY: the pointer is only followed on the thread that lent it, while the call that lent it runs.
unsafe impl Send for Running {}

impl Context {
    pub(super) fn new(name: impl Into<String>) -> Box<Self> {
        Box::new(Self { name: name.into(), call: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn as_ptr(&self) -> *mut abi::Ctx {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn call(&self) -> MutexGuard<'_, CallState> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, code: Status, mut message: String, config_path: String) {
        if message.len() > TEXT_BYTES_MAX {
            let end = (0..=TEXT_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
            message.truncate(end);
        }
        let config_path = Some(config_path).filter(|path| !path.is_empty());
        self.call().reported.push(Reported { code, message, config_path });
    }

    /// Lends `draws` to the plugin for as long as the result lives, and has it make its tensors in `place`.
    pub(super) fn lend<'a>(&'a self, draws: &'a mut dyn Draws, place: Place) -> Lent<'a> {
        let draws: *mut (dyn Draws + 'a) = draws;
        // SAFETY: only the lifetime changes; `Lent` takes the pointer back before `'a` ends.
        let draws: *mut (dyn Draws + 'static) = unsafe { std::mem::transmute(draws) };
        self.call().running = Some(Running { draws, place, thread: std::thread::current().id() });
        Lent(self)
    }

    /// Draws for the plugin; what is refused is kept for the error's text.
    pub(super) fn draw(&self, purpose: &str, shape: &[i64]) -> Option<Tensor> {
        let mut call = self.call();
        let lent = call.running.as_ref().filter(|running| running.thread == std::thread::current().id());
        let drawn = match lent {
            // SAFETY: the draws are lent until `Lent` is dropped, which needs this lock, and this is their thread.
            Some(lent) => unsafe { &mut *lent.draws }
                .normal(purpose, shape)
                .map_err(|error| error.message)
                .and_then(|drawn| without_values(drawn, lent.place)),
            None => Err("random numbers are drawn inside forward, on its thread".to_owned()),
        };
        drawn.map_err(|reason| call.refused.push(reason)).ok()
    }

    /// Where the running `forward` makes its tensors, if it runs on this thread.
    pub(super) fn place(&self) -> Option<Place> {
        let call = self.call();
        call.running.as_ref().filter(|running| running.thread == std::thread::current().id()).map(|lent| lent.place)
    }

    /// Reports the failure of a host function in the plugin's name, so that it may just return the status.
    pub(super) fn fail(&self, code: Status, message: String) {
        self.call().last_failure.clone_from(&message);
        self.report(code, message, String::new());
    }

    /// The text of the last such failure, valid until the next.
    pub(super) fn last_failure(&self) -> Str {
        Str::new(&self.call().last_failure)
    }

    /// What was reported since the last time, ready for the next call.
    pub(super) fn take_reported(&self) -> Vec<Reported> {
        let mut call = self.call();
        call.refused.clear();
        call.last_failure.clear();
        std::mem::take(&mut call.reported)
    }

    /// The error of a function of the plugin that returned `code`, from what it reported and what it was refused.
    pub(super) fn error(&self, function: &str, code: Status, mut refused: Vec<String>) -> ComponentError {
        let mut call = self.call();
        refused.append(&mut call.refused);
        call.last_failure.clear();
        let last = std::mem::take(&mut call.reported).pop();
        let (mut message, config_path) = match last {
            Some(reported) => (reported.message, reported.config_path),
            None => (format!("failed with code {code} and gave no reason"), None),
        };
        if !refused.is_empty() {
            message = format!("{message}: {}", refused.join("; "));
        }
        let message = format!("{function}: {message}");
        ComponentError { component: self.name.clone(), message, config_path, code: error_code(code) }
    }

    /// An error that the host found in what the plugin did.
    pub(super) fn fault(&self, message: impl Into<String>) -> ComponentError {
        ComponentError::new(&self.name, ErrorCode::Internal, message)
    }
}

/// The numbers, or, where tensors have no values, their shape.
fn without_values(drawn: Tensor, place: Place) -> Result<Tensor, String> {
    if place.device_type != Place::META.device_type {
        return Ok(drawn);
    }
    empty_meta(&drawn.size(), drawn.kind()).map_err(|error| error.to_string())
}

/// Draws, while they are lent.
pub(super) struct Lent<'a>(&'a Context);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.call().running = None;
    }
}

fn error_code(code: Status) -> ErrorCode {
    match code {
        status::CONFIG => ErrorCode::InvalidConfig,
        status::ARGUMENT => ErrorCode::InvalidArgument,
        status::UNSUPPORTED | status::VERSION => ErrorCode::Unsupported,
        status::NUMERIC => ErrorCode::Numeric,
        _ => ErrorCode::Internal,
    }
}

/// Behind `anneal_sink`.
pub(super) enum Sink {
    /// Of `declare`.
    Params { decls: Vec<ParamDecl>, refused: Vec<String> },
    /// Of `forward`.
    Outputs { slots: &'static [&'static str], emitted: Vec<(&'static str, Tensor)>, refused: Vec<String> },
}

impl Sink {
    pub(super) fn params() -> Self {
        Self::Params { decls: Vec::new(), refused: Vec::new() }
    }

    /// Results that go to one of these slots.
    pub(super) fn outputs(slots: &'static [&'static str]) -> Self {
        Self::Outputs { slots, emitted: Vec::new(), refused: Vec::new() }
    }

    pub(super) fn as_ptr(&mut self) -> *mut abi::Sink {
        std::ptr::from_mut(self).cast()
    }

    pub(super) fn refuse(&mut self, reason: String) -> Status {
        match self {
            Self::Params { refused, .. } | Self::Outputs { refused, .. } => refused.push(reason),
        }
        status::ARGUMENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Draws for Ones {
        fn normal(&mut self, _: &str, shape: &[i64]) -> Result<Tensor, ComponentError> {
            Ok(Tensor::ones(shape, (tch::Kind::Float, tch::Device::Cpu)))
        }
    }

    #[test]
    fn draws_are_lent_for_a_call_and_to_its_thread() {
        let context = Context::new("acme.noise/white");
        let mut draws = Ones;
        {
            let _lent = context.lend(&mut draws, Place::CPU);
            assert_eq!(context.draw("noise", &[2]).unwrap().size(), [2]);
            assert_eq!(context.place(), Some(Place::CPU));
            std::thread::scope(|scope| {
                assert!(scope.spawn(|| context.draw("noise", &[2]).is_none()).join().unwrap());
                assert!(scope.spawn(|| context.place().is_none()).join().unwrap());
            });
        }
        assert!(context.draw("noise", &[2]).is_none());
        context.report(status::ARGUMENT, "no noise".to_owned(), String::new());
        let error = context.error("forward", status::ARGUMENT, Vec::new());
        assert!(error.message.starts_with("forward: no noise: random numbers are drawn inside forward"), "{error}");
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let context = Context::new("acme.loud");
        context.report(status::INTERNAL, "ä".repeat(TEXT_BYTES_MAX), "/dim".to_owned());
        let reported = context.take_reported();
        assert_eq!(reported[0].message.len(), TEXT_BYTES_MAX);
        assert_eq!(reported[0].config_path.as_deref(), Some("/dim"));
    }

    #[test]
    fn a_failure_without_a_reason_says_so() {
        let error = Context::new("acme.mute/one").error("create", 77, Vec::new());
        assert_eq!(error.to_string(), "acme.mute/one: create: failed with code 77 and gave no reason");
    }
}
