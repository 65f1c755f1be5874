//! Which native plugins the user lets run: native code can do all that the user can, so it is not run unasked.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::TrustError;
use super::discovery::check_owner;
use crate::bounded::{self, TEXT_MAX};

/// A plugin that may run, as long as it is the same to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// SHA-256 of its manifest, artifacts and schemas, in hexadecimal.
    pub sha256: String,
}

/// The user's list of trusted native plugins.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustList {
    #[serde(default)]
    native: Vec<Trusted>,
}

impl TrustList {
    /// Reads the list; one that is not there trusts nothing.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or others could have written it.
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let failed = |reason: String| TrustError { path: path.to_owned(), reason };
        let text = match bounded::read_text(path, TEXT_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| failed(error.to_string()))?,
        };
        check_owner(path).map_err(failed)?;
        toml::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// Whether the plugin of this digest is trusted.
    pub fn holds(&self, sha256: &str) -> bool {
        self.native.iter().any(|trusted| trusted.sha256 == sha256)
    }

    /// Adds a plugin; says whether it was not there.
    pub fn add(&mut self, trusted: Trusted) -> bool {
        let is_new = !self.native.contains(&trusted);
        if is_new {
            self.native.push(trusted);
        }
        is_new
    }

    /// Takes out a plugin's versions, or one of them, and returns them.
    pub fn remove(&mut self, id: &str, version: Option<&Version>) -> Vec<Trusted> {
        let is_meant =
            |trusted: &mut Trusted| trusted.id == id && version.is_none_or(|wanted| *wanted == trusted.version);
        self.native.extract_if(.., is_meant).collect()
    }

    /// Writes the list, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TrustError> {
        let failed = |reason: String| TrustError { path: path.to_owned(), reason };
        let text = toml::to_string(self).map_err(|error| failed(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().set_permissions(Permissions::from_mode(0o600))?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(version: &str, sha256: &str) -> Trusted {
        Trusted { id: "acme.class".to_owned(), version: version.parse().unwrap(), sha256: sha256.to_owned() }
    }

    #[test]
    fn the_list_comes_back_and_versions_leave_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("anneal/trust.toml");
        let mut list = TrustList::read(&path).unwrap();
        assert!(!list.holds("aa"));
        assert!(list.add(plugin("1.0.0", "aa")) && list.add(plugin("2.0.0", "bb")) && !list.add(plugin("1.0.0", "aa")));
        list.write(&path).unwrap();
        let mut list = TrustList::read(&path).unwrap();
        assert!(list.holds("aa") && list.holds("bb") && !list.holds("a"));
        assert_eq!(list.remove("acme.class", Some(&Version::new(1, 0, 0))), [plugin("1.0.0", "aa")]);
        assert!(!list.holds("aa") && list.holds("bb"));
        assert_eq!(list.remove("acme.other", None), []);
    }

    #[test]
    fn a_list_that_others_could_have_written_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        TrustList::default().write(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(TrustList::read(&path).unwrap_err().reason.contains("can be written by others"));
        fs::write(&path, "native = 3").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(TrustList::read(&path).is_err());
    }
}
