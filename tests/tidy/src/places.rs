//! Things that are allowed in few places, and nowhere else.

use crate::code::{code_only, lines_with_word};
use crate::repository::{Finding, Repository};

/// Where `unsafe` lives: the shim over libtorch, the loaders of native plugins and of compiled
/// components, the glue of the plugin interface, the allocator that counts, and
/// plugins that misbehave on purpose.
const UNSAFE: [&str; 9] = [
    "host/torch/",
    "host/engine/src/plugin/native",
    "host/engine/src/plugin/wasm/cache.rs",
    "plugin-api/src/abi",
    "plugin-api/src/native",
    "plugin-api/src/tch",
    "plugin-api/src/wasm",
    "tests/fuzz/src/memory.rs",
    "tests/plugins/",
];

/// Who may print: commands a person runs.
const PRINTING: [&str; 7] = [
    "host/cli/",
    "xtask/",
    "tests/parity/main.rs",
    "tests/cli/config_faults/mod.rs",
    "tests/cli/plugin_languages.rs",
    "tests/cli/torture/mod.rs",
    "tests/fuzz/src/main.rs",
];

/// Who may read the environment: the config, and what is given to authors of plugins.
const ENVIRONMENT: [&str; 2] = ["host/engine/src/config/", "host/cli/templates/"];

/// `unsafe` stays where its invariants are.
pub fn unsafe_stays_in_its_places(repository: &Repository) -> Vec<Finding> {
    let elsewhere = repository.rust().filter(|file| !is_in(&file.path, &UNSAFE));
    let found = elsewhere.flat_map(|file| {
        let lines = lines_with_word(&code_only(&file.text), "unsafe");
        lines.into_iter().map(|line| file.finding(line, "`unsafe` does not belong here"))
    });
    found.collect()
}

/// Only commands switch off the lint against printing.
pub fn only_commands_print(repository: &Repository) -> Vec<Finding> {
    let elsewhere = repository.rust().filter(|file| !is_in(&file.path, &PRINTING));
    let found = elsewhere.flat_map(|file| {
        let code = code_only(&file.text);
        let lines = ["print_stdout", "print_stderr"].map(|lint| lines_with_word(&code, lint)).concat();
        lines.into_iter().map(|line| file.finding(line, "only commands print; return it, or log it with `tracing`"))
    });
    found.collect()
}

/// In the host, only the config reads the environment, so that a run is what its resolved config says.
pub fn only_config_reads_the_environment(repository: &Repository) -> Vec<Finding> {
    let is_held = |path: &str| path.starts_with("host/") && !path.ends_with("/build.rs") && !is_in(path, &ENVIRONMENT);
    let held = repository.rust().filter(|file| is_held(&file.path));
    let found = held.flat_map(|file| {
        let code = code_only(&file.text);
        let lines = ["env::var", "env::var_os", "env::vars"].map(|call| lines_with_word(&code, call)).concat();
        lines.into_iter().map(|line| file.finding(line, "only the config reads the environment"))
    });
    found.collect()
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_elsewhere_is_found() {
        let repository = Repository::of(&[
            ("host/torch/src/ffi.rs", "unsafe {}"),
            ("host/nn/src/unet.rs", "//! unsafe\n\"unsafe\";\nunsafe {}"),
        ]);
        let findings = unsafe_stays_in_its_places(&repository);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].to_string(), "host/nn/src/unet.rs:3: `unsafe` does not belong here");
    }

    #[test]
    fn switching_the_printing_lint_off_is_found() {
        let repository = Repository::of(&[
            ("host/cli/src/main.rs", "#![allow(clippy::print_stdout)]"),
            ("host/engine/src/lib.rs", "#![allow(clippy::print_stderr)]"),
        ]);
        let findings = only_commands_print(&repository);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "host/engine/src/lib.rs");
    }

    #[test]
    fn reading_the_environment_elsewhere_is_found() {
        let repository = Repository::of(&[
            ("host/engine/src/config/load.rs", "std::env::var(\"A\")"),
            ("host/engine/src/data/emoji.rs", "std::env::var_os(\"A\")"),
            ("host/torch/build.rs", "std::env::var(\"A\")"),
        ]);
        let findings = only_config_reads_the_environment(&repository);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "host/engine/src/data/emoji.rs");
    }
}
