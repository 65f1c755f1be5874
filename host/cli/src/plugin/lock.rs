//! `anneal plugin lock`, and holding a run to what was locked.

use std::path::Path;

use anneal::assemble::AnyProject;
use anneal::config::Files;
use anneal::plugin::{Lock, LockError};
use clap::Args;

use super::failed;
use crate::ConfigArgs;
use crate::exit::{Exit, Failure};

/// Arguments of `plugin lock`.
#[derive(Debug, Args)]
pub struct LockVerb {
    #[command(flatten)]
    config: ConfigArgs,
}

impl LockVerb {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let newer = self.config.open_with(&[], Files::MayLack)?.lock()?;
        let path = Lock::path(&self.config.config);
        let mut lock = Lock::read(&path)?.unwrap_or_default();
        for line in lock.differences(&newer) {
            println!("{line}");
        }
        let count = newer.plugins().count();
        lock.update(newer);
        lock.write(&path)?;
        println!("{}: the {count} plugins of {} are locked", path.display(), self.config.config.display());
        Ok(Exit::Done)
    }
}

/// Stops a run whose plugins are not those of the lock beside its config.
///
/// # Errors
/// When there is no lock, or `anneal plugin lock` would change it.
pub fn hold(project: &AnyProject, config: &Path) -> Result<(), Failure> {
    let path = Lock::path(config);
    let help = format!("`anneal plugin lock {}` locks what is found", config.display());
    let Some(lock) = Lock::read(&path)? else {
        return Err(failed(format!("--locked, but there is no {}", path.display()), help));
    };
    let differences = lock.differences(&project.lock()?);
    match differences.is_empty() {
        true => Ok(()),
        false => Err(failed(format!("--locked, but {} differs:\n{}", path.display(), differences.join("\n")), help)),
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        failed(error, "mend the file, or write it again with `anneal plugin lock`")
    }
}
