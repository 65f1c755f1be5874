//! The functions that the host lends to plugins.

use std::mem::size_of;
use std::sync::OnceLock;

use anneal_torch::tensor;
use plugin_api::abi::{self, Ctx, HostApi, Status, Str, status};
use serde_json::Value;

use super::call::{context, guard, shape};
use super::context::{Context, Sink};
use super::ops;
use crate::conditioner::{Init, ParamDecl};

struct Table(HostApi);

// SAFETY: the table is constant, and its functions may be called from the threads that the header allows.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// The table, which lives as long as the process.
pub(super) fn host_api() -> &'static HostApi {
    static TABLE: OnceLock<Table> = OnceLock::new();
    &TABLE
        .get_or_init(|| {
            Table(HostApi {
                struct_size: size_of::<HostApi>(),
                abi_major: abi::ABI_MAJOR,
                abi_minor: abi::ABI_MINOR,
                reserved: 0,
                host_version: Str::new(env!("CARGO_PKG_VERSION")),
                torch_version: Str::new(tensor::torch_version()),
                set_error: Some(set_error),
                log_enabled: Some(log_enabled),
                log: Some(log),
                tensor_retain: Some(tensor_retain),
                tensor_release: Some(tensor_release),
                draw_normal: Some(draw_normal),
                declare_param: Some(declare_param),
                emit_output: Some(emit_output),
                tensor_info: Some(ops::tensor_info),
                tensor_from_host: Some(ops::tensor_from_host),
                tensor_to_host: Some(ops::tensor_to_host),
                op_find: Some(ops::op_find),
                op_call: Some(ops::op_call),
                last_error: Some(ops::last_error),
            })
        })
        .0
}

unsafe extern "C" fn set_error(ctx: *mut Ctx, code: Status, message: Str, config_path: Str) {
    guard((), || {
        // SAFETY: the plugin passes the context of the running call and readable texts.
        let (context, message, path) = unsafe { (context(ctx), message.to_text(), config_path.to_text()) };
        if let Some(context) = context {
            context.report(code, message, path);
        }
    });
}

unsafe extern "C" fn log_enabled(_: *mut Ctx, level: i32) -> i32 {
    guard(0, || {
        let enabled = match level {
            0 => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            1 => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            2 => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            3 => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            _ => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        };
        enabled.into()
    })
}

unsafe extern "C" fn log(ctx: *mut Ctx, level: i32, message: Str) {
    guard((), || {
        // SAFETY: the plugin passes a live context and a readable text.
        let (context, message) = unsafe { (context(ctx), message.to_text()) };
        let plugin = context.map_or("", Context::name);
        match level {
            0 => tracing::trace!(target: "plugin", plugin, "{message}"),
            1 => tracing::debug!(target: "plugin", plugin, "{message}"),
            2 => tracing::info!(target: "plugin", plugin, "{message}"),
            3 => tracing::warn!(target: "plugin", plugin, "{message}"),
            _ => tracing::error!(target: "plugin", plugin, "{message}"),
        }
    });
}

unsafe extern "C" fn tensor_retain(handle: *const abi::Tensor) -> *mut abi::Tensor {
    guard(std::ptr::null_mut(), || {
        if handle.is_null() {
            return std::ptr::null_mut();
        }
        // SAFETY: the plugin passes a live handle.
        let borrowed = unsafe { tensor::borrow(handle.cast_mut()) };
        tensor::release(borrowed.shallow_clone())
    })
}

unsafe extern "C" fn tensor_release(handle: *mut abi::Tensor) {
    guard((), || {
        if !handle.is_null() {
            // SAFETY: the plugin owns the handle and gives it up.
            drop(unsafe { tensor::adopt(handle) });
        }
    });
}

unsafe extern "C" fn draw_normal(
    ctx: *mut Ctx,
    purpose: Str,
    ndim: i32,
    sizes: *const i64,
    out: *mut *mut abi::Tensor,
) -> Status {
    guard(status::INTERNAL, || {
        // SAFETY: the plugin passes the context of the running call, a readable text and `ndim` sizes.
        let (context, purpose, shape) = unsafe { (context(ctx), purpose.to_text(), shape(ndim, sizes)) };
        match context.and_then(|context| context.draw(&purpose, &shape)) {
            Some(numbers) => {
                // SAFETY: the plugin passes a place for the handle.
                unsafe { *out = tensor::release(numbers) };
                status::OK
            }
            None => status::ARGUMENT,
        }
    })
}

unsafe extern "C" fn declare_param(
    sink: *mut abi::Sink,
    name: Str,
    ndim: i32,
    sizes: *const i64,
    init_json: Str,
    flags: u32,
) -> Status {
    guard(status::INTERNAL, || {
        // SAFETY: the plugin passes the sink of the running call, readable texts and `ndim` sizes.
        let (sink, name, shape, init) =
            unsafe { (sink.cast::<Sink>().as_mut(), name.to_text(), shape(ndim, sizes), init_json.to_text()) };
        match sink {
            Some(sink) => declare(sink, name, shape, &init, flags),
            None => status::ARGUMENT,
        }
    })
}

fn declare(sink: &mut Sink, name: String, shape: Vec<i64>, init: &str, flags: u32) -> Status {
    let Sink::Params { decls, .. } = sink else {
        return sink.refuse("parameters are declared in declare".to_owned());
    };
    let legal = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    if name.is_empty() || !name.chars().all(legal) {
        return sink.refuse(format!("`{name}` is no name of a parameter: letters, digits, `_` and `.`"));
    }
    if decls.iter().any(|decl| decl.name == name) {
        return sink.refuse(format!("the parameter `{name}` is declared twice"));
    }
    if shape.iter().any(|size| *size < 1) {
        return sink.refuse(format!("the parameter `{name}` has shape {shape:?}"));
    }
    let Some(init) = parse_init(init) else {
        return sink.refuse(format!(
            "the parameter `{name}` starts as `{init}`, which is none of zeros, ones, normal, uniform"
        ));
    };
    let buffer = flags & abi::PARAM_BUFFER != 0;
    decls.push(ParamDecl { name, shape, init, buffer });
    status::OK
}

fn parse_init(json: &str) -> Option<Init> {
    let Ok(Value::Object(init)) = serde_json::from_str(json) else { return None };
    let (kind, arguments) = init.iter().next().filter(|_| init.len() == 1)?;
    let number = |key: &str| arguments.get(key).and_then(Value::as_f64);
    match kind.as_str() {
        "zeros" => Some(Init::Zeros),
        "ones" => Some(Init::Ones),
        "normal" => Some(Init::Normal { std: number("std")? }),
        "uniform" => Some(Init::Uniform { bound: number("bound")? }),
        _ => None,
    }
}

unsafe extern "C" fn emit_output(sink: *mut abi::Sink, slot: Str, owned: *mut abi::Tensor) -> Status {
    guard(status::INTERNAL, || {
        if owned.is_null() {
            return status::ARGUMENT;
        }
        // SAFETY: the plugin gives up the handle, and passes the sink of the running call and a readable text.
        let (tensor, sink, slot) = unsafe { (tensor::adopt(owned), sink.cast::<Sink>().as_mut(), slot.to_text()) };
        let Some(sink) = sink else { return status::ARGUMENT };
        let Sink::Outputs { slots, emitted, .. } = sink else {
            return sink.refuse("outputs are emitted in forward".to_owned());
        };
        let Some(slot) = slots.iter().copied().find(|known| *known == slot) else {
            let known = slots.join(", ");
            return sink.refuse(format!("there is no slot `{slot}`; there are {}", known.trim_start_matches(", ")));
        };
        emitted.push((slot, tensor));
        status::OK
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sink: &Sink) -> &str {
        match sink {
            Sink::Params { refused, .. } | Sink::Outputs { refused, .. } => refused.last().map_or("", String::as_str),
        }
    }

    #[test]
    fn parameters_are_checked_as_they_are_declared() {
        let mut sink = Sink::params();
        let normal = r#"{"normal":{"std":0.5}}"#;
        assert_eq!(declare(&mut sink, "table.weight".to_owned(), vec![3, 2], normal, 0), status::OK);
        assert_eq!(declare(&mut sink, "steps".to_owned(), vec![], r#"{"zeros":{}}"#, abi::PARAM_BUFFER), status::OK);
        let cases = [
            ("", vec![1], normal, "no name"),
            ("a/b", vec![1], normal, "no name"),
            ("table.weight", vec![1], normal, "twice"),
            ("other", vec![2, 0], normal, "[2, 0]"),
            ("other", vec![2], r#"{"normal":{}}"#, "none of zeros"),
            ("other", vec![2], r#"{"zeros":{},"ones":{}}"#, "none of zeros"),
        ];
        for (name, shape, init, reason) in cases {
            assert_eq!(declare(&mut sink, name.to_owned(), shape, init, 0), status::ARGUMENT);
            assert!(refusal(&sink).contains(reason), "{}", refusal(&sink));
        }
        let Sink::Params { decls, .. } = sink else { unreachable!() };
        assert_eq!(decls.len(), 2);
        assert_eq!((decls[0].init, decls[0].buffer, decls[1].buffer), (Init::Normal { std: 0.5 }, false, true));
    }

    #[test]
    fn handles_are_retained_and_released() {
        let tensor = tch::Tensor::from_slice(&[1.0_f32, 2.0]);
        // SAFETY: the handle lives as long as `tensor`, and the retained one is released once.
        unsafe {
            let other = tensor_retain(tensor::handle(&tensor));
            assert_eq!(tensor::borrow(other).data_ptr(), tensor.data_ptr());
            tensor_release(other);
            tensor_release(std::ptr::null_mut());
            assert!(tensor_retain(std::ptr::null()).is_null());
        }
        assert_eq!(tensor.size(), [2]);
    }

    #[test]
    fn outputs_go_where_they_belong() {
        let mut sink = Sink::outputs(&["", "vector"]);
        let emit = |sink: &mut Sink, slot: &str| {
            let tensor = tensor::release(tch::Tensor::from_slice(&[1.0_f32]));
            // SAFETY: the sink and the slot live, and the handle is given away.
            unsafe { emit_output(sink.as_ptr(), Str::new(slot), tensor) }
        };
        assert_eq!((emit(&mut sink, "vector"), emit(&mut sink, "")), (status::OK, status::OK));
        assert_eq!(emit(&mut sink, "vektor"), status::ARGUMENT);
        assert!(refusal(&sink).contains("`vektor`"));
        let Sink::Outputs { emitted, .. } = &sink else { unreachable!() };
        assert_eq!(emitted.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), ["vector", ""]);
        let mut params = Sink::params();
        assert_eq!(emit(&mut params, "vector"), status::ARGUMENT);
    }
}
