//! `anneal plugin pack`, `add` and `remove`: a plugin as one file, and the user's own plugin directory.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anneal::config::Environment;
use anneal::plugin::{self, Added, Registry, Runtime, SearchPath, StoreError};
use clap::Args;
use semver::Version;

use super::failed;
use crate::exit::{Exit, Failure};

/// A plugin, perhaps in one version: `acme.karras` or `acme.karras@1.2.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// Its id.
    pub id: String,
    /// Its version, where one is named.
    pub version: Option<Version>,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, version) = text.split_once('@').map_or((text, None), |(id, version)| (id, Some(version)));
        if !plugin::is_id(id) {
            return Err(format!("`{id}` is no plugin id, write `vendor.name` or `vendor.name@1.2.0`"));
        }
        let version = version.map(|text| Version::parse(text).map_err(|error| format!("`{text}`: {error}")));
        Ok(Self { id: id.to_owned(), version: version.transpose()? })
    }
}

/// Arguments of `plugin pack`.
#[derive(Debug, Args)]
pub struct Pack {
    /// A built plugin: the folder of a crate that `anneal plugin build` has built, or one with the artifact itself.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The file to write; by default `ID-VERSION.tar.zst` here.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Arguments of `plugin add`.
#[derive(Debug, Args)]
pub struct Add {
    /// A package, or the folder of a built plugin.
    #[arg(value_name = "FILE|DIR")]
    from: PathBuf,
    /// The plugin directory; by default yours, `anneal/plugins` in the data folder.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Arguments of `plugin remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// The plugin: `vendor.name`, or `vendor.name@1.2.0` where several versions are there.
    #[arg(value_name = "ID[@VERSION]")]
    which: Which,
    /// The plugin directory; by default yours, `anneal/plugins` in the data folder.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

impl Pack {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let folder = built(&self.dir)?;
        let package = plugin::pack(&folder).map_err(|error| not_packed(&folder, error))?;
        // Unpacked once, as whoever adds it will, so that no package leaves that could not be added.
        let trial = tempfile::tempdir().map_err(|error| Failure::new(Exit::Disk, error.to_string()))?;
        let Added { plugin, .. } = plugin::add(package.as_slice(), &trial.path().join("plugins"))?;
        let name = format!("{}-{}.tar.zst", plugin.id(), plugin.version());
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from(name));
        fs::write(&output, &package)
            .map_err(|error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", output.display())))?;
        println!("{}: {} {}, {} bytes", output.display(), plugin.id(), plugin.version(), package.len());
        Ok(Exit::Done)
    }
}

impl Add {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let to = directory(self.to.as_deref())?;
        let unreadable = |error| failed(format!("cannot read {}: {error}", self.from.display()), "name a package");
        let added = match self.from.is_dir() {
            true => {
                let folder = built(&self.from)?;
                let package = plugin::pack(&folder).map_err(|error| not_packed(&folder, error))?;
                plugin::add(package.as_slice(), &to)
            }
            false => plugin::add(BufReader::new(fs::File::open(&self.from).map_err(unreadable)?), &to),
        };
        let Added { plugin, folder, was_there } = added?;
        let (id, version) = (plugin.id(), plugin.version());
        println!("{id} {version} {} in {}", if was_there { "was already" } else { "is" }, folder.display());
        if plugin.runtime() == Runtime::Native {
            let dir = self.to.as_ref().map_or_else(String::new, |to| format!(" --plugin-dir {}", to.display()));
            println!("it is native code, which runs once you trust it: `anneal plugin trust {id}@{version}{dir}`");
        }
        Ok(Exit::Done)
    }
}

impl Remove {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let from = directory(self.from.as_deref())?;
        let folder = plugin::remove(&from, &self.which.id, self.which.version.as_ref())?;
        println!("removed {}", folder.display());
        Ok(Exit::Done)
    }
}

/// The folder of a built plugin: `dir` itself, or what building the crate in it has left in its `dist`.
fn built(dir: &Path) -> Result<PathBuf, Failure> {
    if !dir.join("Cargo.toml").is_file() {
        return Ok(dir.to_owned());
    }
    let registry = Registry::discover(&SearchPath::only(&dir.join("dist")), &Default::default())?;
    let mut plugins = registry.plugins().map(|plugin| plugin.path().to_owned());
    match (plugins.next(), plugins.next()) {
        (Some(folder), None) => Ok(folder),
        (None, _) => Err(failed(format!("{} is not built", dir.display()), "run `anneal plugin build` in it")),
        (Some(_), Some(_)) => {
            let what = format!("{} holds several plugins", dir.join("dist").display());
            Err(failed(what, "name the folder of one of them"))
        }
    }
}

fn not_packed(folder: &Path, error: plugin::ArchiveError) -> Failure {
    Failure::new(Exit::Plugin, format!("cannot pack {}: {error}", folder.display()))
}

/// The plugin directory that is meant.
fn directory(given: Option<&Path>) -> Result<PathBuf, Failure> {
    given.map(Path::to_owned).or_else(|| Environment::read().user_plugins()).ok_or_else(|| {
        failed("you have no data folder: neither XDG_DATA_HOME nor HOME is set", "name a plugin directory")
    })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let help = match &error {
            StoreError::Io { .. } => return Failure::new(Exit::Disk, error.to_string()),
            StoreError::Archive(_) | StoreError::Refused(_) => "get the package again, or have its author mend it",
            StoreError::Differs { .. } => {
                "remove it first with `anneal plugin remove`, or give this one another version"
            }
            StoreError::Absent { .. } => "`anneal plugin list --explain` says where plugins are",
            StoreError::Several { .. } => "name the version, `ID@VERSION`",
        };
        failed(error, help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_follow_an_id() {
        let which = |text: &str| Which::from_str(text);
        assert_eq!(which("acme.a"), Ok(Which { id: "acme.a".to_owned(), version: None }));
        assert_eq!(which("acme.a@1.2.3").unwrap().version, Some(Version::new(1, 2, 3)));
        assert!(which("acme").unwrap_err().contains("vendor.name") && which("acme.a@1").is_err());
    }
}
