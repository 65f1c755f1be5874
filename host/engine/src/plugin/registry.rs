//! The plugins of a run: by name, checked, and loaded when first used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use semver::Version;
use serde_json::Value;

use super::PluginError;
use super::discovery::{self, Decision, Found, SearchPath, Verdict};
use super::loaded::{self, Loaded};
use super::manifest::{Example, ManifestEntry, Runtime, TorchLink};
use super::native::NativeLibrary;
use super::native::probe::Table;
use super::wasm::{WasmPlugin, WasmRuntime};
use crate::config::{PluginKind, closest};
use crate::error::ComponentError;

/// A plugin that was found and may be used.
#[derive(Debug)]
pub struct Plugin(pub(super) Found);

impl Plugin {
    /// The plugin in a folder, read and checked as in a search; nothing of it is executed.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let real = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
        discovery::read(&real, real.parent().unwrap_or(&real)).map(Self)
    }

    /// Its component, compiled, and found to be what its manifest says.
    ///
    /// # Errors
    /// When it has none, or it is not what the host can run.
    pub fn component(&self, runtime: &WasmRuntime) -> Result<WasmPlugin, ComponentError> {
        loaded::component(&self.0, runtime)
    }

    /// Its native library, executed on the host's functions or on a variant of them, and found to be what its manifest
    /// says. Whether it may run is for the caller to know.
    ///
    /// # Errors
    /// When it has none, or it is not what the host can run.
    pub fn library(&self, table: Table) -> Result<NativeLibrary, PluginError> {
        loaded::library(&self.0, table)
    }

    /// How its native part uses libtorch.
    pub fn torch(&self) -> &TorchLink {
        &self.0.manifest.torch
    }

    /// `vendor.name`.
    pub fn id(&self) -> &str {
        &self.0.manifest.id
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.0.manifest.version
    }

    /// What it is for, in a line.
    pub fn description(&self) -> &str {
        &self.0.manifest.description
    }

    /// Its licence, an SPDX expression.
    pub fn license(&self) -> Option<&str> {
        self.0.manifest.license.as_deref()
    }

    /// Who wrote it.
    pub fn authors(&self) -> &[String] {
        &self.0.manifest.authors
    }

    /// Where its sources are.
    pub fn repository(&self) -> Option<&str> {
        self.0.manifest.repository.as_deref()
    }

    /// What runs it; native if any of its entries is.
    pub fn runtime(&self) -> Runtime {
        self.0.manifest.artifacts.keys().next().copied().unwrap_or(Runtime::Wasm)
    }

    /// The file that a runtime runs.
    pub fn artifact(&self, runtime: Runtime) -> Option<PathBuf> {
        self.0.artifact(runtime)
    }

    /// Its folder, absolute.
    pub fn path(&self) -> &Path {
        &self.0.folder
    }

    /// SHA-256 of manifest, artifacts and schemas, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// What it offers, in the order of its manifest.
    pub fn entries(&self) -> impl Iterator<Item = EntryRef<'_>> {
        (0..self.0.manifest.entries.len()).map(|index| EntryRef { plugin: self, index })
    }
}

/// An entry of a plugin.
#[derive(Debug, Clone, Copy)]
pub struct EntryRef<'a> {
    plugin: &'a Plugin,
    index: usize,
}

impl<'a> EntryRef<'a> {
    fn manifest(&self) -> &'a ManifestEntry {
        &self.plugin.0.manifest.entries[self.index]
    }

    /// What it is.
    pub fn kind(&self) -> PluginKind {
        self.manifest().kind
    }

    /// What runs it.
    pub fn runtime(&self) -> Runtime {
        self.manifest().runtime()
    }

    /// Its name within the plugin, which also stands for it where no other plugin has one of the kind and name.
    pub fn name(&self) -> &'a str {
        &self.manifest().name
    }

    /// `vendor.name/entry`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.plugin.id(), self.name())
    }

    /// What it is for, in a line.
    pub fn description(&self) -> &'a str {
        &self.manifest().description
    }

    /// Settings to try it with.
    pub fn examples(&self) -> &'a [Example] {
        &self.manifest().examples
    }

    /// Of a discretization: JSON pointers to the settings that are its lowest and its highest sigma.
    pub fn sigma_range(&self) -> Option<&'a [String; 2]> {
        self.manifest().sigma_range.as_ref()
    }

    /// Of a solver: its order.
    pub fn order(&self) -> Option<f64> {
        self.manifest().order
    }

    /// The JSON Schema of its settings.
    pub fn schema(&self) -> &'a Value {
        &self.plugin.0.schemas[self.index]
    }

    /// The plugin it belongs to.
    pub fn plugin(&self) -> &'a Plugin {
        self.plugin
    }
}

/// All plugins that a run may name.
pub struct Registry {
    plugins: Vec<Plugin>,
    decisions: Vec<Decision>,
    dirs: Vec<PathBuf>,
    pub(super) loaded: Loaded,
    pub(super) used: BTreeSet<String>,
    pub(super) trust_list: Option<PathBuf>,
}

impl Registry {
    /// Finds the plugins in the directories of `path`, and takes one version of each. A plugin that cannot be used is
    /// left out; [`Registry::decisions`] says why.
    ///
    /// # Errors
    /// When a requirement is not met, or two folders hold different plugins of one id and version.
    pub fn discover(path: &SearchPath, require: &BTreeMap<String, String>) -> Result<Self, PluginError> {
        let (found, mut decisions) = discovery::search(path);
        let (taken, more) = discovery::choose(found, require)?;
        decisions.extend(more);
        Ok(Self {
            plugins: taken.into_iter().map(Plugin).collect(),
            decisions,
            dirs: path.dirs().map(Path::to_owned).collect(),
            loaded: Loaded::with_cache(path.code().cloned()),
            used: BTreeSet::new(),
            trust_list: path.trust_list().map(Path::to_owned),
        })
    }

    /// The plugins, by id.
    pub fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        self.plugins.iter()
    }

    /// The plugin of an id.
    pub fn plugin(&self, id: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| plugin.id() == id)
    }

    /// The entries of all plugins.
    pub fn entries(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.plugins.iter().flat_map(Plugin::entries)
    }

    /// What was made of each directory and each plugin's folder.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// The plugins that were used so far, as `id version sha256`.
    pub fn used(&self) -> Vec<String> {
        let used = self.plugins.iter().filter(|plugin| self.used.contains(plugin.id()));
        used.map(|plugin| format!("{} {} {}", plugin.id(), plugin.version(), plugin.sha256())).collect()
    }

    /// The entry of a kind by its short or full name.
    ///
    /// # Errors
    /// When there is none, the name stands for another kind, or a short name for several entries.
    pub fn find(&self, kind: PluginKind, name: &str) -> Result<EntryRef<'_>, PluginError> {
        let is_full = name.contains('/');
        let is_named = |entry: &EntryRef<'_>| if is_full { entry.full_name() == name } else { entry.name() == name };
        let named: Vec<EntryRef<'_>> = self.entries().filter(is_named).collect();
        let (fitting, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|entry| entry.kind() == kind);
        if let [entry] = fitting[..] {
            return Ok(entry);
        }
        let name = name.to_owned();
        if !fitting.is_empty() {
            let candidates = fitting.iter().map(EntryRef::full_name).collect();
            return Err(PluginError::Ambiguous { kind, name, candidates });
        }
        let of_kind = self.entries().filter(|entry| entry.kind() == kind);
        let known: Vec<String> =
            of_kind.map(|entry| if is_full { entry.full_name() } else { entry.name().to_owned() }).collect();
        if !others.is_empty() {
            let is = others.iter().map(EntryRef::kind).collect::<BTreeSet<_>>().into_iter().collect();
            return Err(PluginError::WrongKind { kind, name, is, known });
        }
        let near = closest(&name, known.iter().map(String::as_str)).map(str::to_owned);
        let refused = self.decisions.iter().filter(|decision| matches!(decision.verdict, Verdict::Refused(_))).count();
        Err(PluginError::NotFound { kind, name, near, known, dirs: self.dirs.clone(), refused })
    }
}

#[cfg(test)]
mod tests;
