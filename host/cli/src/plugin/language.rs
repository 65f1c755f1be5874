//! What plugins are written in, and how a folder shows it.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust: every kind.
    Rust,
    /// C: every kind but samplers.
    C,
    /// JavaScript: every kind but embedders and samplers.
    Js,
    /// Python: every kind but embedders.
    Python,
}

impl Language {
    /// The file that a plugin's folder is known by, below it.
    pub fn source(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::C => "src/plugin.c",
            Self::Js => "src/plugin.js",
            Self::Python => "src/plugin.py",
        }
    }

    /// As `--lang` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Js => "js",
            Self::Python => "python",
        }
    }

    /// What is run once in a new plugin's folder, so that the tools of the language are there.
    pub fn prepare(self) -> Option<&'static str> {
        match self {
            Self::Rust | Self::C => None,
            Self::Js => Some("npm install"),
            Self::Python => Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
        }
    }

    /// The language of a plugin's folder.
    pub fn of(folder: &Path) -> Option<Self> {
        Self::value_variants().iter().copied().find(|language| folder.join(language.source()).is_file())
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Js => "JavaScript",
            Self::Python => "Python",
        })
    }
}
