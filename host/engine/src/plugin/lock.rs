//! `anneal.lock`: exactly which plugins the configs of a folder were run with.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Plugin, PluginError, Registry};
use crate::bounded::{self, TEXT_MAX};
use crate::config::PluginRef;

/// The version of the file's format.
const VERSION: u32 = 1;

/// A plugin to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// `native` or `wasm`.
    pub runtime: String,
    /// SHA-256 of its manifest, artifacts and schemas, in hexadecimal.
    pub sha256: String,
}

impl From<&Plugin> for LockedPlugin {
    fn from(plugin: &Plugin) -> Self {
        Self {
            id: plugin.id().to_owned(),
            version: plugin.version().clone(),
            runtime: plugin.runtime().to_string(),
            sha256: plugin.sha256().to_owned(),
        }
    }
}

/// The lock's file cannot be read or written.
#[derive(Debug, Error)]
#[error("{path}: {reason}")]
pub struct LockError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// The plugins of the configs in a folder, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    plugins: BTreeMap<String, LockedPlugin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    plugin: Vec<LockedPlugin>,
}

impl Lock {
    /// The plugins that a config names.
    ///
    /// # Errors
    /// When one is not found.
    pub fn of(registry: &Registry, named: &[PluginRef<'_>]) -> Result<Self, PluginError> {
        let locked = named.iter().map(|used| {
            let plugin = registry.find(used.kind, used.name)?.plugin();
            Ok((plugin.id().to_owned(), plugin.into()))
        });
        Ok(Self { plugins: locked.collect::<Result<_, PluginError>>()? })
    }

    /// The lock of the configs in the folder of `config`.
    pub fn path(config: &Path) -> PathBuf {
        config.with_file_name("anneal.lock")
    }

    /// Reads a lock; none is there before the first is written.
    ///
    /// # Errors
    /// When it cannot be read, or is of another format.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let failed = |reason: String| LockError { path: path.to_owned(), reason };
        let text = match bounded::read_text(path, TEXT_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| failed(error.to_string()))?,
        };
        let file: File = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        if file.version != VERSION {
            return Err(failed(format!("has version {}, this anneal reads {VERSION}", file.version)));
        }
        Ok(Some(Self { plugins: file.plugin.into_iter().map(|plugin| (plugin.id.clone(), plugin)).collect() }))
    }

    /// Writes the lock, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let failed = |reason: String| LockError { path: path.to_owned(), reason };
        let file = File { version: VERSION, plugin: self.plugins().cloned().collect() };
        let text = toml::to_string(&file).map_err(|error| failed(error.to_string()))?;
        let head = "# Written by `anneal plugin lock`; `anneal train --locked` holds a run to it.\n";
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            write!(file, "{head}{text}")?;
            // It is committed beside the config, so others may read it.
            file.as_file().set_permissions(Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| failed(error.to_string()))
    }

    /// The plugins, by id.
    pub fn plugins(&self) -> impl Iterator<Item = &LockedPlugin> {
        self.plugins.values()
    }

    /// Takes over what `newer` holds. Plugins that it lacks stay: other configs of the folder may name them.
    pub fn update(&mut self, newer: Self) {
        self.plugins.extend(newer.plugins);
    }

    /// A line for each plugin of `newer` that this lock lacks or has otherwise.
    pub fn differences(&self, newer: &Self) -> Vec<String> {
        let line =
            |plugin: &LockedPlugin| format!("{} {}", plugin.version, &plugin.sha256[..12.min(plugin.sha256.len())]);
        let changed = newer.plugins().filter_map(|plugin| match self.plugins.get(&plugin.id) {
            Some(locked) if locked == plugin => None,
            Some(locked) => Some(format!("{} is {}, locked is {}", plugin.id, line(plugin), line(locked))),
            None => Some(format!("{} {} is not locked", plugin.id, line(plugin))),
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lock(plugins: &[(&str, &str)]) -> Lock {
        let locked = |(id, sha256): &(&str, &str)| LockedPlugin {
            id: (*id).to_owned(),
            version: Version::new(1, 0, 0),
            runtime: "wasm".to_owned(),
            sha256: (*sha256).to_owned(),
        };
        Lock { plugins: plugins.iter().map(|plugin| (plugin.0.to_owned(), locked(plugin))).collect() }
    }

    #[test]
    fn a_lock_comes_back_and_other_formats_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = Lock::path(&dir.path().join("run.toml"));
        assert_eq!(Lock::read(&path).unwrap(), None);
        let written = lock(&[("acme.a", "aa"), ("acme.b", "bb")]);
        written.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap().unwrap(), written);
        fs::write(&path, "version = 2").unwrap();
        assert_eq!(Lock::read(&path).unwrap_err().reason, "has version 2, this anneal reads 1");
    }

    #[test]
    fn what_a_config_does_not_name_stays_locked_and_makes_no_difference() {
        let mut locked = lock(&[("acme.a", "aa"), ("acme.b", "bb")]);
        assert!(locked.differences(&lock(&[("acme.a", "aa")])).is_empty());
        let newer = lock(&[("acme.a", "cc"), ("acme.c", "dd")]);
        let expected = ["acme.a is 1.0.0 cc, locked is 1.0.0 aa", "acme.c 1.0.0 dd is not locked"];
        assert_eq!(locked.differences(&newer), expected);
        locked.update(newer);
        assert_eq!(locked, lock(&[("acme.a", "cc"), ("acme.b", "bb"), ("acme.c", "dd")]));
    }
}
