//! What can go wrong between a name in a config and a loaded plugin.

use std::path::PathBuf;

use semver::Version;
use thiserror::Error;

use super::native::NativeError;
use crate::config::PluginKind;
use crate::error::{ComponentError, ErrorCode};

/// The list of trusted plugins cannot be read or written.
#[derive(Debug, Error)]
#[error("{path}: {reason}")]
pub struct TrustError {
    /// The list's file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Why a plugin cannot be had. [`PluginError::help`] says what to do.
#[derive(Debug, Error)]
pub enum PluginError {
    /// No plugin offers an entry of this name.
    #[error("no {kind} is named `{name}`; {}", searched(.dirs, *.refused))]
    NotFound {
        /// What was looked for.
        kind: PluginKind,
        /// Its name.
        name: String,
        /// A name that is written nearly the same.
        near: Option<String>,
        /// The names of that kind.
        known: Vec<String>,
        /// The directories that were searched.
        dirs: Vec<PathBuf>,
        /// Plugins that were found and refused.
        refused: usize,
    },
    /// The name is that of something else.
    #[error("`{name}` is a {}, where a {kind} is wanted", join(.is))]
    WrongKind {
        /// What was looked for.
        kind: PluginKind,
        /// Its name.
        name: String,
        /// What the name stands for.
        is: Vec<PluginKind>,
        /// The names of the wanted kind.
        known: Vec<String>,
    },
    /// A short name that several plugins have.
    #[error("the {kind} `{name}` is offered by several plugins: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        kind: PluginKind,
        /// Its name.
        name: String,
        /// The full names.
        candidates: Vec<String>,
    },
    /// Two different plugins of the same id and version.
    #[error("{id} {version} is in {first} and, with other contents, in {second}")]
    Clash {
        /// Their id.
        id: String,
        /// Their version.
        version: Version,
        /// The folder of the one that was found first.
        first: PathBuf,
        /// The folder of the other.
        second: PathBuf,
    },
    /// `plugins.require` wants a version that is not there.
    #[error("plugins.require wants {id} {requirement}; {}", there_is(.found))]
    Required {
        /// The plugin.
        id: String,
        /// The requirement.
        requirement: String,
        /// The versions that were found.
        found: Vec<Version>,
    },
    /// `plugins.require` holds no requirement.
    #[error("plugins.require: `{requirement}` of {id} is no version requirement: {reason}")]
    BadRequirement {
        /// The plugin.
        id: String,
        /// What stands there.
        requirement: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A library that is no plugin for this host.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// Native code that the user has not let run.
    #[error("{id} {version} in {folder} is native code, and you have not said that you trust it")]
    Untrusted {
        /// The plugin.
        id: String,
        /// Its version.
        version: Version,
        /// Its folder.
        folder: PathBuf,
    },
    /// The list of trusted plugins cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A plugin whose code and manifest disagree.
    #[error("{path}: {reason}")]
    Mismatch {
        /// The manifest.
        path: PathBuf,
        /// Where they differ.
        reason: String,
    },
}

impl PluginError {
    /// What helps.
    pub fn help(&self) -> String {
        match self {
            Self::NotFound { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::NotFound { known, .. } if known.is_empty() => {
                "`cargo xtask plugins` builds the bundled plugins; name other directories in plugins.dirs or with --plugin-dir".to_owned()
            }
            Self::NotFound { kind, known, .. } => format!("the {kind} plugins are {}", known.join(", ")),
            Self::WrongKind { kind, known, .. } => format!("the {kind} plugins are {}", known.join(", ")),
            Self::Ambiguous { .. } => "write the full name".to_owned(),
            Self::Clash { .. } => "remove one of them, or give it another version".to_owned(),
            Self::Required { .. } => "install that version, or change the requirement".to_owned(),
            Self::BadRequirement { .. } => "write `^1.2`, `=0.3.1` or `>=1, <3`".to_owned(),
            Self::Native(NativeError::Open { .. }) => "rebuild the plugin for this machine and this anneal".to_owned(),
            Self::Native(_) => "use a version of the plugin that was built for this anneal".to_owned(),
            Self::Untrusted { id, version, folder } => format!(
                "native code can do all that you can; if you trust who made it, run `anneal plugin trust {id}@{version} \
                 --plugin-dir {}`",
                folder.parent().unwrap_or(folder).display()
            ),
            Self::Trust(_) => "mend or remove the file; `anneal plugin trust` writes it".to_owned(),
            Self::Mismatch { .. } => "rebuild the plugin, so that plugin.toml and its schemas describe its code".to_owned(),
        }
    }

    /// The error as that of the component `name`.
    pub(super) fn of_component(&self, name: &str) -> ComponentError {
        let code = match self {
            Self::NotFound { .. } | Self::WrongKind { .. } | Self::Ambiguous { .. } => ErrorCode::InvalidConfig,
            _ => ErrorCode::Unsupported,
        };
        ComponentError::new(name, code, format!("{self}\nhelp: {}", self.help()))
    }
}

fn searched(dirs: &[PathBuf], refused: usize) -> String {
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let searched = match dirs.is_empty() {
        true => "no plugin directory was named".to_owned(),
        false => format!("searched {}", dirs.join(", ")),
    };
    match refused {
        0 => searched,
        n => format!("{searched}, where {n} plugins were refused (`anneal plugin list --explain` says why)"),
    }
}

fn join(kinds: &[PluginKind]) -> String {
    kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and a ")
}

fn there_is(found: &[Version]) -> String {
    match found {
        [] => "no plugin directory holds it".to_owned(),
        versions => format!("there is {}", versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
