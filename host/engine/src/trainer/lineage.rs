//! Where the checkpoints of a run come from, and what has changed when it goes on.

use std::io;
use std::sync::OnceLock;
use std::thread::JoinHandle;

use anneal_torch::tensor::torch_version;

use super::checkpoint::{CheckpointError, Lineage, Snapshot, sha256_of};
use crate::config::{Drift, Effect, drifts};

/// The lineage of a run's next checkpoint.
#[derive(Debug)]
pub struct Origins {
    lineage: Lineage,
    /// The program is large, so its sum is made beside the first steps.
    program: OnceLock<String>,
    summing: std::sync::Mutex<Option<JoinHandle<io::Result<String>>>>,
}

impl Origins {
    /// Those of a run that starts with a data source of this fingerprint.
    pub fn new(data: String) -> Self {
        let lineage = Lineage {
            parent: None,
            anneal: env!("CARGO_PKG_VERSION").to_owned(),
            program: String::new(),
            libtorch: torch_version().to_owned(),
            data,
        };
        let summing = std::thread::Builder::new().name("program-sum".to_owned()).spawn(sum_of_program).ok();
        Self { lineage, program: OnceLock::new(), summing: std::sync::Mutex::new(summing) }
    }

    /// Names the checkpoint that the run went on from.
    pub(super) fn go_on_from(&mut self, parent: super::checkpoint::Parent) {
        self.lineage.parent = Some(parent);
    }

    /// For the next checkpoint.
    pub fn lineage(&self) -> Lineage {
        let program = self.program.get_or_init(|| {
            let thread = self.summing.lock().ok().and_then(|mut summing| summing.take());
            // A program that was replaced or removed since it started has no sum.
            thread.and_then(|thread| thread.join().ok()?.ok()).unwrap_or_default()
        });
        Lineage { program: program.clone(), ..self.lineage.clone() }
    }

    /// What has changed since a checkpoint, beside the config.
    fn drifts(&self, plugins: &[String], snapshot: &Snapshot) -> Vec<Drift> {
        let (before, now) = (&snapshot.lineage, self.lineage());
        let mut found = Vec::new();
        let mut compare = |key: &str, before: &str, now: &str, effect: Effect| {
            if before != now && !before.is_empty() {
                let (before, now) = (Some(before.to_owned()), Some(now.to_owned()));
                found.push(Drift { key: key.to_owned(), before, now, effect });
            }
        };
        compare("anneal", &before.anneal, &now.anneal, Effect::Free);
        compare("program", short(&before.program), short(&now.program), Effect::Free);
        compare("libtorch", &before.libtorch, &now.libtorch, Effect::Free);
        compare("data", short(&before.data), short(&now.data), Effect::Course);
        for (id, before) in by_id(&snapshot.plugins) {
            // Which plugins take part is said by the config.
            if let Some((_, now)) = by_id(plugins).find(|(other, _)| *other == id) {
                compare(&format!("plugins.{id}"), &shown(before), &shown(now), Effect::Course);
            }
        }
        found
    }
}

/// Enough of a sum to tell it from others.
fn short(sum: &str) -> &str {
    sum.get(..12).unwrap_or(sum)
}

/// Plugins written as `id version sha256`: the id, and the rest.
fn by_id(plugins: &[String]) -> impl Iterator<Item = (&str, &str)> {
    plugins.iter().filter_map(|plugin| plugin.split_once(' '))
}

/// A version, with enough of the sum behind it.
fn shown(version: &str) -> String {
    version.split_once(' ').map_or(version.to_owned(), |(version, sum)| format!("{version} {}", short(sum)))
}

fn sum_of_program() -> io::Result<String> {
    sha256_of(&std::env::current_exe()?)
}

/// What has changed since a checkpoint, where the run may go on: free changes, and those that are allowed.
///
/// # Errors
/// When keys have changed that would give the run another course and are not among `allowed`, or that do not fit what is
/// saved: all of them, with both values.
pub(super) fn check_drift(
    origins: &Origins,
    (config, plugins): (&str, &[String]),
    snapshot: &Snapshot,
    path: &std::path::Path,
    allowed: &[String],
) -> Result<Vec<Drift>, CheckpointError> {
    let parse = |text: &str| text.parse::<toml::Table>();
    let misfit = |reason: String| CheckpointError::Misfit { path: path.to_owned(), reason };
    let before = parse(&snapshot.config).map_err(|error| misfit(format!("its config: {error}")))?;
    let now = parse(config).map_err(|error| misfit(format!("the config: {error}")))?;
    let mut all = drifts(&before, &now);
    all.extend(origins.drifts(plugins, snapshot));
    let lines = |drifts: &[&Drift]| drifts.iter().map(|drift| format!("\n  {drift}")).collect::<String>();
    let of = |effect: Effect| all.iter().filter(move |drift| drift.effect == effect);
    let broken: Vec<&Drift> = of(Effect::Incompatible).collect();
    let course: Vec<&Drift> = of(Effect::Course).filter(|drift| !drift.is_among(allowed)).collect();
    let mut reason = String::new();
    if !broken.is_empty() {
        reason += &format!("the run cannot go on with what is saved, which is of other settings:{}", lines(&broken));
        reason += "\nhelp: set them back, or start a run of its own from these weights with train.init_from";
    }
    if !course.is_empty() {
        let allow: Vec<String> = course.iter().map(|drift| format!("--allow {}", drift.key)).collect();
        let before = if reason.is_empty() { "" } else { "\n" };
        reason += &format!("{before}the run would take another course than it has so far:{}", lines(&course));
        reason += &format!("\nhelp: set them back, or add {}", allow.join(" "));
    }
    if reason.is_empty() { Ok(all) } else { Err(misfit(reason)) }
}
