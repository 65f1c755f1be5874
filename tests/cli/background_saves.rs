//! Training goes on while a checkpoint is written, and never more than one is.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::run::{checkpoint_file, command, metrics, train, train_args};
use crate::signals::{signal, until};
use crate::torture::faulty_io;

/// A run whose first write to a checkpoint waits until there is a file `go`.
struct Held {
    folder: tempfile::TempDir,
    child: Child,
}

impl Held {
    /// Eight steps, with a checkpoint every three.
    fn start(beside: bool, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let beside = format!("train.background_saves={beside}");
        let sets = ["train.steps=8", "train.checkpoint_every_steps=3", &beside];
        let args = train_args(&folder.path().join("run"), &sets, flags);
        let mut run = command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        run.env("LD_PRELOAD", faulty_io(folder.path())).env("FAULT_WHERE", "/checkpoints").env("FAULT_AT", "3");
        run.env("FAULT_KIND", "waits").env("FAULT_UNTIL", folder.path().join("go"));
        let child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { folder, child }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn release(&self) {
        std::fs::write(self.folder.path().join("go"), "").unwrap();
    }

    /// Waits for a step, and for as long as the next one would take, many times over.
    fn stands_at(&mut self, step: usize) {
        let file = self.run().join("metrics.jsonl");
        let lines = || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
        until(&mut self.child, "the step", || lines() >= step);
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(lines(), step, "no step is made while it waits");
        let (whole, partial): (Vec<String>, _) =
            names(&self.run()).into_iter().partition(|name| name.starts_with("step-"));
        assert!(
            whole.is_empty() && partial.len() == 1 && partial[0].contains("step-00000003"),
            "{whole:?} {partial:?}"
        );
    }
}

fn names(run: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(run.join("checkpoints")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn steps_are_made_beside_a_save_up_to_the_next_one() {
    for (beside, stands_at) in [(true, 6), (false, 3)] {
        let mut held = Held::start(beside, &[]);
        held.stands_at(stands_at);
        held.release();
        assert_eq!(held.child.wait().unwrap().code(), Some(0));
        let mut left = names(&held.run());
        left.sort();
        assert_eq!(left, ["step-00000003", "step-00000006", "step-00000008"]);
        assert_eq!(metrics(&held.run()).len(), 8);

        // What was written beside steps 4 to 6 is the state after step 3.
        let straight = held.folder.path().join("straight");
        train(&straight, &["train.steps=3"], &[]).succeeds();
        for file in ["model.safetensors", "ema.safetensors", "optimizer.safetensors"] {
            assert!(checkpoint_file(&straight, 3, file) == checkpoint_file(&held.run(), 3, file), "{file}");
        }
    }
}

#[test]
fn a_save_that_takes_longer_than_the_grace_leaves_no_checkpoint() {
    let mut held = Held::start(true, &["--grace", "1"]);
    held.stands_at(6);
    signal(&held.child, "TERM");
    assert_eq!(held.child.wait().unwrap().code(), Some(143));
    assert!(names(&held.run()).iter().all(|name| !name.starts_with("step-")));
}
