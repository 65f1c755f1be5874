//! From the C functions that the host calls to an author's embedders and weightings.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};

use super::embedder::{Call, Embedder, Input, Inputs, Slot};
use super::error::{Error, ErrorKind, Result};
use super::handle::Handle;
use super::host::{self, Host, InCall, host};
use super::panics;
use super::params::{ParamDecl, Params};
use super::weighting::Weighting;
use crate::abi::{self, Ctx, EmbedderV1, HostApi, PluginApi, Sink, Status, Str, status};
use crate::config::{Config, ConfigError};

/// An exported embedder or weighting, its type erased.
#[derive(Clone, Copy)]
pub struct Entry {
    kind: Kind,
    name: &'static str,
    schema: fn() -> Value,
    check: fn(&Map<String, Value>) -> Vec<ConfigError>,
    create: fn(&Map<String, Value>) -> Result<Instance>,
    torch_version: &'static str,
    abi_minor_min: u16,
}

impl Entry {
    /// The embedder `E` under a name.
    pub const fn embedder<E: Embedder<T>, T: Handle>(name: &'static str) -> Self {
        let create = create::<OverEmbedder<E, T>>;
        Self::new::<E::Config, T>(Kind::Embedder, name, create)
    }

    /// The weighting `W` under a name.
    pub const fn weighting<W: Weighting<T>, T: Handle>(name: &'static str) -> Self {
        let create = create::<OverWeighting<W, T>>;
        Self::new::<W::Config, T>(Kind::Weighting, name, create)
    }

    const fn new<C: Config, T: Handle>(
        kind: Kind,
        name: &'static str,
        create: fn(&Map<String, Value>) -> Result<Instance>,
    ) -> Self {
        let (torch_version, abi_minor_min) = (T::TORCH_VERSION, T::ABI_MINOR_MIN);
        Self { kind, name, schema: C::schema, check: check::<C>, create, torch_version, abi_minor_min }
    }
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedder,
    Weighting,
}

impl Kind {
    fn name(self) -> &'static str {
        if self == Self::Embedder { "embedder" } else { "weighting" }
    }
}

fn check<C: Config>(settings: &Map<String, Value>) -> Vec<ConfigError> {
    C::from_map(settings).err().unwrap_or_default()
}

fn create<F: Forward>(settings: &Map<String, Value>) -> Result<Instance> {
    let settings = F::Config::from_map(settings).map_err(|errors| match errors.into_iter().next() {
        Some(error) => Error::from(error),
        None => Error::config("", "the settings are wrong"),
    })?;
    let mut params = Params::default();
    let forward = Box::new(F::new(settings, &mut params)?);
    Ok(Instance { forward, decls: params.decls, poisoned: AtomicBool::new(false) })
}

/// What an author writes, with the tensors it computes with.
trait Forward: Send + Sized + 'static {
    type Config: Config;
    type Tensor: Handle;

    fn new(settings: Self::Config, params: &mut Params) -> Result<Self>;

    /// The results by slot.
    fn results(
        &self,
        call: &Call<'_, Self::Tensor>,
        inputs: &Inputs<'_, Self::Tensor>,
    ) -> Result<Vec<(&'static str, Self::Tensor)>>;
}

struct OverEmbedder<E, T>(E, PhantomData<fn() -> T>);

impl<E: Embedder<T>, T: Handle> Forward for OverEmbedder<E, T> {
    type Config = E::Config;
    type Tensor = T;

    fn new(settings: E::Config, params: &mut Params) -> Result<Self> {
        Ok(Self(E::new(settings, params)?, PhantomData))
    }

    fn results(&self, call: &Call<'_, T>, inputs: &Inputs<'_, T>) -> Result<Vec<(&'static str, T)>> {
        let outputs = self.0.forward(call, inputs)?.0;
        Ok(outputs.into_iter().map(|(slot, embedding)| (slot.map_or("", Slot::name), embedding)).collect())
    }
}

struct OverWeighting<W, T>(W, PhantomData<fn() -> T>);

impl<W: Weighting<T>, T: Handle> Forward for OverWeighting<W, T> {
    type Config = W::Config;
    type Tensor = T;

    fn new(settings: W::Config, params: &mut Params) -> Result<Self> {
        Ok(Self(W::new(settings, params)?, PhantomData))
    }

    fn results(&self, call: &Call<'_, T>, inputs: &Inputs<'_, T>) -> Result<Vec<(&'static str, T)>> {
        let weighed = self.0.weigh(call, inputs.tensor()?)?;
        let offsets = weighed.offsets.map(|offsets| (abi::OFFSET_SLOT, offsets));
        Ok([(abi::WEIGHT_SLOT, weighed.weights)].into_iter().chain(offsets).collect())
    }
}

/// [`Forward`] without its types.
trait Run: Send {
    /// # Safety
    /// `call` and `outputs` must be those of the running `forward`.
    unsafe fn run(&self, host: &Host, call: &abi::Call, outputs: *mut Sink) -> Result<()>;
}

/// What the host holds as `anneal_instance`.
pub struct Instance {
    forward: Box<dyn Run>,
    decls: Vec<ParamDecl>,
    /// A panic may have left it half changed, so that it must not be entered again.
    poisoned: AtomicBool,
}

struct Plugin {
    entries: &'static [Entry],
    api: PluginApi,
    // `api.descriptor_json` points into this.
    _descriptor: String,
}

// SAFETY: nothing writes to a `Plugin` after it is made; its pointers lead to itself and to constants.
unsafe impl Send for Plugin {}
// SAFETY: as above.
unsafe impl Sync for Plugin {}

static PLUGIN: OnceLock<Plugin> = OnceLock::new();

/// The functions of embedders and weightings alike.
static FUNCTIONS: EmbedderV1 = EmbedderV1 {
    struct_size: size_of::<EmbedderV1>(),
    check_config: Some(check_config),
    create: Some(create_instance),
    destroy: Some(destroy),
    declare: Some(declare),
    forward: Some(forward),
};

/// The plugin that has these entries, or null when it cannot be described; what the exported entry function returns.
pub fn plugin_api(entries: &'static [Entry]) -> *const PluginApi {
    catch_unwind(|| &raw const describe(entries).api).unwrap_or(ptr::null())
}

fn describe(entries: &'static [Entry]) -> &'static Plugin {
    PLUGIN.get_or_init(|| {
        let listed: Vec<Value> = entries
            .iter()
            .map(|entry| json!({ "name": entry.name, "kind": entry.kind.name(), "schema": (entry.schema)() }))
            .collect();
        let descriptor = json!({ "sdk": env!("CARGO_PKG_VERSION"), "entries": listed }).to_string();
        let api = PluginApi {
            struct_size: size_of::<PluginApi>(),
            abi_major: abi::ABI_MAJOR,
            abi_minor_built: abi::ABI_MINOR,
            abi_minor_min: entries.iter().map(|entry| entry.abi_minor_min).max().unwrap_or(0),
            reserved: [0; 5],
            torch_version: Str::new(entries.iter().map(|entry| entry.torch_version).max().unwrap_or("")),
            descriptor_json: Str::new(&descriptor),
            init: Some(init),
            get_extension: Some(get_extension),
        };
        Plugin { entries, api, _descriptor: descriptor }
    })
}

unsafe extern "C" fn init(api: *const HostApi, ctx: *mut Ctx) -> Status {
    // SAFETY: the host promises that table and context live as long as the process.
    unsafe { host::remember(api, ctx) };
    panics::install_hook();
    status::OK
}

unsafe extern "C" fn get_extension(id: *const c_char) -> *const c_void {
    // SAFETY: the host passes a NUL-terminated text.
    let id = unsafe { CStr::from_ptr(id) };
    let kind = [(abi::EMBEDDER_EXTENSION, Kind::Embedder), (abi::WEIGHTING_EXTENSION, Kind::Weighting)]
        .into_iter()
        .find_map(|(known, kind)| (known == id).then_some(kind));
    let entries = PLUGIN.get().map_or(&[][..], |plugin| plugin.entries);
    match kind.filter(|kind| entries.iter().any(|entry| entry.kind == *kind)) {
        Some(_) => (&raw const FUNCTIONS).cast(),
        None => ptr::null(),
    }
}

/// Runs the body of a C function: errors and panics become error texts of the host, and a status.
fn guard(ctx: *mut Ctx, body: impl FnOnce() -> Result<()>) -> Status {
    let _in_call = InCall::enter(ctx);
    let (code, message, path) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return status::OK,
        Ok(Err(error)) => (error.status(), error.message, error.config_path.unwrap_or_default()),
        Err(payload) => {
            let text = panics::text(payload.as_ref());
            // Dropping a payload may panic once more.
            std::mem::forget(payload);
            (status::PANIC, text, String::new())
        }
    };
    if let Ok(host) = host() {
        host.set_error(ctx, code, &message, &path);
    }
    code
}

/// # Safety
/// Both texts must be readable.
unsafe fn entry_and_settings(entry: Str, config: Str) -> Result<(Entry, Map<String, Value>)> {
    // SAFETY: as the caller promises.
    let (name, config) = unsafe { (entry.to_text(), config.to_text()) };
    let entries = PLUGIN.get().map_or(&[][..], |plugin| plugin.entries);
    let entry = entries.iter().find(|entry| entry.name == name);
    let entry = *entry.ok_or_else(|| Error::new(ErrorKind::Unsupported, format!("there is no entry `{name}`")))?;
    match serde_json::from_str(&config) {
        Ok(Value::Object(settings)) => Ok((entry, settings)),
        Ok(_) => Err(Error::config("", "the settings are no table")),
        Err(error) => Err(Error::config("", format!("the settings are no JSON: {error}"))),
    }
}

unsafe extern "C" fn check_config(ctx: *mut Ctx, entry: Str, config: Str) -> Status {
    guard(ctx, || {
        // SAFETY: the host's texts outlive the call.
        let (entry, settings) = unsafe { entry_and_settings(entry, config)? };
        let mut errors = (entry.check)(&settings);
        let Some(last) = errors.pop() else { return Ok(()) };
        for error in errors {
            host()?.set_error(ctx, status::CONFIG, &error.message, &error.path);
        }
        Err(last.into())
    })
}

unsafe extern "C" fn create_instance(ctx: *mut Ctx, entry: Str, config: Str, out: *mut *mut abi::Instance) -> Status {
    guard(ctx, || {
        // SAFETY: the host's texts outlive the call.
        let (entry, settings) = unsafe { entry_and_settings(entry, config)? };
        let instance = Box::new((entry.create)(&settings)?);
        // SAFETY: `out` is writable; the host gives the pointer back to `destroy`.
        unsafe { *out = Box::into_raw(instance).cast() };
        Ok(())
    })
}

unsafe extern "C" fn destroy(instance: *mut abi::Instance) {
    guard(ptr::null_mut(), || {
        // SAFETY: the host passes what `create_instance` made, once.
        drop(unsafe { Box::from_raw(instance.cast::<Instance>()) });
        Ok(())
    });
}

unsafe extern "C" fn declare(instance: *mut abi::Instance, ctx: *mut Ctx, params: *mut Sink) -> Status {
    guard(ctx, || {
        // SAFETY: the instance lives until `destroy`.
        let instance = unsafe { &*instance.cast::<Instance>() };
        instance.decls.iter().try_for_each(|decl| host()?.declare(params, decl))
    })
}

unsafe extern "C" fn forward(instance: *mut abi::Instance, call: *const abi::Call, outputs: *mut Sink) -> Status {
    // SAFETY: the instance lives until `destroy`, and the call for as long as it runs.
    let (instance, ctx) = unsafe { (&*instance.cast::<Instance>(), (*call).ctx) };
    let code = guard(ctx, || {
        if instance.poisoned.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Internal, "an earlier panic left this instance unusable"));
        }
        // SAFETY: as above.
        unsafe { run(instance, &*call, outputs) }
    });
    if code == status::PANIC {
        instance.poisoned.store(true, Ordering::Relaxed);
    }
    code
}

/// # Safety
/// `call` and `outputs` must be those of the running `forward`.
unsafe fn run(instance: &Instance, call: &abi::Call, outputs: *mut Sink) -> Result<()> {
    if call.num_params != instance.decls.len() {
        let message = format!("{} parameters were declared, {} came", instance.decls.len(), call.num_params);
        return Err(Error::new(ErrorKind::Internal, message));
    }
    // SAFETY: as the caller promises.
    unsafe { instance.forward.run(host()?, call, outputs) }
}

/// A handle of the host as a tensor that is not freed here.
///
/// # Safety
/// `handle` must be a live tensor of the process's libtorch, and outlive the result.
unsafe fn borrow<T: Handle>(handle: *const abi::Tensor) -> ManuallyDrop<T> {
    // SAFETY: as the caller promises.
    ManuallyDrop::new(unsafe { T::from_handle(handle.cast_mut()) })
}

impl<F: Forward> Run for F {
    unsafe fn run(&self, host: &Host, call: &abi::Call, outputs: *mut Sink) -> Result<()> {
        // SAFETY: the host lists `num_params` live handles.
        let params: Vec<_> =
            (0..call.num_params).map(|i| unsafe { borrow::<F::Tensor>(*call.params.add(i)) }).collect();
        // SAFETY: the host lists `num_inputs` inputs, `input_size` bytes apart.
        let raw: Vec<&abi::Input> =
            (0..call.num_inputs).map(|i| unsafe { &*call.inputs.byte_add(i * call.input_size) }).collect();
        // SAFETY: an input's tensor is null or a live handle.
        let tensors: Vec<_> = raw
            .iter()
            .map(|input| (!input.tensor.is_null()).then(|| unsafe { borrow::<F::Tensor>(input.tensor) }))
            .collect();
        let inputs = raw.iter().zip(&tensors).map(|(input, tensor)| {
            // SAFETY: the host's texts outlive the call.
            let name = unsafe { input.name.to_text() };
            match tensor {
                Some(tensor) => Input::Tensor { name, tensor: &**tensor },
                // SAFETY: as above.
                None => Input::Texts {
                    name,
                    texts: (0..input.num_texts).map(|i| unsafe { (*input.texts.add(i)).to_text() }).collect(),
                },
            }
        });
        let inputs = Inputs(inputs.collect());
        let draw = |purpose: &str, shape: &[i64]| host.draw_normal(call.ctx, purpose, shape);
        let call = Call {
            num_scenes: call.num_scenes,
            frames_per_scene: call.frames_per_scene,
            training: call.flags & abi::CALL_TRAINING != 0,
            params: params.iter().map(|param| &**param).collect(),
            draw: &draw,
        };
        for (slot, tensor) in self.results(&call, &inputs)? {
            host.emit(outputs, slot, tensor)?;
        }
        Ok(())
    }
}
