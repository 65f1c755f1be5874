//! Failures of components as a person reads them.

use wasmtime::{Trap, WasmBacktrace};

use super::bindings::{PluginError, WireCode};
use super::limits::{MESSAGE_CHARS, MemoryExceeded, TimeExceeded};
use super::state::{HostState, cut};
use crate::error::{ComponentError, ErrorCode};

/// Frames of a trap's backtrace that are shown.
const FRAMES: usize = 8;

/// An error that the plugin returned.
pub fn refused(component: &str, error: PluginError) -> ComponentError {
    let code = match error.code {
        WireCode::InvalidConfig => ErrorCode::InvalidConfig,
        WireCode::InvalidArgument => ErrorCode::InvalidArgument,
        WireCode::Unsupported => ErrorCode::Unsupported,
        WireCode::Numeric => ErrorCode::Numeric,
        WireCode::BudgetExhausted => ErrorCode::BudgetExhausted,
        WireCode::Cancelled => ErrorCode::Cancelled,
        WireCode::Internal => ErrorCode::Internal,
    };
    let mut told = ComponentError::new(component, code, cut(&error.message, MESSAGE_CHARS));
    told.config_path = error.path.map(|path| cut(&path, MESSAGE_CHARS).to_owned());
    told
}

/// The end of a call that did not return: what stopped it, where, and the guest's own last words.
pub fn stopped(function: &str, error: &wasmtime::Error, state: &HostState) -> ComponentError {
    let (code, what) = classify(error);
    let mut message = format!("`{function}` was stopped: {what}");
    if let Some(line) = &state.log.last_error {
        message.push_str(&format!("\n  its last error line: {}", cut(line, MESSAGE_CHARS)));
    }
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    for frame in frames.iter().take(FRAMES) {
        let name = frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), readable);
        message.push_str(&format!("\n  in {name}"));
    }
    ComponentError::new(&state.component, code, message)
}

fn classify(error: &wasmtime::Error) -> (ErrorCode, String) {
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        return (ErrorCode::BudgetExhausted, exceeded.to_string());
    }
    if let Some(exceeded) = error.downcast_ref::<TimeExceeded>() {
        return (ErrorCode::BudgetExhausted, exceeded.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            (ErrorCode::BudgetExhausted, "more instructions than a call may take (an endless loop?)".to_owned())
        }
        Some(Trap::Interrupt) => (ErrorCode::BudgetExhausted, "interrupted".to_owned()),
        Some(trap) => (ErrorCode::Internal, trap.to_string()),
        None => (ErrorCode::Internal, error.root_cause().to_string()),
    }
}

/// A symbol without the hash that compilers append.
fn readable(name: &str) -> String {
    let name = wasmtime_demangle(name);
    cut(&name, 200).to_owned()
}

/// wasmtime demangles names in its own texts; in a frame they are as the linker wrote them.
fn wasmtime_demangle(name: &str) -> String {
    // Legacy Rust symbols end in `17h` and sixteen digits of hash.
    let plain = name.strip_prefix("_ZN").and_then(|rest| rest.strip_suffix('E'));
    let Some(mut rest) = plain else { return name.to_owned() };
    let mut parts = Vec::new();
    while let Some(digits) = rest.find(|letter: char| !letter.is_ascii_digit()).filter(|digits| *digits > 0) {
        let Ok(length) = rest[..digits].parse::<usize>() else { break };
        let Some(part) = rest.get(digits..digits + length) else { break };
        parts.push(part);
        rest = &rest[digits + length..];
    }
    if parts.last().is_some_and(|part| part.len() == 17 && part.starts_with('h')) {
        parts.pop();
    }
    parts.join("::")
}
