//! The C ABI of native plugins as Rust structs; `include/anneal_plugin.h` is the same in C, and says what each means.

use std::ffi::{c_char, c_void};

#[cfg(test)]
mod json;
mod value;

pub use value::{DeviceNumbers, Kwarg, OpCallFn, TensorInfo, Value, ValueData, tag};

/// Structs of another major version must not be read.
pub const ABI_MAJOR: u16 = 1;
/// Counts the members added to structs since 1.0.
pub const ABI_MINOR: u16 = 1;
/// The [`ABI_MINOR`] that brought the host's operations.
pub const ABI_MINOR_OPS: u16 = 1;

/// The symbol a plugin exports, an [`EntryFn`].
pub const ENTRY_SYMBOL: &std::ffi::CStr = c"anneal_plugin_entry_v1";
/// The extension that a plugin with embedders answers with an [`EmbedderV1`].
pub const EMBEDDER_EXTENSION: &std::ffi::CStr = c"anneal.embedder/1";
/// The extension that a plugin with weightings answers with a [`WeightingV1`].
pub const WEIGHTING_EXTENSION: &std::ffi::CStr = c"anneal.weighting/1";
/// The input of a weighting.
pub const SIGMA_INPUT: &str = "sigma";
/// The slot of what a row's loss is multiplied by.
pub const WEIGHT_SLOT: &str = "weight";
/// The slot of what is added to a row's weighted loss.
pub const OFFSET_SLOT: &str = "offset";

/// The flag of [`HostApi::declare_param`] for what is saved and never trained.
pub const PARAM_BUFFER: u32 = 1;
/// The flag of [`Call::flags`] for training.
pub const CALL_TRAINING: u32 = 1;

/// The outcome of a function.
pub type Status = i32;

/// The values of [`Status`].
pub mod status {
    use super::Status;

    /// Success.
    pub const OK: Status = 0;
    /// The entry's settings are wrong.
    pub const CONFIG: Status = 1;
    /// An input is wrong.
    pub const ARGUMENT: Status = 2;
    /// Cannot be done.
    pub const UNSUPPORTED: Status = 3;
    /// A result is not finite.
    pub const NUMERIC: Status = 4;
    /// libtorch refused an operation.
    pub const TORCH: Status = 5;
    /// The plugin broke inside; its instance is lost.
    pub const PANIC: Status = 6;
    /// The host is too old for the plugin.
    pub const VERSION: Status = 7;
    /// Anything else.
    pub const INTERNAL: Status = 8;
}

/// A borrowed text of known length.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Str {
    /// First byte; may be null when `len` is 0.
    pub ptr: *const c_char,
    /// Bytes.
    pub len: usize,
}

impl Str {
    /// No text.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// A view of `text`, valid as long as that is.
    pub const fn new(text: &str) -> Self {
        Self { ptr: text.as_ptr().cast(), len: text.len() }
    }

    /// The text; what is not UTF-8 is replaced.
    ///
    /// # Safety
    /// `ptr` must point to `len` readable bytes, or `len` be 0.
    pub unsafe fn to_text(self) -> String {
        if self.ptr.is_null() || self.len == 0 {
            return String::new();
        }
        // SAFETY: as the caller promises.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr.cast::<u8>(), self.len) };
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// A tensor's handle: an `at::Tensor`, tch's `C_tensor`.
pub type Tensor = c_void;

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            opaque: [u8; 0],
        }
    )*};
}

opaque! {
    /// The host's, one per plugin and one per instance.
    Ctx;
    /// The plugin's.
    Instance;
    /// The host's: collects parameters or outputs.
    Sink;
    /// The host's: an operation of libtorch.
    Op;
}

/// What the host lends a plugin.
#[repr(C)]
pub struct HostApi {
    /// Size of the struct as its writer knew it.
    pub struct_size: usize,
    /// [`ABI_MAJOR`] of the host.
    pub abi_major: u16,
    /// [`ABI_MINOR`] of the host.
    pub abi_minor: u16,
    /// 0.
    pub reserved: u32,
    /// Version of the host.
    pub host_version: Str,
    /// Version of the process's libtorch.
    pub torch_version: Str,
    /// `ctx, code, message, config_path`.
    pub set_error: Option<unsafe extern "C" fn(*mut Ctx, Status, Str, Str)>,
    /// `ctx, level`.
    pub log_enabled: Option<unsafe extern "C" fn(*mut Ctx, i32) -> i32>,
    /// `ctx, level, message`.
    pub log: Option<unsafe extern "C" fn(*mut Ctx, i32, Str)>,
    /// Another handle of the same tensor.
    pub tensor_retain: Option<unsafe extern "C" fn(*const Tensor) -> *mut Tensor>,
    /// Frees a handle.
    pub tensor_release: Option<unsafe extern "C" fn(*mut Tensor)>,
    /// `ctx, purpose, ndim, sizes, out`.
    pub draw_normal: Option<unsafe extern "C" fn(*mut Ctx, Str, i32, *const i64, *mut *mut Tensor) -> Status>,
    /// `sink, name, ndim, sizes, init_json, flags`.
    pub declare_param: Option<unsafe extern "C" fn(*mut Sink, Str, i32, *const i64, Str, u32) -> Status>,
    /// `sink, slot, owned`.
    pub emit_output: Option<unsafe extern "C" fn(*mut Sink, Str, *mut Tensor) -> Status>,
    /// `ctx, tensor, out`; since 1.1, as all that follow.
    pub tensor_info: Option<unsafe extern "C" fn(*mut Ctx, *const Tensor, *mut TensorInfo) -> Status>,
    /// `ctx, data, dtype, ndim, sizes, out`.
    pub tensor_from_host:
        Option<unsafe extern "C" fn(*mut Ctx, *const c_void, i32, i32, *const i64, *mut *mut Tensor) -> Status>,
    /// `ctx, tensor, dst, bytes`.
    pub tensor_to_host: Option<unsafe extern "C" fn(*mut Ctx, *const Tensor, *mut c_void, usize) -> Status>,
    /// `ctx, name, overload, out`.
    pub op_find: Option<unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, *mut *const Op) -> Status>,
    /// `ctx, op, args, num_args, kwargs, num_kwargs, value_size, results, num_results`.
    pub op_call: Option<OpCallFn>,
    /// Why the last of these failed.
    pub last_error: Option<unsafe extern "C" fn(*mut Ctx) -> Str>,
}

/// An entry of the batch.
#[repr(C)]
pub struct Input {
    /// Its name in the batch.
    pub name: Str,
    /// Its tensor, or null for texts.
    pub tensor: *const Tensor,
    /// Its texts.
    pub texts: *const Str,
    /// How many texts.
    pub num_texts: usize,
}

/// What a call of `forward` is about.
#[repr(C)]
pub struct Call {
    /// Size of the struct as its writer knew it.
    pub struct_size: usize,
    /// The instance's context.
    pub ctx: *mut Ctx,
    /// The first input.
    pub inputs: *const Input,
    /// How many inputs.
    pub num_inputs: usize,
    /// Bytes from one input to the next.
    pub input_size: usize,
    /// The parameters' handles, in the order of declaration.
    pub params: *const *mut Tensor,
    /// How many parameters.
    pub num_params: usize,
    /// Scenes in the batch.
    pub num_scenes: i64,
    /// Frames of a scene.
    pub frames_per_scene: i64,
    /// [`CALL_TRAINING`].
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// The functions of a plugin's embedders.
#[repr(C)]
pub struct EmbedderV1 {
    /// Size of the struct as its writer knew it.
    pub struct_size: usize,
    /// `ctx, entry, config`.
    pub check_config: Option<unsafe extern "C" fn(*mut Ctx, Str, Str) -> Status>,
    /// `ctx, entry, config, out`.
    pub create: Option<unsafe extern "C" fn(*mut Ctx, Str, Str, *mut *mut Instance) -> Status>,
    /// Frees an instance.
    pub destroy: Option<unsafe extern "C" fn(*mut Instance)>,
    /// `instance, ctx, params`.
    pub declare: Option<unsafe extern "C" fn(*mut Instance, *mut Ctx, *mut Sink) -> Status>,
    /// `instance, call, outputs`.
    pub forward: Option<unsafe extern "C" fn(*mut Instance, *const Call, *mut Sink) -> Status>,
}

/// The functions of a plugin's weightings, those of embedders.
pub type WeightingV1 = EmbedderV1;

/// What a plugin's entry returns.
#[repr(C)]
pub struct PluginApi {
    /// Size of the struct as its writer knew it.
    pub struct_size: usize,
    /// [`ABI_MAJOR`] of the plugin.
    pub abi_major: u16,
    /// [`ABI_MINOR`] the plugin was built with.
    pub abi_minor_built: u16,
    /// The oldest [`ABI_MINOR`] it can work with.
    pub abi_minor_min: u16,
    /// 0.
    pub reserved: [u16; 5],
    /// The libtorch the plugin was built with; empty if it uses none.
    pub torch_version: Str,
    /// `{"sdk", "entries": [{"name", "kind", "schema"}]}`.
    pub descriptor_json: Str,
    /// `host, ctx`.
    pub init: Option<unsafe extern "C" fn(*const HostApi, *mut Ctx) -> Status>,
    /// The table of an extension, or null.
    pub get_extension: Option<unsafe extern "C" fn(*const c_char) -> *const c_void>,
}

/// The type of [`ENTRY_SYMBOL`].
pub type EntryFn = unsafe extern "C" fn() -> *const PluginApi;

/// Reads a function pointer of a struct that the other side wrote, or `None` if that side's struct ends before it.
///
/// ```
/// # use plugin_api::abi::{self, EmbedderV1};
/// let mut table: EmbedderV1 = unsafe { std::mem::zeroed() };
/// table.struct_size = std::mem::offset_of!(EmbedderV1, forward);
/// // SAFETY: `table` lives, and is as long as its `struct_size` says.
/// assert!(unsafe { abi::member!(&raw const table, EmbedderV1, forward) }.is_none());
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __abi_member {
    ($pointer:expr, $table:ty, $member:ident) => {{
        let pointer: *const $table = $pointer;
        let end = ::core::mem::offset_of!($table, $member) + ::core::mem::size_of::<usize>();
        if (*pointer).struct_size >= end { (*pointer).$member } else { None }
    }};
}
pub use crate::__abi_member as member;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::mem::{offset_of, size_of};
    use std::process::Command;

    use super::*;

    macro_rules! layout {
        ($text:expr, $rust:ident, $c:literal, $($field:ident),*) => {
            $(writeln!($text, "CHECK(offsetof({}, {}) == {}, \"\");", $c, stringify!($field), offset_of!($rust, $field)).unwrap();)*
            writeln!($text, "CHECK(sizeof({}) == {}, \"\");", $c, size_of::<$rust>()).unwrap();
        };
    }

    /// The layout of every struct as C assertions.
    fn assertions() -> String {
        let mut text = String::from("#include \"anneal_plugin.h\"\n#include \"anneal_json.h\"\n");
        text += "#ifdef __cplusplus\n#define CHECK static_assert\n#else\n#define CHECK _Static_assert\n#endif\n";
        layout!(text, Str, "anneal_str", ptr, len);
        layout!(
            text,
            HostApi,
            "anneal_host_api",
            struct_size,
            abi_major,
            abi_minor,
            reserved,
            host_version,
            torch_version,
            set_error,
            log_enabled,
            log,
            tensor_retain,
            tensor_release,
            draw_normal,
            declare_param,
            emit_output,
            tensor_info,
            tensor_from_host,
            tensor_to_host,
            op_find,
            op_call,
            last_error
        );
        layout!(text, Value, "anneal_value", tag, len, u);
        layout!(text, Kwarg, "anneal_kwarg", name, value);
        layout!(
            text,
            TensorInfo,
            "anneal_tensor_info",
            struct_size,
            dtype,
            device_type,
            device_index,
            ndim,
            sizes,
            strides,
            requires_grad,
            is_meta
        );
        layout!(text, Input, "anneal_input", name, tensor, texts, num_texts);
        layout!(
            text,
            Call,
            "anneal_call",
            struct_size,
            ctx,
            inputs,
            num_inputs,
            input_size,
            params,
            num_params,
            num_scenes,
            frames_per_scene,
            flags,
            reserved
        );
        layout!(text, EmbedderV1, "anneal_embedder_v1", struct_size, check_config, create, destroy, declare, forward);
        layout!(
            text,
            PluginApi,
            "anneal_plugin_api",
            struct_size,
            abi_major,
            abi_minor_built,
            abi_minor_min,
            reserved,
            torch_version,
            descriptor_json,
            init,
            get_extension
        );
        let constants = [
            ("ANNEAL_ABI_MAJOR", i64::from(ABI_MAJOR)),
            ("ANNEAL_ABI_MINOR", i64::from(ABI_MINOR)),
            ("ANNEAL_PARAM_BUFFER", i64::from(PARAM_BUFFER)),
            ("ANNEAL_CALL_TRAINING", i64::from(CALL_TRAINING)),
            ("ANNEAL_OK", i64::from(status::OK)),
            ("ANNEAL_E_CONFIG", i64::from(status::CONFIG)),
            ("ANNEAL_E_ARGUMENT", i64::from(status::ARGUMENT)),
            ("ANNEAL_E_UNSUPPORTED", i64::from(status::UNSUPPORTED)),
            ("ANNEAL_E_NUMERIC", i64::from(status::NUMERIC)),
            ("ANNEAL_E_TORCH", i64::from(status::TORCH)),
            ("ANNEAL_E_PANIC", i64::from(status::PANIC)),
            ("ANNEAL_E_VERSION", i64::from(status::VERSION)),
            ("ANNEAL_E_INTERNAL", i64::from(status::INTERNAL)),
            ("ANNEAL_V_NONE", i64::from(tag::NONE)),
            ("ANNEAL_V_TENSOR", i64::from(tag::TENSOR)),
            ("ANNEAL_V_TENSORS", i64::from(tag::TENSORS)),
            ("ANNEAL_V_BOOL", i64::from(tag::BOOL)),
            ("ANNEAL_V_INT", i64::from(tag::INT)),
            ("ANNEAL_V_DOUBLE", i64::from(tag::DOUBLE)),
            ("ANNEAL_V_INTS", i64::from(tag::INTS)),
            ("ANNEAL_V_DOUBLES", i64::from(tag::DOUBLES)),
            ("ANNEAL_V_STR", i64::from(tag::STR)),
            ("ANNEAL_V_DTYPE", i64::from(tag::DTYPE)),
            ("ANNEAL_V_DEVICE", i64::from(tag::DEVICE)),
            ("ANNEAL_V_LAYOUT", i64::from(tag::LAYOUT)),
            ("ANNEAL_V_MEMORY_FORMAT", i64::from(tag::MEMORY_FORMAT)),
        ];
        for (name, value) in constants {
            writeln!(text, "CHECK({name} == {value}, \"\");").unwrap();
        }
        for (name, extension) in
            [("ANNEAL_EMBEDDER_V1", EMBEDDER_EXTENSION), ("ANNEAL_WEIGHTING_V1", WEIGHTING_EXTENSION)]
        {
            writeln!(text, "CHECK(sizeof({name}) == {}, \"\");", extension.count_bytes() + 1).unwrap();
        }
        writeln!(text, "CHECK(sizeof(anneal_weighting_v1) == {}, \"\");", size_of::<WeightingV1>()).unwrap();
        text
    }

    /// Two compiler front ends read the header without a warning and agree with Rust on every offset.
    #[test]
    fn the_header_is_clean_c_and_cpp_and_has_the_same_layout() {
        let folder = std::env::temp_dir().join(format!("anneal-abi-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (compiler, standard, file) in [("cc", "-std=c11", "layout.c"), ("c++", "-std=c++17", "layout.cpp")] {
            let source = folder.join(file);
            std::fs::write(&source, assertions()).unwrap();
            let output = Command::new(compiler)
                .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
                .arg(&source)
                .output()
                .unwrap_or_else(|error| panic!("{compiler} is needed to build anneal: {error}"));
            assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_member_past_the_end_of_the_writers_struct_is_absent() {
        // SAFETY: all members of the struct may be zero.
        let mut table: EmbedderV1 = unsafe { std::mem::zeroed() };
        unsafe extern "C" fn destroy(_: *mut Instance) {}
        table.destroy = Some(destroy);
        let has = |size: usize| {
            let table = EmbedderV1 { struct_size: size, ..table };
            // SAFETY: `table` lives and is at least as long as its `struct_size` says.
            unsafe { member!(&raw const table, EmbedderV1, destroy) }.is_some()
        };
        assert!(has(size_of::<EmbedderV1>()) && has(offset_of!(EmbedderV1, destroy) + 8));
        assert!(!has(offset_of!(EmbedderV1, destroy)) && !has(0));
    }
}
