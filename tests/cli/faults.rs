//! A plugin can fail; the host does not: each fault ends a real run with a report that names the plugin.

use crate::run::{Ran, path, train};

/// Trains with the given settings and the test plugins beside the bundled ones.
fn train_with_test_plugins(sets: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let ran = train(dir.path(), sets, &["--plugin-dir", &path("target/test-plugins")]);
    assert_eq!(dir.path().join("checkpoints").exists(), ran.code == Some(0), "{ran:#?}");
    ran
}

#[test]
fn faults_of_wasm_plugins_are_contained_and_reported() {
    let weighting =
        |fault: &str| train_with_test_plugins(&[&format!("loss.weighting={{plugin=\"faulty\",fault=\"{fault}\"}}")]);
    weighting("none").succeeds();
    for (fault, words) in [
        ("loops", &["instructions"][..]),
        ("grows-memory", &["memory"]),
        ("panics", &["told to panic at sigma"]),
        ("overflows", &["weights"]),
        ("nan", &["finite"]),
        ("negative", &["-1"]),
        ("fails", &["told to fail"]),
    ] {
        let ran = weighting(fault);
        assert!(ran.code == Some(4) || fault == "fails", "{fault}: {ran:#?}");
        for word in words.iter().chain(&["test.faulty-wasm/faulty"]) {
            assert!(ran.err.contains(word), "{fault}: {word:?} is not in {ran:#?}");
        }
    }
}

#[test]
fn faults_of_native_plugins_are_reported() {
    // The class embedder's place: its output goes the same way when the plugin behaves.
    let embedder = |fault: &str| {
        let faulty = format!("{{plugin=\"faulty\",input_key=\"polar_rad\",fault=\"{fault}\"}}");
        train_with_test_plugins(&[
            &format!("model.embedders=[{faulty}]"),
            "model.network.in_channels=3",
            "model.network.adm_in_channels=1",
        ])
    };
    for (fault, word) in [
        ("panic-in-new", "told to panic in new"),
        ("panic", "told to panic with"),
        ("libtorch-panic", "panicked"),
        ("libtorch-error", "libtorch"),
        ("error", "told to fail"),
        ("writes-to-input", "input"),
        ("no-output", "nothing was emitted"),
    ] {
        let ran = embedder(fault);
        assert!(matches!(ran.code, Some(3 | 4)), "{fault}: {ran:#?}");
        for word in [word, "test.faulty-native/faulty"] {
            assert!(ran.err.contains(word), "{fault}: {word:?} is not in {ran:#?}");
        }
    }
}
