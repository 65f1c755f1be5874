//! A directory that plugins are added to and removed from, each at `<dir>/<id>/<version>`.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use semver::Version;
use thiserror::Error;

use super::Plugin;
use super::archive::{ArchiveError, unpack};
use super::discovery::{SearchPath, search};

/// Why a plugin is not added or removed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The package cannot be unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What was unpacked is no plugin for this host.
    #[error("its plugin is refused: {0}")]
    Refused(String),
    /// Another plugin of that id and version is there.
    #[error("{path} holds another {id} {version}")]
    Differs {
        /// Its folder.
        path: PathBuf,
        /// Its id.
        id: String,
        /// Its version.
        version: Version,
    },
    /// There is nothing to remove.
    #[error("{dir} holds no {id}{}", .version.as_ref().map_or_else(String::new, |version| format!(" {version}")))]
    Absent {
        /// The directory.
        dir: PathBuf,
        /// The plugin's id.
        id: String,
        /// The version that was asked for.
        version: Option<Version>,
    },
    /// Several versions are there.
    #[error("{id} is there as {}", .found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Several {
        /// The plugin's id.
        id: String,
        /// Its versions.
        found: Vec<Version>,
    },
    /// The directory cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A plugin that is in the directory.
#[derive(Debug)]
pub struct Added {
    /// The plugin; its path is where it was unpacked first.
    pub plugin: Plugin,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it had been there before.
    pub was_there: bool,
}

/// Unpacks a package into a directory: into a hidden folder first, checked there as a run would, and then renamed, so
/// that a run that starts meanwhile finds the whole plugin or none. Nothing of it is executed.
///
/// # Errors
/// When the package or its plugin is refused, or another plugin of its id and version is there.
pub fn add(package: impl Read, dir: &Path) -> Result<Added, StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| StoreError::Io { path, source }
    };
    make_folder(dir).map_err(failed(dir))?;
    let hidden = tempfile::Builder::new().prefix(".adding-").tempdir_in(dir).map_err(failed(dir))?;
    let unpacked = hidden.path().join("plugin");
    make_folder(&unpacked).map_err(failed(&unpacked))?;
    unpack(package, &unpacked)?;
    let plugin = Plugin::read(&unpacked).map_err(StoreError::Refused)?;
    let versions = dir.join(plugin.id());
    let folder = versions.join(plugin.version().to_string());
    if folder.exists() {
        if Plugin::read(&folder).is_ok_and(|other| other.sha256() == plugin.sha256()) {
            return Ok(Added { plugin, folder, was_there: true });
        }
        let (id, version) = (plugin.id().to_owned(), plugin.version().clone());
        return Err(StoreError::Differs { path: folder, id, version });
    }
    make_folder(&versions).map_err(failed(&versions))?;
    fs::rename(&unpacked, &folder).map_err(failed(&folder))?;
    Ok(Added { plugin, folder, was_there: false })
}

/// A folder that no other user can write, whatever the umask; one that is there stays as it is.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Removes a plugin from a directory and returns its folder.
///
/// # Errors
/// When it is not there, or several versions are and none is named.
pub fn remove(dir: &Path, id: &str, version: Option<&Version>) -> Result<PathBuf, StoreError> {
    let is_meant = |plugin: &super::discovery::Found| {
        plugin.manifest.id == id && version.is_none_or(|wanted| *wanted == plugin.manifest.version)
    };
    let mut found: Vec<_> = search(&SearchPath::only(dir)).0.into_iter().filter(is_meant).collect();
    let Some(plugin) = found.pop() else {
        return Err(StoreError::Absent { dir: dir.to_owned(), id: id.to_owned(), version: version.cloned() });
    };
    if !found.is_empty() {
        let found = found.iter().chain([&plugin]).map(|plugin| plugin.manifest.version.clone()).collect();
        return Err(StoreError::Several { id: id.to_owned(), found });
    }
    let failed = |source| StoreError::Io { path: plugin.folder.clone(), source };
    // Out of sight first, so that no run finds half of it.
    let hidden = tempfile::Builder::new().prefix(".removing-").tempdir_in(dir).map_err(failed)?;
    fs::rename(&plugin.folder, hidden.path().join("plugin")).map_err(failed)?;
    // The folder of the id goes with its last version; while others are there, this fails and is meant to.
    let _ = plugin.folder.parent().filter(|parent| parent.ends_with(id)).map(fs::remove_dir);
    Ok(plugin.folder)
}
