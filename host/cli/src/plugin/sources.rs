//! The sources of new plugins, by language and kind.

use super::language::Language;

/// The kinds of a language, each with its source.
macro_rules! sources {
    ($folder:literal, $end:literal: $($kind:literal),+) => {
        &[$(($kind, include_str!(concat!("../../templates/", $folder, "/", $kind, $end)))),+]
    };
}

type Sources = &'static [(&'static str, &'static str)];

const RUST: Sources = sources!("rust", ".rs": "discretization", "sigma-sampling", "guidance", "learning-rate", "weighting",
    "learned-weighting", "sampler", "embedder");
const C: Sources = sources!("c", ".c": "discretization", "sigma-sampling", "guidance", "learning-rate", "weighting",
    "learned-weighting", "embedder");
const JS: Sources = sources!("js", ".js": "discretization", "sigma-sampling", "guidance", "learning-rate", "weighting");
const JS_TESTS: Sources = sources!("js", ".test.js": "discretization", "sigma-sampling", "guidance", "learning-rate",
    "weighting");
const PYTHON: Sources = sources!("python", ".py": "discretization", "sigma-sampling", "guidance", "learning-rate",
    "weighting", "sampler");
const PYTHON_TESTS: Sources = sources!("python", ".test.py": "discretization", "sigma-sampling", "guidance",
    "learning-rate", "weighting", "sampler");

/// The files of a language, by path below the plugin's folder; none where it has no template of the kind.
pub fn files(language: Language, kind: &str, is_wasm: bool) -> Option<Vec<(&'static str, &'static str)>> {
    let of = |sources: Sources| sources.iter().find(|(known, _)| *known == kind).map(|(_, text)| *text);
    Some(match language {
        Language::Rust => {
            let cargo = match is_wasm {
                true => include_str!("../../templates/Cargo-wasm.toml"),
                false => include_str!("../../templates/Cargo-native.toml"),
            };
            let conformance = include_str!("../../templates/rust/conformance.rs");
            let mut files =
                vec![("Cargo.toml", cargo), ("src/lib.rs", of(RUST)?), ("tests/conformance.rs", conformance)];
            if !is_wasm {
                files.push(("build.rs", include_str!("../../templates/rust/build.rs")));
            }
            files
        }
        Language::C => vec![("src/plugin.c", of(C)?)],
        Language::Js => vec![
            ("package.json", include_str!("../../templates/js/package.json")),
            ("src/plugin.js", of(JS)?),
            ("test/plugin.test.js", of(JS_TESTS)?),
        ],
        Language::Python => vec![
            ("requirements.txt", include_str!("../../templates/python/requirements.txt")),
            ("src/plugin.py", of(PYTHON)?),
            ("tests/test_plugin.py", of(PYTHON_TESTS)?),
        ],
    })
}

/// What the README says about building.
pub fn building(language: Language, is_wasm: bool) -> &'static str {
    match (language, is_wasm) {
        (Language::Rust, _) => include_str!("../../templates/rust/building.md"),
        (Language::C, true) => include_str!("../../templates/c/building.md"),
        (Language::C, false) => include_str!("../../templates/c/building-native.md"),
        (Language::Js, _) => include_str!("../../templates/js/building.md"),
        (Language::Python, _) => include_str!("../../templates/python/building.md"),
    }
    .trim_end()
}
