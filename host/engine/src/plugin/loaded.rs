//! The code of plugins, loaded when a component is first asked for, and the components made of it.

use std::collections::BTreeMap;
use std::path::Path;

use anneal_torch::tensor::torch_version;
use serde_json::{Map, Value};

use super::discovery::Found;
use super::manifest::{Runtime, TorchLink};
use super::native::probe::Table;
use super::native::{NativeError, NativeLibrary, same_minor};
use super::trust::TrustList;
use super::wasm::{CodeCache, WasmPlugin, WasmRuntime};
use super::{PluginError, Registry};
use crate::conditioner::Embedder;
use crate::config::{EmbedderConfig, PluginKind, PluginUse};
use crate::diffusion::{Discretization, Guidance, LearningRate, LossWeighting, Sampler, SigmaSampler};
use crate::error::{ComponentError, ErrorCode};

/// The plugins whose code is loaded, by id.
#[derive(Default)]
pub(super) struct Loaded {
    native: BTreeMap<String, NativeLibrary>,
    wasm: BTreeMap<String, WasmPlugin>,
    runtime: Option<WasmRuntime>,
    cache: Option<CodeCache>,
}

impl Loaded {
    /// Nothing yet; components are compiled with a cache, if there is one.
    pub(super) fn with_cache(cache: Option<CodeCache>) -> Self {
        Self { cache, ..Self::default() }
    }
}

impl Registry {
    /// An embedder.
    ///
    /// # Errors
    /// When it is not found, its plugin cannot be loaded, or it refuses its settings.
    pub fn embedder(&mut self, used: &EmbedderConfig) -> Result<Box<dyn Embedder>, ComponentError> {
        let (id, entry) = self.resolve(PluginKind::Embedder, &used.plugin)?;
        let library = self.library(&id).map_err(|error| error.of_component(&format!("{id}/{entry}")))?;
        library.embedder(&entry, &used.params)
    }

    /// A grid of sigmas.
    ///
    /// # Errors
    /// As [`Registry::embedder`].
    pub fn discretization(&mut self, used: &PluginUse) -> Result<Box<dyn Discretization>, ComponentError> {
        let (plugin, entry) = self.component(PluginKind::Discretization, used)?;
        plugin.discretization(&entry, &used.params)
    }

    /// A distribution of sigma.
    ///
    /// # Errors
    /// As [`Registry::embedder`].
    pub fn sigma_sampler(&mut self, used: &PluginUse) -> Result<Box<dyn SigmaSampler>, ComponentError> {
        let (plugin, entry) = self.component(PluginKind::SigmaSampling, used)?;
        plugin.sigma_sampler(&entry, &used.params)
    }

    /// A weighting of the loss; one over tensors has no parameters yet.
    ///
    /// # Errors
    /// As [`Registry::embedder`].
    pub fn weighting(&mut self, used: &PluginUse) -> Result<LossWeighting, ComponentError> {
        let found = self.find(PluginKind::Weighting, &used.plugin);
        if found.is_ok_and(|entry| entry.runtime() == Runtime::Native) {
            let (id, entry) = self.resolve(PluginKind::Weighting, &used.plugin)?;
            let library = self.library(&id).map_err(|error| error.of_component(&format!("{id}/{entry}")))?;
            let weighting = library.weighting(&entry, &used.params)?;
            return Ok(LossWeighting::Tensor { weighting, params: Vec::new() });
        }
        let (plugin, entry) = self.component(PluginKind::Weighting, used)?;
        Ok(LossWeighting::Scalar(plugin.weighting(&entry, &used.params)?))
    }

    /// A scale of guidance.
    ///
    /// # Errors
    /// As [`Registry::embedder`].
    pub fn guidance(&mut self, used: &PluginUse) -> Result<Box<dyn Guidance>, ComponentError> {
        let (plugin, entry) = self.component(PluginKind::Guidance, used)?;
        plugin.guidance(&entry, &used.params)
    }

    /// A schedule of the learning rate.
    ///
    /// # Errors
    /// As [`Registry::embedder`].
    pub fn learning_rate(&mut self, used: &PluginUse) -> Result<Box<dyn LearningRate>, ComponentError> {
        let (plugin, entry) = self.component(PluginKind::LearningRate, used)?;
        plugin.learning_rate(&entry, &used.params)
    }

    /// A solver.
    ///
    /// # Errors
    /// As [`Registry::embedder`].
    pub fn sampler(&mut self, used: &PluginUse) -> Result<Box<dyn Sampler>, ComponentError> {
        let (plugin, entry) = self.component(PluginKind::Sampler, used)?;
        plugin.sampler(&entry, &used.params)
    }

    /// Loads the plugin `id` as its first use would, and checks that its code is what its manifest says.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    pub fn load(&mut self, id: &str) -> Result<(), ComponentError> {
        let runtimes: Vec<Runtime> = self
            .plugin(id)
            .map_or_else(|| vec![Runtime::Wasm], |plugin| plugin.0.manifest.artifacts.keys().copied().collect());
        for runtime in runtimes {
            match runtime {
                Runtime::Native => self.library(id).map(drop).map_err(|error| error.of_component(id))?,
                Runtime::Wasm => self.compile(id).map(drop)?,
            }
        }
        Ok(())
    }

    /// The plugin and the entry of a name, which counts as used from here on.
    fn resolve(&mut self, kind: PluginKind, name: &str) -> Result<(String, String), ComponentError> {
        let entry = self.find(kind, name).map_err(|error| error.of_component(name))?;
        let (id, entry) = (entry.plugin().id().to_owned(), entry.name().to_owned());
        self.used.insert(id.clone());
        Ok((id, entry))
    }

    fn found(&self, id: &str, runtime: Runtime) -> Result<&Found, PluginError> {
        let found = self.plugin(id).map(|plugin| &plugin.0).filter(|found| found.artifact(runtime).is_some());
        found.ok_or_else(|| no_artifact(Path::new(id), runtime))
    }

    /// The library of a native plugin.
    fn library(&mut self, id: &str) -> Result<NativeLibrary, PluginError> {
        if let Some(library) = self.loaded.native.get(id) {
            return Ok(*library);
        }
        let found = self.found(id, Runtime::Native)?;
        self.check_trust(found)?;
        let library = library(found, Table::Full)?;
        self.loaded.native.insert(id.to_owned(), library);
        Ok(library)
    }

    /// Native code runs where the user let it: by where it lies, or by the list of what is trusted.
    fn check_trust(&self, found: &Found) -> Result<(), PluginError> {
        let list = self.trust_list.as_deref().filter(|_| !found.is_trusted).map(TrustList::read).transpose()?;
        if found.is_trusted || list.is_some_and(|list| list.holds(&found.sha256)) {
            return Ok(());
        }
        let (id, version) = (found.manifest.id.clone(), found.manifest.version.clone());
        Err(PluginError::Untrusted { id, version, folder: found.folder.clone() })
    }

    /// The WASM plugin of an entry, and the entry's name in it. What the plugin finds wrong with the settings is told
    /// here; what it only warns of goes to the log.
    fn component(&mut self, kind: PluginKind, used: &PluginUse) -> Result<(WasmPlugin, String), ComponentError> {
        let (id, entry) = self.resolve(kind, &used.plugin)?;
        let plugin = match self.loaded.wasm.get(&id) {
            Some(plugin) => plugin.clone(),
            None => self.compile(&id)?,
        };
        check_settings(&plugin, &format!("{id}/{entry}"), &entry, &used.params)?;
        Ok((plugin, entry))
    }

    fn compile(&mut self, id: &str) -> Result<WasmPlugin, ComponentError> {
        let runtime = match &self.loaded.runtime {
            Some(runtime) => runtime.clone(),
            None => {
                let runtime = WasmRuntime::new()?.with_cache(self.loaded.cache.clone());
                self.loaded.runtime.insert(runtime).clone()
            }
        };
        let found = self.found(id, Runtime::Wasm).map_err(|error| error.of_component(id))?;
        let plugin = component(found, &runtime)?;
        self.loaded.wasm.insert(id.to_owned(), plugin.clone());
        Ok(plugin)
    }
}

fn no_artifact(path: &Path, runtime: Runtime) -> PluginError {
    PluginError::Mismatch { path: path.to_owned(), reason: format!("has no {runtime} artifact") }
}

/// The native library of a plugin, executed, and found to be what its manifest says.
pub(super) fn library(found: &Found, table: Table) -> Result<NativeLibrary, PluginError> {
    let manifest = found.folder.join("plugin.toml");
    let path = found.artifact(Runtime::Native).ok_or_else(|| no_artifact(&manifest, Runtime::Native))?;
    if let TorchLink::Exact { version } = &found.manifest.torch
        && !same_minor(version, torch_version())
    {
        let (plugin, host) = (version.clone(), torch_version().to_owned());
        return Err(NativeError::Torch { path: manifest, plugin, host }.into());
    }
    let library = NativeLibrary::load_on(&found.manifest.id, &path, table)?;
    let mismatch = |reason: String| PluginError::Mismatch { path: manifest.clone(), reason };
    if let (TorchLink::None, Some(version)) = (&found.manifest.torch, library.torch_version()) {
        return Err(mismatch(format!("says that the plugin uses no libtorch, but it is built with {version}")));
    }
    check_descriptor(found, Runtime::Native, library.describe()).map_err(mismatch)?;
    Ok(library)
}

/// The component of a plugin, compiled, and found to be what its manifest says.
pub(super) fn component(found: &Found, runtime: &WasmRuntime) -> Result<WasmPlugin, ComponentError> {
    let id = &found.manifest.id;
    let mismatch =
        |reason: String| PluginError::Mismatch { path: found.folder.join("plugin.toml"), reason }.of_component(id);
    let path = found.artifact(Runtime::Wasm).ok_or_else(|| mismatch("has no wasm artifact".to_owned()))?;
    let runtime = if found.manifest.has_null_wasi { runtime.clone().with_null_wasi() } else { runtime.clone() };
    let mut plugin = runtime.load(id, &path)?;
    if let Some(mib) = found.manifest.memory_mib {
        plugin = plugin.with_memory_mib(mib);
    }
    check_descriptor(found, Runtime::Wasm, &plugin.describe()?).map_err(mismatch)?;
    Ok(plugin)
}

fn check_settings(
    plugin: &WasmPlugin,
    name: &str,
    entry: &str,
    settings: &Map<String, Value>,
) -> Result<(), ComponentError> {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        plugin.check_config(entry, settings)?.into_iter().partition(|diagnostic| diagnostic.is_error);
    for warning in warnings {
        tracing::warn!(target: "plugin", plugin = name, "{}: {}", warning.path, warning.message);
    }
    let Some(first) = errors.first() else { return Ok(()) };
    let lines: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.path, error.message)).collect();
    Err(ComponentError::new(name, ErrorCode::InvalidConfig, lines.join("\n")).at(first.path.as_str()))
}

/// Whether what the code says of itself, `{"entries": [{"name", "kind", "schema"}]}`, is what the manifest says: the
/// manifest was checked and shown before any code ran, so it must not have lied. A schema may be left out.
fn check_descriptor(found: &Found, runtime: Runtime, descriptor: &Value) -> Result<(), String> {
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let described = descriptor.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let listed = found.manifest.entries.iter().zip(&found.schemas).filter(|(entry, _)| entry.runtime() == runtime);
    let mut matched = 0;
    for (entry, schema) in listed {
        let kind = entry.kind.to_string();
        let same = |other: &&Value| text(other, "name") == entry.name && text(other, "kind") == kind;
        let Some(code) = described.iter().find(same) else {
            return Err(format!("lists the {kind} `{}`, which the plugin does not have", entry.name));
        };
        if code.get("schema").is_some_and(|other| other != schema) {
            return Err(format!(
                "{} is not the schema of the {kind} `{}` in the plugin",
                entry.schema.display(),
                entry.name
            ));
        }
        matched += 1;
    }
    if matched < described.len() {
        let names: Vec<String> = described.iter().map(|entry| text(entry, "name")).collect();
        return Err(format!("does not list all that the plugin has: {}", names.join(", ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
