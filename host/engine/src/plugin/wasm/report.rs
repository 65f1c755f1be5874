//! Failures of components as a person reads them.

use wasmtime::{Trap, WasmBacktrace};

use super::bindings::{PluginError, WireCode};
use super::limits::{MESSAGE_CHARS, MemoryExceeded, TimeExceeded};
use super::state::{HostState, cut};
use crate::error::{ComponentError, ErrorCode};

/// Frames of a trap's backtrace that are shown.
const FRAMES: usize = 8;
/// Bytes of a function's name that are shown.
const NAME_BYTES: usize = 200;

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
    let names = frames.iter().map(|frame| match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    });
    for name in names.filter(|name| !is_panic_machinery(name)).take(FRAMES) {
        message.push_str(&format!("\n  in {}", cut(&name, NAME_BYTES)));
    }
    ComponentError::new(&state.component, code, message)
}

/// Between a panic and its cause lie frames that are the same in every Rust plugin.
fn is_panic_machinery(name: &str) -> bool {
    ["__rustc::", "std::", "<std::", "core::panicking::"].iter().any(|prefix| name.starts_with(prefix))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backtraces_begin_with_the_plugins_own_functions() {
        let demangled = |name: &str| format!("{:#}", rustc_demangle::demangle(name));
        assert!(is_panic_machinery(&demangled("_RNvCsfLfy6EI15iL_7___rustc17rust_begin_unwind")));
        assert!(is_panic_machinery(&demangled("_RNvNtCsgXGp5Oqx2Ny_4core9panicking18panic_bounds_check")));
        assert!(!is_panic_machinery(&demangled("_RNvCs1234_6karras6sigmas")));
        assert!(!is_panic_machinery("anneal:plugin/weighting@1.0.0#weights"));
    }
}
