//! Steps that go wrong: the run stops, leaves them out, or goes back, and what happened can be looked at.

use std::path::{Path, PathBuf};

use super::native_weighting::weightings_in_c;
use super::run::{Ran, anneal, checkpoint_file, metrics, train};

const FILES: [&str; 3] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"];

/// Trains with a weighting that goes wrong where sigma is large: for some of the steps, the same in every run.
struct Runs(tempfile::TempDir);

impl Runs {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        weightings_in_c(dir.path());
        Self(dir)
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn train(&self, name: &str, weighting: &str, sets: &[&str], flags: &[&str]) -> Ran {
        let weighting = format!("loss.weighting={{plugin=\"test.weightings/{weighting}\"}}");
        let plugins = self.0.path().display().to_string();
        let usual = ["run.seed=3", "data.batch_size=1", "data.workers=0", &weighting];
        train(&self.dir(name), &[&usual[..], sets].concat(), &[&["--plugin-dir", &plugins], flags].concat())
    }

    /// The only replay of a run.
    fn replay_of(&self, name: &str) -> PathBuf {
        let mut replays = std::fs::read_dir(self.dir(name).join("replays")).unwrap();
        let replay = replays.next().unwrap().unwrap().path();
        assert!(replays.next().is_none());
        replay
    }

    fn replay(&self, name: &str) -> Ran {
        let dir = self.replay_of(name);
        anneal(&["replay", &dir.display().to_string(), "--plugin-dir", &self.0.path().display().to_string()])
    }
}

/// The step that a run ended at.
fn ended_at(ran: &Ran) -> u64 {
    let step = ran.err.split("step ").nth(1).and_then(|rest| rest.split(':').next());
    step.and_then(|step| step.parse().ok()).unwrap_or_else(|| panic!("{ran:#?}"))
}

/// How many steps were left out.
fn left_out(ran: &Ran) -> usize {
    ran.err.matches("its batches are left out").count()
}

const NO_NUMBER: &str = "no-number-at-large-sigmas";
const SKIP: &str = "train.guards.non_finite=\"skip\"";

#[test]
fn a_step_that_is_not_finite_stops_the_run_and_can_be_made_again() {
    let runs = Runs::new();
    let ran = runs.train("stops", NO_NUMBER, &["train.steps=60", "train.checkpoint_every_steps=1"], &[]);
    ran.fails(7, &["the loss is NaN", "not finite; the weights are those of the step before", "anneal replay"]);
    let step = ended_at(&ran);
    assert!(step > 1, "the first step is to be a good one: {ran:#?}");
    let saved = runs.dir("stops").join(format!("checkpoints/step-{:08}/model.safetensors", step - 1));
    let replay = runs.replay_of("stops");
    assert!(replay.to_string_lossy().ends_with(&format!("step-{step:08}-batch-{:08}", step - 1)), "{replay:?}");
    let replayed = replay.join(format!("step-{:08}/model.safetensors", step - 1));
    assert!(std::fs::read(saved).unwrap() == std::fs::read(replayed).unwrap());
    let again = runs.replay("stops").succeeds();
    for text in [
        "now:  loss NaN, gradient's norm NaN",
        "gradient of model.diffusion_model.",
        "are not finite",
        "parameters more",
    ] {
        assert!(again.out.contains(text), "{text}: {again:#?}");
    }
    // Nothing of the run is changed by looking.
    assert_eq!(metrics(&runs.dir("stops")).len() as u64, step - 1);
}

#[test]
fn steps_are_left_out_and_the_run_goes_on_bit_for_bit() {
    let runs = Runs::new();
    let ran = runs.train("straight", NO_NUMBER, &["train.steps=12", SKIP], &[]).succeeds();
    assert!(left_out(&ran) > 0, "{ran:#?}");
    let steps: Vec<u64> = metrics(&runs.dir("straight")).iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let samples = metrics(&runs.dir("straight")).last().unwrap()["samples_seen"].as_u64().unwrap();
    assert_eq!(samples, 12 + left_out(&ran) as u64);
    let skipped = |name: &str| -> Vec<u64> {
        metrics(&runs.dir(name)).iter().map(|line| line["skipped"].as_u64().unwrap_or(0)).collect()
    };
    let straight = skipped("straight");
    assert_eq!((straight[0], *straight.last().unwrap()), (0, left_out(&ran) as u64), "{straight:?}");
    assert!(straight.is_sorted(), "{straight:?}");
    // The count says at which step each was left out.
    let told = |step: usize| ran.err.matches(&format!("step {step}: the loss is")).count() as u64;
    let by_steps: Vec<u64> = (1..=12).map(|step| (1..=step).map(told).sum()).collect();
    assert_eq!(straight, by_steps);
    let replays = std::fs::read_dir(runs.dir("straight").join("replays")).unwrap().count();
    assert_eq!(replays, left_out(&ran).min(2));
    for at in [1, 5, 8] {
        let name = format!("broken-{at}");
        runs.train(&name, NO_NUMBER, &[&format!("train.steps={at}"), SKIP], &[]).succeeds();
        runs.train(&name, NO_NUMBER, &["train.steps=12", SKIP], &["--resume"]).succeeds();
        for file in FILES {
            let [whole, resumed] = [&runs.dir("straight"), &runs.dir(&name)].map(|dir| checkpoint_file(dir, 12, file));
            assert!(whole == resumed, "{file} differs after {at} steps");
        }
        assert_eq!(skipped(&name), straight, "after {at} steps");
    }
    let limited = ["train.steps=60", SKIP, "train.guards.skips_max=0", "train.guards.replays_max=0"];
    let ran = runs.train("limited", NO_NUMBER, &limited, &[]);
    ran.fails(7, &["after 0 that were left out"]);
    assert!(!runs.dir("limited").join("replays").exists());
}

#[test]
fn a_run_goes_back_to_its_newest_checkpoint_with_other_batches() {
    let runs = Runs::new();
    let back = "train.guards.non_finite=\"roll-back\"";
    let often = ["train.steps=12", "train.checkpoint_every_steps=2", back, "train.guards.roll_backs_max=50"];
    let ran = runs.train("back", NO_NUMBER, &often, &[]).succeeds();
    let count = ran.err.matches("the run goes on from").count();
    assert!(count > 0, "{ran:#?}");
    let lines = metrics(&runs.dir("back"));
    let steps: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    assert!(lines.last().unwrap()["samples_seen"].as_u64().unwrap() > 12);
    let events = super::tensorboard::events(&runs.dir("back"));
    let losses = events.keys().filter(|(_, name)| name == "train/loss").map(|(step, _)| *step);
    assert_eq!(losses.collect::<Vec<_>>(), steps);
    // Without a checkpoint there is nowhere to go.
    let none = ["train.steps=60", "train.checkpoint_every_steps=1000", back];
    runs.train("nowhere", NO_NUMBER, &none, &[]).fails(7, &["the loss is NaN", "no checkpoint yet to go back to"]);
    let limited = ["train.steps=60", "train.checkpoint_every_steps=1", back, "train.guards.roll_backs_max=0"];
    runs.train("limited", NO_NUMBER, &limited, &[]).fails(7, &["after going back 0 times"]);
}

#[test]
fn spikes_are_left_out_and_a_replay_gives_the_same_numbers() {
    let runs = Runs::new();
    let spike = |policy: &str| format!("train.guards.spike={{threshold=50.0,window=16,policy=\"{policy}\"}}");
    let (hill, skip) = ("a-hill-at-large-sigmas", spike("skip"));
    let ran = runs.train("straight", hill, &["train.steps=48", &skip], &[]).succeeds();
    assert!(left_out(&ran) > 0 && ran.err.contains("a spike above losses of"), "{ran:#?}");
    // The losses that spikes are told by are part of the state.
    runs.train("broken", hill, &["train.steps=30", &skip], &[]).succeeds();
    runs.train("broken", hill, &["train.steps=48", &skip], &["--resume"]).succeeds();
    for file in FILES {
        let [whole, resumed] = [runs.dir("straight"), runs.dir("broken")].map(|dir| checkpoint_file(&dir, 48, file));
        assert!(whole == resumed, "{file} differs");
    }
    let stopped = runs.train("stops", hill, &["train.steps=400", &spike("stop")], &[]);
    stopped.fails(7, &["a spike above losses of"]);
    let again = runs.replay("stops").succeeds();
    let numbers = |start: &str| again.out.lines().find_map(|line| line.strip_prefix(start)).unwrap().trim().to_owned();
    assert_eq!(numbers("then:"), numbers("now:"), "{again:#?}");
    assert!(!again.out.contains("not finite"), "{again:#?}");
}

#[test]
fn what_is_no_replay_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &Path| anneal(&["replay", &path.display().to_string()]);
    at(dir.path()).fails(8, &["replay.json"]);
    std::fs::write(dir.path().join("replay.json"), "{}").unwrap();
    at(dir.path()).fails(6, &["replay.json: damaged"]);
}
