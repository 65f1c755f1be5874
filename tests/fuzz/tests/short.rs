//! The short run: each target on its corpus and on the same mutations of it every time, in a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anneal_fuzz::{Corpus, targets};

/// One test for each target.
macro_rules! short {
    ($($test:ident: $target:literal,)*) => {
        const TESTED: &[&str] = &[$($target),*];
        $(
            #[test]
            fn $test() {
                let (output, input) = run($target, &Corpus::folder($target), &[]);
                assert!(
                    output.status.success(),
                    "{}\n{}\nthe input is {}; cargo run -p anneal-fuzz -- replay {} {}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr),
                    input.display(),
                    $target,
                    input.display(),
                );
                fs::remove_file(&input).unwrap();
            }
        )*
    };
}

short! {
    animation: "animation",
    cameras: "cameras",
    checkpoint: "checkpoint",
    config: "config",
    film: "film",
    image: "image",
    mesh: "mesh",
    package: "package",
    pickle: "pickle",
    plugin: "plugin",
    safetensors: "safetensors",
    tar: "tar",
}

/// Runs a target, and says where its last input is.
fn run(target: &str, corpus: &Path, more: &[&str]) -> (Output, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target);
    let files = folder.join("files");
    fs::create_dir_all(&files).unwrap();
    let input = folder.join("input");
    let mut command = Command::new(env!("CARGO_BIN_EXE_anneal-fuzz"));
    command.args(["short", target, "--corpus"]).arg(corpus).arg("--input").arg(&input).args(more);
    let output = command.env("TMPDIR", &files).output().unwrap();
    fs::remove_dir_all(&files).unwrap();
    (output, input)
}

#[test]
fn every_target_is_tested_and_has_a_small_corpus() {
    assert_eq!(TESTED, targets::ALL.map(|target| target.name));
    let mut total = 0;
    for target in TESTED {
        let corpus = Corpus::read(&Corpus::folder(target)).unwrap();
        assert!(corpus.inputs.len() >= 3, "{target}");
        total += corpus.inputs.iter().map(|(_, data)| data.len()).sum::<usize>();
    }
    assert!(total < 300 << 10, "{total} bytes");
}

#[test]
fn faults_are_seen_and_their_input_is_kept() {
    let corpus = tempfile::tempdir().unwrap();
    fs::write(corpus.path().join("a"), "fine").unwrap();
    for target in targets::FAULTY {
        let (output, _) = run(target.name, corpus.path(), &["--mutations", "0"]);
        assert!(output.status.success(), "{}", target.name);
    }
    fs::write(corpus.path().join("b"), "!").unwrap();
    let faults = ["a faulty target", "too much memory", "a hang", "overflowed its stack", "an error without a text"];
    for (target, fault) in targets::FAULTY.iter().zip(faults) {
        let (output, input) = run(target.name, corpus.path(), &["--deadline-s", "1"]);
        assert!(!output.status.success(), "{}", target.name);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(fault), "{}: {said}", target.name);
        assert_eq!(fs::read(input).unwrap(), b"!", "{}", target.name);
    }
}
