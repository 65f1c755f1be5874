//! Configs to models that train, save, go on and sample, through the bundled plugins.

mod recipes;
mod shared_weights;
mod views_over_time;

use std::path::{Path, PathBuf};

use anneal::assemble::{Project, Start};
use anneal::config::{Environment, Files, RunConfig};
use anneal::trainer::{Outcome, Trainer, Watcher};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The config at `path` with `sets` on top, its run in `dir`.
fn open(path: &Path, dir: &Path, sets: &[String]) -> Project {
    let plugins = repository("target/plugins");
    assert!(plugins.is_dir(), "{} is missing: run `cargo xtask plugins`", plugins.display());
    let run = [format!("run.dir={}", dir.display()), "run.device=cpu".to_owned()];
    let sets: Vec<String> = run.into_iter().chain(sets.iter().cloned()).collect();
    Project::<RunConfig>::open(path, &sets, Files::Needed, &[plugins], &Environment::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

struct Silent;

impl Watcher for Silent {}

/// Trains to the config's last step; with `resume` from the newest checkpoint on.
fn train(project: &mut Project, resume: bool) -> Trainer {
    let (mut trainer, mut loader) =
        project.trainer(if resume { Start::Resume(&[]) } else { Start::New }).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(trainer.run(&mut loader, &mut Silent).unwrap(), Outcome::Finished);
    trainer
}
