//! The author's guide, followed to the letter in an empty folder.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::plugin_author::programs;
use crate::run::{Ran, path};

/// The lines of the shell blocks of a page, from the first on.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(path(page)).unwrap();
    let mut lines = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        match line {
            "```bash" => is_inside = true,
            "```" => is_inside = false,
            line if is_inside => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// Runs lines in one shell, which ends at the first that fails, in an empty folder.
fn follow(dir: &Path, lines: &[String]) -> Ran {
    // What is downloaded for the workspace is all that there is without a network, so a new crate gets its lock.
    let lock = format!("[ ! -f Cargo.toml ] || [ -f Cargo.lock ] || cp {} Cargo.lock", path("Cargo.lock"));
    let anneal = format!("{lock}\nexec {} \"$@\"", env!("CARGO_BIN_EXE_anneal"));
    let programs = programs(dir, &[("anneal", anneal)]);
    let folder = dir.join("empty");
    fs::create_dir(&folder).unwrap();
    let search = std::env::var_os("PATH").unwrap_or_default();
    let search = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&search))).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-ex", "-c", &lines.join("\n")]).current_dir(folder).env("PATH", search).stdin(Stdio::null());
    shell.env("CARGO_TARGET_DIR", path("target/authored")).env("CARGO_NET_OFFLINE", "true").env("OMP_NUM_THREADS", "1");
    shell.output().unwrap().into()
}

#[test]
fn the_guide_leads_from_an_empty_folder_to_a_package() {
    let dir = tempfile::tempdir().unwrap();
    let lines = commands("docs/plugins.md");
    for verb in ["doctor", "new", "build", "call", "check", "pack"] {
        assert!(lines.iter().any(|line| line.contains(&format!("plugin {verb}"))), "{verb} is not in the guide");
    }
    let ran = follow(dir.path(), &lines).succeeds();
    assert!(ran.out.contains("acme.karras/karras: discretization L3 ("), "{ran:?}");
    assert!(dir.path().join("empty/karras/karras.tar.zst").is_file());
}

#[test]
#[ignore = "needs the tools of all languages: cargo xtask languages"]
fn the_pages_of_the_languages_lead_from_an_empty_folder_to_l3() {
    for page in ["c", "javascript", "python"] {
        let dir = tempfile::tempdir().unwrap();
        let lines = commands(&format!("docs/plugins/{page}.md"));
        // The tools are there already.
        let fetches =
            |line: &str| ["sudo ", "npm install", "python3 -m venv"].iter().any(|start| line.starts_with(start));
        let lines: Vec<String> = lines.into_iter().filter(|line| !fetches(line)).collect();
        let ran = follow(dir.path(), &lines).succeeds();
        assert!(ran.out.contains(": discretization L3 ("), "{page}: {ran:?}");
    }
}
