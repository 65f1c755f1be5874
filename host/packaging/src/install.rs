//! Writing a plugin's folder: whole or not at all, and only when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The files of a plugin's folder, by path below it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A file that could not be written or removed.
#[derive(Debug, Error)]
#[error("cannot {doing} {path}: {source}")]
pub struct FileError {
    /// What was tried: `write` or `remove`.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// Makes `folder/id` hold exactly `files`, and says whether it had to be written.
///
/// The folder is written beside the plugin directory and renamed into it, so a run that starts meanwhile finds the old
/// plugin or the new one. Folders and files are writable by their owner alone, whatever the umask: the host refuses
/// native plugins that others could have written.
///
/// # Errors
/// When a file cannot be written.
pub fn install(folder: &Path, id: &str, files: &Files) -> Result<bool, FileError> {
    let target = folder.join(id);
    if holds_exactly(&target, files) {
        return Ok(false);
    }
    let partial = folder.with_extension("partial").join(id);
    let old = folder.with_extension("partial").join(format!("{id}.old"));
    let failed = |source| FileError { doing: "write", path: target.clone(), source };
    remove(&partial)?;
    remove(&old)?;
    for (path, bytes) in files {
        let path = partial.join(path);
        let parent = path.parent().unwrap_or(&partial);
        fs::create_dir_all(parent).map_err(failed)?;
        fs::set_permissions(parent, Permissions::from_mode(0o755)).map_err(failed)?;
        fs::write(&path, bytes).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644)).map_err(failed)?;
    }
    fs::set_permissions(&partial, Permissions::from_mode(0o755)).map_err(failed)?;
    fs::create_dir_all(folder).map_err(failed)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed)?;
    if target.exists() {
        fs::rename(&target, &old).map_err(failed)?;
    }
    fs::rename(&partial, &target).map_err(failed)?;
    remove(&folder.with_extension("partial"))?;
    Ok(true)
}

/// Removes the folders of plugins that are no longer there: a run must not find what the sources do not have.
///
/// # Errors
/// When a folder cannot be removed.
pub fn keep_only(folder: &Path, ids: &[&str]) -> Result<(), FileError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_wanted = path.file_name().is_some_and(|name| ids.iter().any(|id| name == *id));
        if path.is_dir() && !is_wanted {
            remove(&path)?;
        }
    }
    Ok(())
}

fn holds_exactly(folder: &Path, files: &Files) -> bool {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        let Ok(entries) = fs::read_dir(&at) else { return false };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap_or(&path).to_path_buf());
            }
        }
    }
    found.iter().eq(files.keys())
        && files.iter().all(|(path, bytes)| fs::read(folder.join(path)).is_ok_and(|on_disk| on_disk == *bytes))
}

fn remove(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError { doing: "remove", path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        entries.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_plugin_is_written_once_and_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("plugins");
        let first = files(&[("plugin.toml", "1"), ("schema/a.json", "{}")]);
        assert!(install(&folder, "x.y", &first).unwrap());
        assert!(!install(&folder, "x.y", &first).unwrap());
        let second = files(&[("plugin.toml", "2")]);
        assert!(install(&folder, "x.y", &second).unwrap());
        assert!(!folder.join("x.y/schema").exists());
        assert_eq!(fs::read_to_string(folder.join("x.y/plugin.toml")).unwrap(), "2");
        let names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["plugins"]);
    }

    #[test]
    fn others_cannot_write_an_installed_plugin() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("plugins");
        install(&folder, "x.y", &files(&[("lib/a.so", "")])).unwrap();
        for path in ["", "x.y", "x.y/lib", "x.y/lib/a.so"] {
            let mode = fs::metadata(folder.join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o022, 0, "{path} has mode {mode:o}");
        }
    }

    #[test]
    fn plugins_whose_sources_are_gone_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("plugins");
        install(&folder, "x.old", &files(&[("plugin.toml", "")])).unwrap();
        install(&folder, "x.kept", &files(&[("plugin.toml", "")])).unwrap();
        keep_only(&folder, &["x.kept"]).unwrap();
        assert!(!folder.join("x.old").exists());
        assert!(folder.join("x.kept").exists());
    }
}
