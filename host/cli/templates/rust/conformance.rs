//! Conformance as a test: `cargo test` builds the plugin and has anneal check it.

use std::env;
use std::process::Command;

/// Runs `anneal` in the plugin's folder; `ANNEAL` names the program where it is not in the PATH.
fn anneal(args: &[&str]) {
    let program = env::var_os("ANNEAL").unwrap_or_else(|| "anneal".into());
    let mut command = Command::new(&program);
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells this test about itself is not meant for the build of the plugin.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    let status = command.status().unwrap_or_else(|error| {
        panic!("cannot run {}: {error}; set ANNEAL to the program", program.to_string_lossy())
    });
    assert!(status.success(), "anneal {}: {status}", args.join(" "));
}

#[test]
fn the_plugin_reaches_the_highest_level() {
    anneal(&["plugin", "build"]);
    anneal(&["plugin", "check", "dist/{{id}}"]);
}
