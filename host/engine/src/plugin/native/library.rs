//! Loads a native plugin: checked step by step, each step with its own error, and never unloaded.

use std::ffi::c_void;
use std::fmt;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

use anneal_torch::tensor::torch_version;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use plugin_api::abi::{self, EmbedderV1, EntryFn, PluginApi, Str, WeightingV1, status};
use serde_json::{Map, Value};
use thiserror::Error;

use super::context::{Context, Reported};
use super::crash;
use super::embedder::NativeEmbedder;
use super::table::Table;
use super::weighting::NativeWeighting;
use crate::conditioner::Embedder;
use crate::config::PluginKind;
use crate::diffusion::TensorWeighting;
use crate::error::{ComponentError, ErrorCode};

/// Why a library is no plugin for this host.
#[derive(Debug, Error)]
pub enum NativeError {
    /// The dynamic linker refused it.
    #[error("{path}: cannot be loaded: {reason}")]
    Open {
        /// The library.
        path: PathBuf,
        /// What the dynamic linker says.
        reason: String,
    },
    /// The entry symbol is missing, or returned nothing.
    #[error("{path}: is no anneal plugin: {reason}")]
    NoEntry {
        /// The library.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Another C ABI.
    #[error("{path}: speaks plugin ABI {plugin}, this anneal {host}: {remedy}")]
    Abi {
        /// The library.
        path: PathBuf,
        /// The ABI it needs.
        plugin: String,
        /// The ABI of the host.
        host: String,
        /// What helps.
        remedy: String,
    },
    /// Another libtorch.
    #[error("{path}: was built with libtorch {plugin}, this anneal runs {host}; build it against libtorch {host}")]
    Torch {
        /// The library.
        path: PathBuf,
        /// The libtorch it was built with.
        plugin: String,
        /// The libtorch of the process.
        host: String,
    },
    /// It loaded, but contradicts itself.
    #[error("{path}: {reason}")]
    Broken {
        /// The library.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A loaded plugin. Libraries are never unloaded: tensors may keep functions of theirs in their autograd graphs.
#[derive(Clone, Copy)]
pub struct NativeLibrary {
    loaded: &'static Loaded,
}

/// What is read from a plugin once, and kept as long as the process.
struct Loaded {
    id: String,
    descriptor: Value,
    torch_version: Option<String>,
    /// Null where it has none.
    embedders: *const EmbedderV1,
    /// Null where it has none.
    weightings: *const WeightingV1,
}

// SAFETY: the tables are constants of a library that stays loaded; their functions may be called from any thread.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl NativeLibrary {
    /// Loads the plugin `id` from an absolute path.
    ///
    /// # Errors
    /// When the linker refuses it, it is no plugin, or it needs another ABI or another libtorch.
    pub fn load(id: &str, path: &Path) -> Result<Self, NativeError> {
        Self::load_on(id, path, Table::Full)
    }

    /// Loads the plugin `id` on a variant of the host's functions.
    ///
    /// # Errors
    /// As [`NativeLibrary::load`].
    pub fn load_on(id: &str, path: &Path, table: Table) -> Result<Self, NativeError> {
        super::report_crashes();
        let api = {
            let _inside = crash::enter(id, "loading");
            open(path)?
        };
        // SAFETY: `open` has found a live struct that starts with its size.
        unsafe { check_versions(path, api)? };
        let broken = |reason: String| NativeError::Broken { path: path.to_owned(), reason };
        // SAFETY: the struct is as long as the functions that are read need it to be.
        let (init, get_extension, descriptor, torch) = unsafe {
            let (descriptor, torch) = ((*api).descriptor_json.to_text(), (*api).torch_version.to_text());
            (abi::member!(api, PluginApi, init), abi::member!(api, PluginApi, get_extension), descriptor, torch)
        };
        let (Some(init), Some(get_extension)) = (init, get_extension) else {
            return Err(broken("its entry lacks init or get_extension".to_owned()));
        };
        let descriptor = serde_json::from_str(&descriptor)
            .map_err(|error| broken(format!("its description of itself is no JSON: {error}")))?;
        // A plugin may log from threads of its own, so its context lives as long as it does.
        let context: &'static Context = Box::leak(Context::new(id));
        let code = {
            let _inside = crash::enter(id, "init");
            // SAFETY: table and context live as long as the process.
            unsafe { init(table.api(), context.as_ptr()) }
        };
        if code != status::OK {
            return Err(broken(context.error("init", code, Vec::new()).message));
        }
        // SAFETY: the id is a NUL-terminated constant.
        let embedders: *const EmbedderV1 = unsafe { get_extension(abi::EMBEDDER_EXTENSION.as_ptr()) }.cast();
        // SAFETY: as above.
        let weightings: *const WeightingV1 = unsafe { get_extension(abi::WEIGHTING_EXTENSION.as_ptr()) }.cast();
        if embedders.is_null() && weightings.is_null() {
            return Err(broken("it has neither embedders nor weightings".to_owned()));
        }
        let torch_version = Some(torch).filter(|version| !version.is_empty());
        let loaded = Loaded { id: id.to_owned(), descriptor, torch_version, embedders, weightings };
        Ok(Self { loaded: Box::leak(Box::new(loaded)) })
    }

    /// What the plugin says of itself: `{"sdk", "entries": [{"name", "kind", "schema"}]}`.
    pub fn describe(&self) -> &Value {
        &self.loaded.descriptor
    }

    /// The libtorch it was built with, if it uses one.
    pub fn torch_version(&self) -> Option<&str> {
        self.loaded.torch_version.as_deref()
    }

    /// Whether it looks at the settings of a kind itself, beyond what their schemas say.
    pub fn checks_settings(&self, kind: PluginKind) -> bool {
        // SAFETY: the table is as long as it says.
        self.table(kind, "").is_ok_and(|table| unsafe { abi::member!(table, EmbedderV1, check_config) }.is_some())
    }

    /// The functions of a kind.
    fn table(&self, kind: PluginKind, name: &str) -> Result<*const EmbedderV1, ComponentError> {
        let table = match kind {
            PluginKind::Embedder => self.loaded.embedders,
            PluginKind::Weighting => self.loaded.weightings,
            _ => std::ptr::null(),
        };
        if table.is_null() {
            let message = format!("the library has no functions of the kind {kind}");
            return Err(ComponentError::new(name, ErrorCode::Unsupported, message));
        }
        Ok(table)
    }

    /// What the plugin finds wrong with the settings of an entry.
    fn check_config(
        &self,
        table: *const EmbedderV1,
        entry: &str,
        settings: &Map<String, Value>,
    ) -> Result<Vec<ConfigProblem>, ComponentError> {
        // SAFETY: the table is as long as it says.
        let Some(check) = (unsafe { abi::member!(table, EmbedderV1, check_config) }) else {
            return Ok(Vec::new());
        };
        let context = Context::new(self.full_name(entry));
        let settings = Value::Object(settings.clone()).to_string();
        let _inside = crash::enter(context.name(), "check_config");
        // SAFETY: context and texts outlive the call.
        let code = unsafe { check(context.as_ptr(), Str::new(entry), Str::new(&settings)) };
        let reported = if code == status::CONFIG { context.take_reported() } else { Vec::new() };
        match code {
            status::OK => Ok(Vec::new()),
            _ if !reported.is_empty() => Ok(reported.into_iter().map(ConfigProblem::from).collect()),
            code => Err(context.error("check_config", code, Vec::new())),
        }
    }

    /// An embedder with these settings.
    ///
    /// # Errors
    /// When the plugin refuses the settings (then all that is wrong with them), or declares parameters that cannot be.
    pub fn embedder(&self, entry: &str, settings: &Map<String, Value>) -> Result<Box<dyn Embedder>, ComponentError> {
        let (table, name, settings) = self.checked(PluginKind::Embedder, entry, settings)?;
        Ok(Box::new(NativeEmbedder::create(table, &name, entry, &settings)?))
    }

    /// A weighting with these settings.
    ///
    /// # Errors
    /// As [`NativeLibrary::embedder`].
    pub fn weighting(
        &self,
        entry: &str,
        settings: &Map<String, Value>,
    ) -> Result<Box<dyn TensorWeighting>, ComponentError> {
        let (table, name, settings) = self.checked(PluginKind::Weighting, entry, settings)?;
        Ok(Box::new(NativeWeighting::create(table, &name, entry, &settings)?))
    }

    /// The functions of a kind, the entry's full name, and its settings as text, if the plugin finds nothing wrong with
    /// them.
    fn checked(
        &self,
        kind: PluginKind,
        entry: &str,
        settings: &Map<String, Value>,
    ) -> Result<(*const EmbedderV1, String, String), ComponentError> {
        let name = self.full_name(entry);
        let table = self.table(kind, &name)?;
        let problems = self.check_config(table, entry, settings)?;
        if let Some(first) = problems.first() {
            let lines: Vec<String> = problems.iter().map(ConfigProblem::to_string).collect();
            let error = ComponentError::new(name, ErrorCode::InvalidConfig, lines.join("\n"));
            return Err(error.at(first.path.as_str()));
        }
        Ok((table, name, Value::Object(settings.clone()).to_string()))
    }

    fn full_name(&self, entry: &str) -> String {
        format!("{}/{entry}", self.loaded.id)
    }
}

/// A setting that a plugin refuses.
struct ConfigProblem {
    /// JSON pointer to the setting; empty for the settings as a whole.
    path: String,
    message: String,
}

impl From<Reported> for ConfigProblem {
    fn from(reported: Reported) -> Self {
        Self { path: reported.config_path.unwrap_or_default(), message: reported.message }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Opens a library and calls its entry.
pub(super) fn open(path: &Path) -> Result<*const PluginApi, NativeError> {
    let no_entry = |reason: &str| NativeError::NoEntry { path: path.to_owned(), reason: reason.to_owned() };
    // NOW: missing symbols show here. LOCAL: plugins do not see each other. NODELETE, and the handle leaks: autograd
    // graphs may hold functions of the library as long as the process lives.
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
    // SAFETY: constructors of the library run. Native plugins are trusted by whoever put them in a plugin directory.
    let library = unsafe { Library::open(Some(path), flags) }.map_err(|error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        NativeError::Open { path: path.to_owned(), reason }
    })?;
    // SAFETY: the symbol has this type in every plugin.
    let entry = unsafe { library.get::<EntryFn>(abi::ENTRY_SYMBOL) };
    let entry = *entry.map_err(|_| no_entry(&format!("it exports no `{}`", abi::ENTRY_SYMBOL.to_string_lossy())))?;
    std::mem::forget(library);
    // SAFETY: the entry takes nothing and returns a constant.
    let api = unsafe { entry() };
    if api.is_null() {
        return Err(no_entry("its entry returned nothing"));
    }
    Ok(api)
}

/// Compares sizes and versions, before anything else of the struct is used.
///
/// # Safety
/// `api` must point to a live struct that starts with its size.
unsafe fn check_versions(path: &Path, api: *const PluginApi) -> Result<(), NativeError> {
    let path = path.to_owned();
    // SAFETY: as the caller promises.
    let size = unsafe { (*api).struct_size };
    let least = offset_of!(PluginApi, get_extension) + size_of::<*const c_void>();
    if size < offset_of!(PluginApi, reserved) {
        return Err(NativeError::Broken {
            path,
            reason: format!("its entry's struct has {size} bytes, at least {least} are needed"),
        });
    }
    // SAFETY: the struct reaches as far.
    let (major, least_minor) = unsafe { ((*api).abi_major, (*api).abi_minor_min) };
    let host = format!("{}.{}", abi::ABI_MAJOR, abi::ABI_MINOR);
    if major != abi::ABI_MAJOR {
        let remedy = format!("build it with a plugin-api of ABI {}", abi::ABI_MAJOR);
        return Err(NativeError::Abi { path, plugin: format!("{major}.x"), host, remedy });
    }
    if size < least {
        return Err(NativeError::Broken {
            path,
            reason: format!("its entry's struct has {size} bytes, at least {least} are needed"),
        });
    }
    // SAFETY: the struct reaches as far, and its texts are constants.
    let torch = unsafe { (*api).torch_version.to_text() };
    if !torch.is_empty() && !same_minor(&torch, torch_version()) {
        return Err(NativeError::Torch { path, plugin: torch, host: torch_version().to_owned() });
    }
    if least_minor > abi::ABI_MINOR {
        let plugin = format!("{major}.{least_minor}");
        return Err(NativeError::Abi { path, plugin, host, remedy: "update anneal".to_owned() });
    }
    Ok(())
}

/// Whether two versions have the same major and minor number: the C++ layout of tensors holds within those.
pub(in crate::plugin) fn same_minor(a: &str, b: &str) -> bool {
    let parts = |version: &str| version.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    parts(a) == parts(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_numbers_of_a_version_count() {
        assert!(same_minor("2.11.0", "2.11.1") && same_minor("2.11", "2.11.0+cpu"));
        assert!(!same_minor("2.1.1", "2.11.1") && !same_minor("3.11", "2.11.0") && !same_minor("2", "2.11"));
    }
}
