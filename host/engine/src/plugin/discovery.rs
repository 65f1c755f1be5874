//! Finds plugins: which directories are searched, what in them is a plugin, and which of several is taken.
//!
//! Nothing of a plugin is executed here. Because loading a native plugin does execute it, folders and files that
//! others could have written are refused.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use semver::VersionReq;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::PluginError;
use super::manifest::{Artifact, Manifest, Runtime};
use super::wasm::CodeCache;
use crate::bounded::{self, TEXT_MAX};
use crate::config::Environment;
use crate::digest::{hex, sha256};

/// Bytes of a file that is run; a plugin that brings libtorch has hundreds of millions.
const ARTIFACT_MAX: u64 = 4 << 30;

/// Who named a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// `plugins.dirs` of the run config.
    Config,
    /// `--plugin-dir`.
    Flag,
    /// `ANNEAL_PLUGIN_PATH`.
    Variable,
    /// It is `.anneal/plugins` in the working directory.
    WorkingDirectory,
    /// It is the user's, in the data folder.
    User,
    /// It is the system's, which root alone can write.
    System,
}

impl NamedBy {
    /// Whether native code in the directory may run unasked: the user who starts the program has named it there and
    /// then, or root has. A config may come from anywhere, and so may what was added to the user's directory.
    fn is_trusted(self) -> bool {
        matches!(self, Self::Flag | Self::Variable | Self::System)
    }
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "plugins.dirs",
            Self::Flag => "--plugin-dir",
            Self::Variable => "ANNEAL_PLUGIN_PATH",
            Self::WorkingDirectory => "the working directory",
            Self::User => "the user's data folder",
            Self::System => "the system",
        })
    }
}

/// The directories that are searched, in order, and what decides about native code in them.
#[derive(Debug, Clone, Default)]
pub struct SearchPath {
    dirs: Vec<(NamedBy, PathBuf)>,
    own: Option<PathBuf>,
    trust_list: Option<PathBuf>,
    code: Option<CodeCache>,
}

impl SearchPath {
    /// The directories of the run config, those given by `--plugin-dir`, those of `ANNEAL_PLUGIN_PATH`,
    /// `./.anneal/plugins`, the user's, and the system's.
    pub fn new(config_dirs: &[PathBuf], plugin_dirs: &[PathBuf], env: &Environment) -> Self {
        let mut dirs: Vec<(NamedBy, PathBuf)> = Vec::new();
        dirs.extend(config_dirs.iter().map(|dir| (NamedBy::Config, dir.clone())));
        dirs.extend(plugin_dirs.iter().map(|dir| (NamedBy::Flag, dir.clone())));
        dirs.extend(env.plugin_path.iter().map(|dir| (NamedBy::Variable, dir.clone())));
        dirs.push((NamedBy::WorkingDirectory, PathBuf::from(".anneal/plugins")));
        dirs.extend(env.user_plugins().map(|dir| (NamedBy::User, dir)));
        dirs.push((NamedBy::System, PathBuf::from("/usr/local/lib/anneal/plugins")));
        dirs.push((NamedBy::System, PathBuf::from("/usr/lib/anneal/plugins")));
        // Who can write beside the program could as well replace the program.
        let own = env.own_plugins.as_ref().and_then(|own| fs::canonicalize(own).ok());
        Self { dirs, own, trust_list: env.trust_list(), code: CodeCache::of_user(env) }
    }

    /// One directory, which the user named.
    pub fn only(dir: &Path) -> Self {
        Self { dirs: vec![(NamedBy::Flag, dir.to_owned())], ..Self::default() }
    }

    /// With the user's compiled components.
    #[must_use]
    pub fn with_code_of(self, env: &Environment) -> Self {
        Self { code: CodeCache::of_user(env), ..self }
    }

    /// The directories, in order.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().map(|(_, dir)| dir.as_path())
    }

    /// The user's compiled components.
    pub(super) fn code(&self) -> Option<&CodeCache> {
        self.code.as_ref()
    }

    /// The user's list of trusted native plugins.
    pub(super) fn trust_list(&self) -> Option<&Path> {
        self.trust_list.as_deref()
    }

    fn is_trusted(&self, named_by: NamedBy, dir: &Path) -> bool {
        named_by.is_trusted() || self.own.as_ref().is_some_and(|own| dir.starts_with(own))
    }
}

/// What was made of a directory or a plugin's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The directory or folder.
    pub path: PathBuf,
    /// What was made of it.
    pub verdict: Verdict,
}

/// See [`Decision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A directory that is not there.
    Absent {
        /// Who named it.
        named_by: NamedBy,
    },
    /// A directory that was searched.
    Searched {
        /// Who named it.
        named_by: NamedBy,
        /// Folders with a `plugin.toml` in it.
        plugins: usize,
    },
    /// Not used, for the reason given.
    Refused(String),
    /// Its entries can be named.
    Taken(String),
    /// The same plugin was found before.
    Again(PathBuf),
    /// Another version is taken.
    OtherVersion(String),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.verdict {
            Verdict::Absent { named_by } => write!(f, "no such directory (named by {named_by})"),
            Verdict::Searched { named_by, plugins } => write!(f, "{plugins} plugins (named by {named_by})"),
            Verdict::Refused(reason) => write!(f, "refused: {reason}"),
            Verdict::Taken(what) => write!(f, "taken: {what}"),
            Verdict::Again(first) => write!(f, "not taken: the same plugin is in {}", first.display()),
            Verdict::OtherVersion(taken) => write!(f, "not taken: {taken} is"),
        }
    }
}

/// A plugin that may be used, read from its folder.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its folder, absolute and free of links.
    pub folder: PathBuf,
    /// SHA-256 of manifest, artifacts and schemas, in hexadecimal.
    pub sha256: String,
    /// The schemas of its entries, in their order.
    pub schemas: Vec<Value>,
    /// Whether its native code may run unasked, by where it was found.
    pub is_trusted: bool,
}

impl Found {
    fn title(&self) -> String {
        format!("{} {}", self.manifest.id, self.manifest.version)
    }

    /// The file that a runtime runs.
    pub fn artifact(&self, runtime: Runtime) -> Option<PathBuf> {
        Some(self.folder.join(&self.manifest.artifacts.get(&runtime)?.path))
    }
}

/// Reads every plugin in the directories, in their order, and says what was made of each folder.
pub fn search(path: &SearchPath) -> (Vec<Found>, Vec<Decision>) {
    let (mut found, mut decisions) = (Vec::new(), Vec::new());
    for (named_by, dir) in &path.dirs {
        let mut decide = |path: &Path, verdict| decisions.push(Decision { path: path.to_owned(), verdict });
        let Ok(real) = fs::canonicalize(dir).and_then(|real| fs::read_dir(&real).map(|_| real)) else {
            decide(dir, Verdict::Absent { named_by: *named_by });
            continue;
        };
        if let Err(reason) = check_owner(&real) {
            decide(dir, Verdict::Refused(reason));
            continue;
        }
        let folders = plugin_folders(&real);
        decide(dir, Verdict::Searched { named_by: *named_by, plugins: folders.len() });
        for folder in folders {
            match read(&folder, &real) {
                Ok(plugin) => found.push(Found { is_trusted: path.is_trusted(*named_by, &real), ..plugin }),
                Err(reason) => decide(&folder, Verdict::Refused(reason)),
            }
        }
    }
    (found, decisions)
}

/// `<dir>/<anything>` and `<dir>/<id>/<version>`, where they hold a `plugin.toml`; sorted by name.
fn plugin_folders(dir: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for first in subfolders(dir) {
        if first.join("plugin.toml").exists() {
            folders.push(first);
        } else {
            folders.extend(subfolders(&first).into_iter().filter(|second| second.join("plugin.toml").exists()));
        }
    }
    folders
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    // A hidden folder is one that a plugin is just being unpacked into.
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir() && !is_hidden(path)).collect();
    folders.sort();
    folders
}

/// Reads the plugin in `folder`, which must not lead out of `dir`.
pub(super) fn read(folder: &Path, dir: &Path) -> Result<Found, String> {
    let folder = inside(folder, dir)?;
    let mut digest = Sha256::new();
    let mut load = |name: &Path, max: u64| -> Result<Vec<u8>, String> {
        let path = inside(&folder.join(name), &folder)?;
        check_owner(&path)?;
        let bytes = bounded::read(&path, max).map_err(|error| format!("{}: {error}", path.display()))?;
        digest.update(Sha256::digest(&bytes));
        Ok(bytes)
    };
    check_owner(&folder)?;
    let text = String::from_utf8(load(Path::new("plugin.toml"), TEXT_MAX)?)
        .map_err(|_| "plugin.toml is not UTF-8".to_owned())?;
    let manifest = Manifest::parse(&text, &folder.join("plugin.toml")).map_err(|problems| problems.to_string())?;
    for artifact in manifest.artifacts.values() {
        check_hash(artifact, &load(&artifact.path, ARTIFACT_MAX)?)?;
    }
    let mut schemas = Vec::with_capacity(manifest.entries.len());
    for entry in &manifest.entries {
        let schema: Value = serde_json::from_slice(&load(&entry.schema, TEXT_MAX)?)
            .map_err(|error| format!("{}: is no JSON: {error}", entry.schema.display()))?;
        if !schema.is_object() {
            return Err(format!("{}: is no JSON Schema", entry.schema.display()));
        }
        schemas.push(schema);
    }
    Ok(Found { manifest, folder, sha256: hex(&digest.finalize()), schemas, is_trusted: false })
}

fn check_hash(artifact: &Artifact, bytes: &[u8]) -> Result<(), String> {
    let got = sha256(bytes);
    match &artifact.sha256 {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&got) => {
            Err(format!("{} has SHA-256 {got}, its manifest says {wanted}", artifact.path.display()))
        }
        _ => Ok(()),
    }
}

/// The real path, which must lie in `dir`: a link could lead to what someone else controls.
fn inside(path: &Path, dir: &Path) -> Result<PathBuf, String> {
    let real = fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match real.starts_with(dir) {
        true => Ok(real),
        false => Err(format!("{} leads out of {}", path.display(), dir.display())),
    }
}

/// Only the user and root may have written what is about to be executed.
pub(super) fn check_owner(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let metadata = fs::metadata(path).map_err(failed)?;
    // The kernel gives a process's folder to the user it runs as.
    let user = fs::metadata("/proc/self").map_err(failed)?.uid();
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(format!("{} belongs to user {}, not to you or root", path.display(), metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        let path = path.display();
        return Err(format!(
            "{path} can be written by others (mode {:o}); run `chmod go-w {path}`",
            metadata.mode() & 0o777
        ));
    }
    Ok(())
}

/// Takes one version of each plugin: the highest that its requirement allows.
///
/// # Errors
/// When two folders hold different plugins of one id and version, or a requirement is not met.
pub fn choose(
    found: Vec<Found>,
    require: &BTreeMap<String, String>,
) -> Result<(Vec<Found>, Vec<Decision>), PluginError> {
    let mut decisions = Vec::new();
    let mut by_id: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for plugin in found {
        let versions = by_id.entry(plugin.manifest.id.clone()).or_default();
        match versions.iter_mut().find(|other| other.manifest.version == plugin.manifest.version) {
            Some(first) if first.sha256 == plugin.sha256 => {
                first.is_trusted |= plugin.is_trusted;
                decisions.push(Decision { path: plugin.folder, verdict: Verdict::Again(first.folder.clone()) });
            }
            Some(first) => {
                let (id, version) = (plugin.manifest.id, plugin.manifest.version);
                return Err(PluginError::Clash { id, version, first: first.folder.clone(), second: plugin.folder });
            }
            None => versions.push(plugin),
        }
    }
    for (id, requirement) in require {
        let parsed = VersionReq::parse(requirement).map_err(|error| {
            let (id, requirement) = (id.clone(), requirement.clone());
            PluginError::BadRequirement { id, requirement, reason: error.to_string() }
        })?;
        let versions = by_id.entry(id.clone()).or_default();
        let all: Vec<_> = versions.iter().map(|plugin| plugin.manifest.version.clone()).collect();
        let (allowed, others) = versions.drain(..).partition(|plugin| parsed.matches(&plugin.manifest.version));
        *versions = allowed;
        if versions.is_empty() {
            return Err(PluginError::Required { id: id.clone(), requirement: requirement.clone(), found: all });
        }
        let verdict = |other: Found| {
            let reason = format!("plugins.require wants {requirement}, this is {}", other.manifest.version);
            Decision { path: other.folder, verdict: Verdict::Refused(reason) }
        };
        decisions.extend(others.into_iter().map(verdict));
    }
    let mut taken = Vec::with_capacity(by_id.len());
    for (_, mut versions) in by_id {
        versions.sort_by(|a, b| a.manifest.version.cmp(&b.manifest.version));
        let Some(newest) = versions.pop() else { continue };
        decisions.push(Decision { path: newest.folder.clone(), verdict: Verdict::Taken(newest.title()) });
        let verdict = Verdict::OtherVersion(newest.title());
        decisions.extend(versions.into_iter().map(|old| Decision { path: old.folder, verdict: verdict.clone() }));
        taken.push(newest);
    }
    Ok((taken, decisions))
}

#[cfg(test)]
mod tests;
