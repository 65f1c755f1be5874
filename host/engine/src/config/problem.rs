//! What is wrong with a config, where, and how to mend it.

use std::fmt;
use std::path::PathBuf;

/// One fault of a config.
///
/// Printed as `file:line:col: key.path: what is wrong`, then `help:` with the remedy on a line of its own. Faults of
/// a `--set` have no file and print `--set: key.path: ..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file at fault; none for a `--set`.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1; 0 where the fault is the file itself (it cannot be read).
    pub line: usize,
    /// Column in characters, from 1; 0 where the fault is the file itself.
    pub column: usize,
    /// Dotted path of the key, as `--set` takes it; empty where no key is at fault.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) if self.line > 0 => write!(f, "{}:{}:{}: ", file.display(), self.line, self.column)?,
            Some(file) => write!(f, "{}: ", file.display())?,
            None => write!(f, "--set: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// Faults of a file that are told: what has more is no config, and finding the place of each takes time.
pub(super) const TOLD_MAX: usize = 200;

/// All faults of a config, in the order of the files and of the lines in them. Never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, problem) in self.0.iter().enumerate() {
            if idx > 0 {
                write!(f, "\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Problems {
    /// The faults in the order of the text, each once; those of one place stay in the order in which they were found.
    pub(crate) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        // A file that is extended on two ways is read twice.
        problems.dedup();
        Self(problems)
    }
}
