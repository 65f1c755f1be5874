//! Runs `anneal` on small variants of the demo.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A file of the repository, as an argument.
pub fn path(relative: &str) -> String {
    root().join(relative).to_string_lossy().into_owned()
}

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Stops the test unless the exit code is `code` and stderr holds all of `texts`.
    #[track_caller]
    pub fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in {self:#?}");
        }
        assert!(!self.err.contains("panicked"), "{self:#?}");
    }

    /// Stops the test unless the exit code is 0.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The binary with a clean environment and one thread, so that runs are bit for bit the same.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anneal"));
    command
        .args(args)
        .stdin(Stdio::null())
        .env("OMP_NUM_THREADS", "1")
        .env_remove("ANNEAL_PLUGIN_PATH")
        .env_remove("RUST_BACKTRACE");
    command
}

/// Runs the binary to its end.
pub fn anneal(args: &[&str]) -> Ran {
    command(args).output().unwrap().into()
}

/// The demo's config made small enough to train in a second: 4 views of 16x16 pixels, a narrow network.
pub const SMALL: [&str; 14] = [
    "data.source.size=16",
    "data.source.num_views=4",
    "model.embedders.0.n_copies=4",
    "model.network.model_channels=32",
    "model.network.channel_mult=[1,1]",
    "model.network.attention_resolutions=[2]",
    "data.workers=1",
    "run.device=cpu",
    "run.threads=1",
    "train.steps=4",
    "train.checkpoint_every_steps=1000",
    "sampling.num_steps=2",
    "logging.preview_every_steps=1000",
    "logging.preview_scenes=1",
];

/// `anneal train` of the small demo in `dir`, with further settings and flags.
pub fn train_args(dir: &Path, sets: &[&str], flags: &[&str]) -> Vec<String> {
    let mut args = vec!["train".to_owned(), path("configs/demo.toml"), "--quiet".to_owned()];
    let run_dir = format!("run.dir={}", dir.display());
    for set in SMALL.iter().copied().chain([run_dir.as_str()]).chain(sets.iter().copied()) {
        args.extend(["--set".to_owned(), set.to_owned()]);
    }
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    args
}

/// Trains the small demo.
pub fn train(dir: &Path, sets: &[&str], flags: &[&str]) -> Ran {
    let args = train_args(dir, sets, flags);
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The metrics of a run, a line each.
pub fn metrics(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes of a file of a checkpoint.
pub fn checkpoint_file(dir: &Path, step: u64, file: &str) -> Vec<u8> {
    let path = dir.join(format!("checkpoints/step-{step:08}")).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
