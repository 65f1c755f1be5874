//! `anneal-check.toml`: what an author expects to fail, and what is not to be checked, each with a reason.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::checks;

/// The name of the file, in the plugin's folder or one above it.
pub const FILE: &str = "anneal-check.toml";

/// What is expected of some checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    version: u32,
    #[serde(default)]
    test: Vec<Expectation>,
}

/// What is expected of a check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The check.
    pub id: String,
    /// The entry; all if not given.
    pub entry: Option<String>,
    /// What to do.
    #[serde(default)]
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// What to do with a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Make it, and expect that it fails.
    #[default]
    ExpectFail,
    /// Do not make it. The level that needs it is then not reached.
    Skip,
}

/// Why a file of expectations cannot be used.
#[derive(Debug, Error)]
#[error("{path}: {reason}")]
pub struct BadExpectations {
    path: PathBuf,
    reason: String,
}

impl Expectations {
    /// The expectations for a plugin's folder: those of the nearest file in it or above it; none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or names a check that there is not.
    pub fn of(folder: &Path) -> Result<Self, BadExpectations> {
        let file = folder.ancestors().take(3).map(|folder| folder.join(FILE)).find(|file| file.is_file());
        file.map_or(Ok(Self::default()), |file| Self::read(&file))
    }

    /// The expectations in a file.
    ///
    /// # Errors
    /// As [`Expectations::of`].
    pub fn read(file: &Path) -> Result<Self, BadExpectations> {
        let bad = |reason: String| BadExpectations { path: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
        let read: Self = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if read.version != 1 {
            return Err(bad(format!("version is {}, this anneal reads 1", read.version)));
        }
        let known = checks::catalogue();
        match read.test.iter().find(|expected| known.iter().all(|check| check.id != expected.id)) {
            Some(unknown) => Err(bad(format!("there is no check `{}`; `anneal plugin checks` lists them", unknown.id))),
            None => Ok(read),
        }
    }

    /// What is expected of a check of an entry.
    pub fn find(&self, id: &str, entry: Option<&str>) -> Option<&Expectation> {
        let fits = |expected: &&Expectation| {
            expected.id == id && expected.entry.as_deref().is_none_or(|wanted| Some(wanted) == entry)
        };
        self.test.iter().find(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Expectations, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let inner = folder.path().join("dist/a.b");
        std::fs::create_dir_all(&inner).unwrap();
        Expectations::of(&inner).map_err(|error| error.to_string())
    }

    #[test]
    fn expectations_are_of_a_check_and_an_entry() {
        let text = "version = 1\n[[test]]\nid = \"D05\"\nentry = \"karras\"\nreason = \"slow\"\n\
                    [[test]]\nid = \"D06\"\naction = \"skip\"\nreason = \"none\"\n";
        let read = read(text).unwrap();
        assert_eq!(read.find("D05", Some("karras")).unwrap().action, Action::ExpectFail);
        assert!(read.find("D05", Some("other")).is_none());
        assert_eq!(read.find("D06", Some("other")).unwrap().action, Action::Skip);
    }

    #[test]
    fn mistakes_are_errors() {
        assert!(read("version = 1\n[[test]]\nid = \"D99\"\nreason = \"\"\n").unwrap_err().contains("no check `D99`"));
        assert!(read("version = 2\n").unwrap_err().contains("version is 2"));
        assert!(read("version = 1\n[[test]]\nid = \"D05\"\n").unwrap_err().contains("reason"));
    }
}
