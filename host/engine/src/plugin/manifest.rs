//! `plugin.toml`: what a plugin says of itself before anything of it is executed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use plugin_api::abi;
use semver::{Version, VersionReq};
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use crate::config::{PluginKind, Problems, one_of};

mod example;
mod faults;

use faults::Faults;

pub use example::{Example, ExampleInput, InputKind, Rows};

/// The version of the manifest's own format.
const SCHEMA_VERSION: u32 = 1;
/// The WIT package that WASM plugins are run with.
const WIT: (u64, u64) = (1, 0);

/// Entries that a plugin may have: each brings a schema.
const ENTRIES_MAX: usize = 256;

/// Linear memory that a WASM plugin may ask for.
const MEMORY_MIB_MAX: u32 = 512;

/// What runs an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// A shared library of this machine.
    Native,
    /// A WASM component.
    Wasm,
}

impl Runtime {
    /// The runtime of a kind, where an entry does not say: tensors need native code, scalar functions run as WASM.
    fn of(kind: PluginKind) -> Self {
        if kind == PluginKind::Embedder { Self::Native } else { Self::Wasm }
    }

    /// Whether it runs entries of a kind. A weighting may be a scalar function, or compute with tensors and learn.
    fn runs(self, kind: PluginKind) -> bool {
        self == Self::of(kind) || kind == PluginKind::Weighting
    }

    /// The key of its artifact in a manifest.
    fn artifact(self) -> String {
        match self {
            Self::Native => format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
            Self::Wasm => "wasm".to_owned(),
        }
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(if *self == Self::Native { "native" } else { "wasm" })
    }
}

/// How a native plugin uses libtorch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TorchLink {
    /// Not at all.
    None,
    /// Through its C++ interface, which holds within one minor version.
    Exact {
        /// The version it is built against, `2.11`.
        version: String,
    },
}

/// A file of the plugin that is run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// Its path below the plugin's folder.
    pub path: PathBuf,
    /// Its SHA-256 in hexadecimal, where the author fixed it.
    pub sha256: Option<String>,
}

/// One thing a plugin offers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestEntry {
    /// Its name within the plugin.
    pub name: String,
    /// What it is.
    pub kind: PluginKind,
    /// What runs it, if not what runs others of its kind: weightings may be native.
    runtime: Option<Runtime>,
    /// The JSON Schema of its settings, a path below the plugin's folder.
    pub schema: PathBuf,
    /// A line for lists.
    #[serde(default)]
    pub description: String,
    /// Settings to try it with. Where some have no default, conformance starts from the first.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
    /// Of a discretization: JSON pointers to the settings that are its lowest and its highest sigma.
    pub sigma_range: Option<[String; 2]>,
    /// Of a solver: the order that its error falls with, without noise.
    pub order: Option<f64>,
}

impl ManifestEntry {
    /// What runs it.
    pub fn runtime(&self) -> Runtime {
        self.runtime.unwrap_or_else(|| Runtime::of(self.kind))
    }
}

/// A checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `vendor.name`. The vendor `anneal` is for bundled plugins; nothing enforces that before plugins are signed.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// A line for lists.
    pub description: String,
    /// Its licence, an SPDX expression.
    pub license: Option<String>,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Where its sources are.
    pub repository: Option<String>,
    /// The files that run on this machine.
    pub artifacts: BTreeMap<Runtime, Artifact>,
    /// How its native part uses libtorch.
    pub torch: TorchLink,
    /// Linear memory that its WASM part asks for, if more than the host gives unasked.
    pub memory_mib: Option<u32>,
    /// Whether its WASM part may import WASI, and get one with nothing behind it.
    pub has_null_wasi: bool,
    /// What it offers.
    pub entries: Vec<ManifestEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Raw {
    schema_version: Spanned<u32>,
    id: Spanned<String>,
    version: Spanned<String>,
    #[serde(default)]
    description: String,
    license: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
    repository: Option<String>,
    #[serde(default)]
    api: RawApi,
    artifact: Spanned<BTreeMap<String, Spanned<Artifact>>>,
    torch: Option<RawTorch>,
    #[serde(default)]
    capabilities: RawCapabilities,
    entry: Vec<Spanned<ManifestEntry>>,
}

#[derive(Deserialize, Default)]
struct RawApi {
    wit: Option<Spanned<String>>,
    abi: Option<Spanned<String>>,
    anneal: Option<Spanned<String>>,
}

#[derive(Deserialize)]
struct RawTorch {
    link: Spanned<String>,
    version: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct RawCapabilities {
    wasi: Option<Spanned<String>>,
    memory_mib: Option<Spanned<u32>>,
}

impl Manifest {
    /// Reads a manifest; `file` is its path in messages.
    ///
    /// # Errors
    /// All that is wrong with it, with line and column.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Problems> {
        let mut faults = Faults { file, text, problems: Vec::new() };
        match DeTable::parse(text) {
            Ok(table) => faults.unknown_keys(table.get_ref(), &[]),
            Err(error) => {
                faults.add(error.span().unwrap_or_default(), "", error.message(), None);
                return Err(Problems(faults.problems));
            }
        }
        let raw: Raw = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                faults.add(error.span().unwrap_or_default(), "", error.message(), None);
                return Err(Problems(faults.problems));
            }
        };
        let manifest = checked(raw, &mut faults);
        match manifest.filter(|_| faults.problems.is_empty()) {
            Some(manifest) => Ok(manifest),
            None => Err(Problems(faults.problems)),
        }
    }
}

fn checked(raw: Raw, faults: &mut Faults<'_>) -> Option<Manifest> {
    if *raw.schema_version.get_ref() != SCHEMA_VERSION {
        let message = format!("is {}, this anneal reads {SCHEMA_VERSION}", raw.schema_version.get_ref());
        faults.add(raw.schema_version.span(), "schema-version", message, "update anneal".to_owned());
    }
    if !is_id(raw.id.get_ref()) {
        let help = "write `vendor.name`: lower-case words of letters, digits and `-`, joined by dots".to_owned();
        faults.add(raw.id.span(), "id", format!("`{}` is no plugin id", raw.id.get_ref()), help);
    }
    let version = Version::parse(raw.version.get_ref());
    if let Err(error) = &version {
        let help = "write three numbers, `1.2.0`".to_owned();
        faults.add(raw.version.span(), "version", format!("`{}` is no version: {error}", raw.version.get_ref()), help);
    }
    check_api(&raw.api, faults);
    let artifacts = artifacts(&raw.artifact, &raw.entry, faults);
    let torch = torch(raw.torch, faults);
    let (memory_mib, has_null_wasi) = capabilities(raw.capabilities, faults);
    check_entries(&raw.entry, faults);
    Some(Manifest {
        id: raw.id.into_inner(),
        version: version.ok()?,
        description: raw.description,
        license: raw.license,
        authors: raw.authors,
        repository: raw.repository,
        artifacts,
        torch,
        memory_mib,
        has_null_wasi,
        entries: raw.entry.into_iter().map(Spanned::into_inner).collect(),
    })
}

/// Whether a text is the id of a plugin: `vendor.name`, `^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+$`.
pub fn is_id(id: &str) -> bool {
    id.contains('.') && id.split('.').all(is_word)
}

/// `^[a-z][a-z0-9-]*$`
fn is_word(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
}

fn check_api(api: &RawApi, faults: &mut Faults<'_>) {
    let host_abi = (u64::from(abi::ABI_MAJOR), u64::from(abi::ABI_MINOR));
    for (key, wanted, (major, minor)) in [("api.wit", &api.wit, WIT), ("api.abi", &api.abi, host_abi)] {
        let Some(wanted) = wanted else { continue };
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u64>().ok());
        let (first, second) =
            wanted.get_ref().split_once('.').map_or((None, None), |(a, b)| (number(Some(a)), number(Some(b))));
        let (message, help) = match (first, second) {
            (Some(first), Some(second)) if first == major && second <= minor => continue,
            (Some(first), Some(_)) if first < major => (
                format!("is {}, this anneal has {major}.{minor}", wanted.get_ref()),
                "build the plugin with a newer plugin-api",
            ),
            (Some(_), Some(_)) => {
                (format!("is {}, this anneal has {major}.{minor}", wanted.get_ref()), "update anneal")
            }
            _ => (format!("`{}` is no version of an interface", wanted.get_ref()), "write two numbers, `1.0`"),
        };
        faults.add(wanted.span(), key, message, help.to_owned());
    }
    let Some(wanted) = &api.anneal else { return };
    let host = Version::parse(env!("CARGO_PKG_VERSION")).ok();
    match VersionReq::parse(wanted.get_ref()) {
        Ok(requirement) if host.is_some_and(|host| requirement.matches(&host)) => {}
        Ok(requirement) => {
            let message = format!("is {requirement}, this is anneal {}", env!("CARGO_PKG_VERSION"));
            faults.add(
                wanted.span(),
                "api.anneal",
                message,
                "use another version of anneal or of the plugin".to_owned(),
            );
        }
        Err(error) => {
            faults.add(wanted.span(), "api.anneal", error.to_string(), "write a requirement, `>=0.1`".to_owned())
        }
    }
}

/// The artifacts that run here, one for each runtime that the entries need.
fn artifacts(
    given: &Spanned<BTreeMap<String, Spanned<Artifact>>>,
    entries: &[Spanned<ManifestEntry>],
    faults: &mut Faults<'_>,
) -> BTreeMap<Runtime, Artifact> {
    for (name, artifact) in given.get_ref() {
        check_path(&artifact.get_ref().path, artifact.span(), &format!("artifact.{name}.path"), faults);
    }
    let mut found = BTreeMap::new();
    for entry in entries {
        let runtime = entry.get_ref().runtime();
        let name = runtime.artifact();
        if let Some(artifact) = given.get_ref().get(&name) {
            found.insert(runtime, artifact.get_ref().clone());
            continue;
        }
        let have = one_of(given.get_ref().keys().map(String::as_str));
        let message = format!(
            "there is no [artifact.{name}], which `{}` ({}) runs from; there is {have}",
            entry.get_ref().name,
            entry.get_ref().kind
        );
        faults.add(given.span(), "artifact", message, format!("build the plugin for {name}"));
        break;
    }
    found
}

fn torch(raw: Option<RawTorch>, faults: &mut Faults<'_>) -> TorchLink {
    let Some(raw) = raw else { return TorchLink::None };
    match (raw.link.get_ref().as_str(), raw.version) {
        ("none", None) => TorchLink::None,
        ("exact", Some(version)) => TorchLink::Exact { version: version.into_inner() },
        ("exact", None) => {
            faults.add(raw.link.span(), "torch", "`exact` needs a version", "add `version = \"2.11\"`".to_owned());
            TorchLink::None
        }
        ("none", Some(version)) => {
            faults.add(version.span(), "torch.version", "is given, but the link is `none`", "remove it".to_owned());
            TorchLink::None
        }
        (other, _) => {
            faults.add(
                raw.link.span(),
                "torch.link",
                format!("`{other}` is no way to link"),
                "write `none` or `exact`".to_owned(),
            );
            TorchLink::None
        }
    }
}

/// The memory that is asked for, and whether a WASI with nothing behind it is.
fn capabilities(raw: RawCapabilities, faults: &mut Faults<'_>) -> (Option<u32>, bool) {
    let wasi = raw.wasi.as_ref().map_or("none", |wasi| wasi.get_ref());
    if let Some(span) = raw.wasi.as_ref().map(Spanned::span).filter(|_| !["none", "null"].contains(&wasi)) {
        let help = "write `none`, or `null` for one without files, network, time or randomness".to_owned();
        faults.add(span, "capabilities.wasi", format!("is `{wasi}`, which plugins do not get"), help);
    }
    let has_null_wasi = wasi == "null";
    let Some(memory) = raw.memory_mib else { return (None, has_null_wasi) };
    if !(1..=MEMORY_MIB_MAX).contains(memory.get_ref()) {
        let message = format!("is {}", memory.get_ref());
        faults.add(memory.span(), "capabilities.memory-mib", message, format!("write 1 to {MEMORY_MIB_MAX}"));
    }
    (Some(memory.into_inner()), has_null_wasi)
}

fn check_entries(entries: &[Spanned<ManifestEntry>], faults: &mut Faults<'_>) {
    if let Some(next) = entries.get(ENTRIES_MAX) {
        let message = format!("there are {}, at most {ENTRIES_MAX} are read", entries.len());
        faults.add(next.span(), "entry", message, "part them among several plugins".to_owned());
        return;
    }
    for (i, entry) in entries.iter().enumerate() {
        let (span, entry) = (entry.span(), entry.get_ref());
        let key = format!("entry.{i}");
        if !is_word(&entry.name) {
            let help = "use lower-case letters, digits and `-`".to_owned();
            faults.add(span.clone(), &format!("{key}.name"), format!("`{}` is no name of an entry", entry.name), help);
        }
        if let Some(runtime) = entry.runtime.filter(|runtime| !runtime.runs(entry.kind)) {
            let message = format!("is {runtime}, where the kind {} runs as {}", entry.kind, Runtime::of(entry.kind));
            faults.add(span.clone(), &format!("{key}.runtime"), message, "take the line out".to_owned());
        }
        if entries[..i].iter().any(|other| other.get_ref().name == entry.name && other.get_ref().kind == entry.kind) {
            let message = format!("there are two of the kind {} named `{}`", entry.kind, entry.name);
            faults.add(span.clone(), &key, message, "rename one".to_owned());
        }
        for (j, example) in entry.examples.iter().enumerate() {
            if let Err(message) = example.check() {
                let help = "see `[[entry.example]]` in the guide for authors".to_owned();
                faults.add(span.clone(), &format!("{key}.example.{j}"), message, help);
            }
        }
        check_path(&entry.schema, span, &format!("{key}.schema"), faults);
    }
}

/// A path of a package stays inside its folder.
fn check_path(path: &Path, span: Range<usize>, key: &str, faults: &mut Faults<'_>) {
    if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        let help = "write a path below the plugin's folder".to_owned();
        faults.add(span, key, format!("`{}` leads out of the plugin's folder", path.display()), help);
    }
}

#[cfg(test)]
mod tests;
