//! The host as a plugin sees it: error texts, log lines, random numbers, and where parameters and outputs go.

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;

use super::error::{Error, ErrorKind, Result};
use super::handle::Handle;
use super::params::ParamDecl;
use crate::abi::{self, Ctx, HostApi, Sink, Status, Str, status};

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// Every step of what happens.
    Trace = 0,
    /// For whoever looks for a fault.
    Debug = 1,
    /// For every reader.
    Info = 2,
    /// Something is probably wrong.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

/// Whether anyone reads log lines of this level; false before the host has loaded the plugin.
pub fn log_enabled(level: Level) -> bool {
    HOST.get().is_some_and(|host| {
        // SAFETY: the host's table and the context live as long as the process.
        unsafe {
            abi::member!(host.api, HostApi, log_enabled).is_some_and(|enabled| enabled(host.ctx(), level as i32) != 0)
        }
    })
}

/// Writes a line to the host's log, under the plugin's name. Any thread may.
pub fn log(level: Level, message: &str) {
    if let Some(host) = HOST.get().filter(|_| log_enabled(level)) {
        // SAFETY: as above; the host copies the message.
        unsafe {
            if let Some(log) = abi::member!(host.api, HostApi, log) {
                log(host.ctx(), level as i32, Str::new(message));
            }
        }
    }
}

thread_local! {
    /// The context of the call that runs on this thread, so that log lines carry the instance's name.
    static CURRENT: Cell<*mut Ctx> = const { Cell::new(ptr::null_mut()) };
}

/// Marks the thread as inside a call while it lives.
pub(super) struct InCall {
    before: *mut Ctx,
}

impl InCall {
    pub(super) fn enter(ctx: *mut Ctx) -> Self {
        Self { before: CURRENT.replace(ctx) }
    }
}

impl Drop for InCall {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

static HOST: OnceLock<Host> = OnceLock::new();

/// The host's table and the plugin's context, as `init` received them.
pub(super) struct Host {
    pub(super) api: *const HostApi,
    plugin_ctx: *mut Ctx,
}

// SAFETY: the host promises that both live as long as the process, and that [any] functions may be called from every
// thread; the others are only called on the thread of a call.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// Remembers the host. A second call changes nothing, because it comes from the same host.
///
/// # Safety
/// `api` and `ctx` must live as long as the process.
pub(super) unsafe fn remember(api: *const HostApi, ctx: *mut Ctx) {
    let _ = HOST.set(Host { api, plugin_ctx: ctx });
}

pub(super) fn host() -> Result<&'static Host> {
    HOST.get().ok_or_else(|| Error::new(ErrorKind::Internal, "the host did not call init"))
}

pub(super) fn too_old(function: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("this host has no `{function}`"))
}

impl Host {
    pub(super) fn ctx(&self) -> *mut Ctx {
        let current = CURRENT.get();
        if current.is_null() { self.plugin_ctx } else { current }
    }

    /// Says why the running function fails.
    pub(super) fn set_error(&self, ctx: *mut Ctx, code: Status, message: &str, config_path: &str) {
        // SAFETY: `ctx` is that of the running call, and the host copies both texts.
        unsafe {
            if let Some(set_error) = abi::member!(self.api, HostApi, set_error) {
                set_error(ctx, code, Str::new(message), Str::new(config_path));
            }
        }
    }

    /// Random numbers from the streams of the scenes in the call.
    pub(super) fn draw_normal<T: Handle>(&self, ctx: *mut Ctx, purpose: &str, shape: &[i64]) -> Result<T> {
        let mut out = ptr::null_mut();
        // SAFETY: called inside forward with its context; sizes and purpose outlive the call.
        let code = unsafe {
            let draw = abi::member!(self.api, HostApi, draw_normal).ok_or_else(|| too_old("draw_normal"))?;
            draw(ctx, Str::new(purpose), shape.len() as i32, shape.as_ptr(), &raw mut out)
        };
        if code != status::OK || out.is_null() {
            // The host has set the error's text itself; this one is what a caller who looks at it reads.
            return Err(Error::argument(format!("the host refused random numbers of shape {shape:?} for `{purpose}`")));
        }
        // SAFETY: the host hands over a live handle of the process's libtorch.
        Ok(unsafe { T::from_handle(out) })
    }

    pub(super) fn declare(&self, sink: *mut Sink, decl: &ParamDecl) -> Result<()> {
        let flags = if decl.buffer { abi::PARAM_BUFFER } else { 0 };
        let init = decl.init.to_json();
        // SAFETY: called inside declare with its sink; name, sizes and init outlive the call.
        let code = unsafe {
            let declare = abi::member!(self.api, HostApi, declare_param).ok_or_else(|| too_old("declare_param"))?;
            let rank = decl.shape.len() as i32;
            declare(sink, Str::new(&decl.name), rank, decl.shape.as_ptr(), Str::new(&init), flags)
        };
        if code == status::OK {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Internal,
            format!("the host refused the parameter `{}` of shape {:?}", decl.name, decl.shape),
        ))
    }

    pub(super) fn emit<T: Handle>(&self, sink: *mut Sink, slot: &str, tensor: T) -> Result<()> {
        // SAFETY: called inside forward with its sink; the handle is ours to give, and the host takes it in any case.
        let code = unsafe {
            let emit = abi::member!(self.api, HostApi, emit_output).ok_or_else(|| too_old("emit_output"))?;
            emit(sink, Str::new(slot), tensor.into_handle())
        };
        if code == status::OK {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Internal, format!("the host refused an output of slot `{slot}`")))
    }
}
