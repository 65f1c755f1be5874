//! Runs under fire: killed at any moment, on disks that fill up, fail, or lie, with checkpoints that are damaged. Every
//! restart goes on from a whole checkpoint, no more than one interval of work is lost, and the end is that of a run that
//! nothing happened to, bit for bit.
//!
//! `cargo xtask torture` is the long version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anneal::trainer::checkpoint::{self, CheckpointDir};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::run::{Ran, checkpoint_file, command, metrics, path, train, train_args};

/// Steps between checkpoints: the work that may be lost.
const INTERVAL: u64 = 2;
/// Faults in an ordinary run of the tests.
const FEW: u64 = 36;

const FILES: [&str; 3] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"];
const EVERY: [&str; 3] = ["train.checkpoint_every_steps=2", "train.keep_last=3", "logging.preview_every_steps=1000000"];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    KilledAnywhere,
    KilledInSave,
    DiskFull,
    ReadWriteError,
    ShortWrite,
    LyingDisk,
    FlippedBit,
    CutOff,
    Removed,
}

use Kind::{
    CutOff, DiskFull, FlippedBit, KilledAnywhere, KilledInSave, LyingDisk, ReadWriteError, Removed, ShortWrite,
};

const KINDS: [Kind; 9] =
    [KilledAnywhere, KilledInSave, DiskFull, ReadWriteError, ShortWrite, LyingDisk, FlippedBit, CutOff, Removed];

impl Kind {
    /// Its name in the library that makes it.
    fn of_io(self) -> Option<&'static str> {
        Some(match self {
            KilledInSave => "kill",
            DiskFull => "enospc",
            ReadWriteError => "eio",
            ShortWrite => "short",
            LyingDisk => "lies",
            _ => return None,
        })
    }

    /// How a run may end that it happens to: 0 if it happens after the last save, or does not matter.
    fn codes(self) -> &'static [Option<i32>] {
        match self {
            KilledAnywhere | KilledInSave => &[None, Some(0)],
            DiskFull | ReadWriteError => &[Some(8), Some(0)],
            LyingDisk => &[Some(6), Some(8), Some(0)],
            _ => &[Some(0)],
        }
    }
}

/// The library that makes disks fail, compiled.
pub fn faulty_io(dir: &Path) -> PathBuf {
    let library = dir.join("faulty_io.so");
    let status = Command::new("cc")
        .args([
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-O1",
            "-shared",
            "-fPIC",
            &path("tests/cli/torture/faulty_io.c"),
            "-o",
        ])
        .arg(&library)
        .arg("-ldl")
        .status();
    assert!(status.expect("a C compiler is needed to build anneal").success());
    library
}

/// A run and what has happened to it.
struct Victim {
    dir: PathBuf,
    library: PathBuf,
    random: ChaCha8Rng,
    /// Whether its last run saved beside training.
    is_beside: bool,
    /// Checkpoints that were damaged, and not replaced yet.
    damaged: BTreeSet<String>,
    /// How runs ended, by what happened to them.
    ends: BTreeMap<(Kind, &'static str), u64>,
}

impl Victim {
    fn checkpoints(&self) -> CheckpointDir {
        CheckpointDir::of_run(&self.dir)
    }

    /// The newest checkpoint that is whole, looked at file by file.
    fn newest_whole(&self) -> Option<(u64, PathBuf)> {
        self.checkpoints().list().unwrap().into_iter().rev().find(|(_, path)| checkpoint::verify(path).is_ok())
    }

    /// Trains on for some steps, while something goes wrong; saves beside training in every other run or so.
    fn run(&mut self, kind: Option<Kind>) -> Ran {
        self.is_beside = self.random.random_bool(0.5);
        let beside = format!("train.background_saves={}", self.is_beside);
        let from = self.newest_whole();
        let steps = format!("train.steps={}", from.as_ref().map_or(0, |(step, _)| *step) + 5);
        let is_new = self.checkpoints().list().unwrap().is_empty();
        let sets: Vec<&str> = EVERY.iter().copied().chain([steps.as_str(), beside.as_str()]).collect();
        let args = train_args(&self.dir, &sets, if is_new { &[] } else { &["--resume"] });
        let mut run = command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        if let Some(name) = kind.and_then(Kind::of_io) {
            let at = self.random.random_range(1..=90).to_string();
            run.env("LD_PRELOAD", &self.library).env("FAULT_WHERE", "/checkpoints").env("FAULT_KIND", name);
            run.env("FAULT_AT", at);
        }
        if kind == Some(KilledAnywhere) {
            let mut child = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(self.random.random_range(100..1600)));
            // It may have ended by itself.
            let _ = child.kill();
            return child.wait_with_output().unwrap().into();
        }
        let output = run.output().unwrap();
        let killed = output.status.signal().is_some();
        assert!(!killed || kind == Some(KilledInSave), "{:#?}", Ran::from(output));
        output.into()
    }

    /// Damages a file of the newest checkpoint; whether it is damage, and not a space in the place of another.
    fn damage(&mut self, kind: Kind) -> bool {
        let Some((_, newest)) = self.newest_whole() else { return false };
        let files: Vec<PathBuf> = fs::read_dir(&newest).unwrap().map(|entry| entry.unwrap().path()).collect();
        let file = &files[self.random.random_range(0..files.len())];
        let mut bytes = fs::read(file).unwrap();
        match kind {
            FlippedBit => {
                let at = self.random.random_range(0..bytes.len());
                bytes[at] ^= 1 << self.random.random_range(0..8);
                fs::write(file, bytes).unwrap();
            }
            CutOff => {
                bytes.truncate(self.random.random_range(0..bytes.len()));
                fs::write(file, bytes).unwrap();
            }
            _ => fs::remove_file(file).unwrap(),
        }
        let is_damage = checkpoint::verify(&newest).is_err();
        if is_damage {
            self.damaged.insert(newest.file_name().unwrap().to_string_lossy().into_owned());
        }
        is_damage
    }

    /// Lets something happen, and holds the run to what it promises.
    fn suffer(&mut self, kind: Kind) {
        let before = self.newest_whole().map_or(0, |(step, _)| step);
        if matches!(kind, FlippedBit | CutOff | Removed) {
            let is_damage = self.damage(kind);
            let from = self.newest_whole().map_or(0, |(step, _)| step);
            assert!(before <= from + INTERVAL || !is_damage, "{before} {from}");
            let ran = self.run(None).succeeds();
            // What is damaged is told, and is not what the run goes on from.
            assert!(!is_damage || ran.err.contains("damaged"), "{kind:?}: {ran:#?}");
            assert!(ran.out.contains(&format!("at step {from}\n")), "{kind:?}: {ran:#?}");
            self.count(kind, if is_damage { "told, an older one was used" } else { "harmless" });
        } else {
            let ran = self.run(Some(kind));
            assert!(kind.codes().contains(&ran.code), "{kind:?}: {ran:#?}");
            assert!(!ran.err.contains("panicked"), "{kind:?}: {ran:#?}");
            let after = self.newest_whole().map_or(0, |(step, _)| step);
            let done = if self.dir.join("metrics.jsonl").exists() { self.last_step() } else { 0 };
            assert!(after >= before, "{kind:?}: from step {before} to {after}: {ran:#?}");
            // Beside a save the steps up to the next one are made.
            let lost_most = if self.is_beside { 2 * INTERVAL } else { INTERVAL };
            assert!(done <= after + lost_most, "{kind:?}: step {done} was made, {after} is saved: {ran:#?}");
            self.count(
                kind,
                match ran.code {
                    None => "killed, went on",
                    Some(0) => "the run did not notice",
                    Some(_) => "the run said so, went on",
                },
            );
        }
        // Whatever has the name of a checkpoint is whole, but for what was damaged here.
        for (_, path) in self.checkpoints().list().unwrap() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match checkpoint::verify(&path) {
                Ok(()) => drop(self.damaged.remove(&name)),
                Err(error) => assert!(self.damaged.contains(&name), "after {kind:?}: {error}"),
            }
        }
    }

    /// The last step in the metrics, of which the last line may be torn.
    fn last_step(&self) -> u64 {
        let text = fs::read_to_string(self.dir.join("metrics.jsonl")).unwrap();
        let steps =
            text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64());
        steps.max().unwrap_or(0)
    }

    #[allow(clippy::print_stdout, reason = "the table is the test's result")]
    fn report(&self, faults: u64, steps: u64) {
        println!("| Fault | Outcome | Times |\n| --- | --- | ---: |");
        for ((kind, end), count) in &self.ends {
            println!("| {kind:?} | {end} | {count} |");
        }
        println!("{faults} faults, {steps} steps, the same bits as without them");
    }

    fn count(&mut self, kind: Kind, end: &'static str) {
        *self.ends.entry((kind, end)).or_default() += 1;
    }
}

#[test]
fn no_fault_costs_more_than_one_interval_or_changes_a_run() {
    let faults = std::env::var("ANNEAL_TORTURE").ok().and_then(|count| count.parse().ok()).unwrap_or(FEW);
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Victim {
        dir: folder.path().join("run"),
        library: faulty_io(folder.path()),
        random: ChaCha8Rng::seed_from_u64(6),
        is_beside: true,
        damaged: BTreeSet::new(),
        ends: BTreeMap::new(),
    };
    for number in 0..faults {
        victim.suffer(KINDS[number as usize % KINDS.len()]);
    }
    victim.run(None).succeeds();

    // The run that nothing happened to.
    let steps = victim.newest_whole().unwrap().0;
    let straight = folder.path().join("straight");
    train(&straight, &["train.checkpoint_every_steps=1000000", &format!("train.steps={steps}")], &[]).succeeds();
    for file in FILES {
        assert!(checkpoint_file(&straight, steps, file) == checkpoint_file(&victim.dir, steps, file), "{file} differs");
    }
    let curve = |dir: &Path| -> Vec<(u64, String)> {
        metrics(dir).iter().map(|line| (line["step"].as_u64().unwrap(), line["loss"].to_string())).collect()
    };
    assert_eq!(curve(&straight), curve(&victim.dir));
    // A disk that lies may lose events; none stands there twice.
    let last = super::tensorboard::events(&victim.dir).into_keys().map(|(step, _)| step).max();
    assert_eq!(last, Some(steps));

    victim.report(faults, steps);
}
