//! `cargo xtask demo`: train on real data, sample, and say where the pictures are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{anneal, process};

/// Trains `configs/demo.toml` into a fresh run folder and samples two orbits from it.
///
/// # Errors
/// When set-up, training or sampling fails; the exit code is then the command line's own.
pub fn run(paths: &Paths) -> Result<(), Failure> {
    let start = Instant::now();
    let anneal = anneal::command(paths)?;
    let program = anneal.get_program();
    let set_up = start.elapsed();
    let run = fresh_run(&paths.root.join("runs"))?;
    println!("demo: training configs/demo.toml into {}", run.display());
    let start = Instant::now();
    let run_dir = format!("run.dir={}", toml::Value::String(run.display().to_string()));
    let config = paths.root.join("configs/demo.toml");
    let mut train = std::process::Command::new(program);
    train.arg("train").arg(&config).args(["--set", &run_dir]);
    // The demo has the machine to itself, and its operations are short: threads that wait awake make it a fifth faster.
    train.env("OMP_WAIT_POLICY", "active");
    process::run(&mut train)?;
    let trained = start.elapsed();
    let start = Instant::now();
    process::run(std::process::Command::new(program).arg("sample").arg(&run).args(["--num", "2"]))?;
    let sampled = start.elapsed();
    println!();
    println!(
        "demo: set-up {:.0} s, training {:.0} s, sampling {:.0} s",
        set_up.as_secs_f64(),
        trained.as_secs_f64(),
        sampled.as_secs_f64()
    );
    println!("demo: the pictures:");
    for picture in pictures_below(&run) {
        println!("  {}", picture.display());
    }
    Ok(())
}

/// `runs/demo`, or the first `runs/demo-N` that does not exist.
fn fresh_run(runs: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(runs).map_err(|error| Failure::file("create", runs, &error))?;
    let names = std::iter::once("demo".to_owned()).chain((2_u32..).map(|number| format!("demo-{number}")));
    let mut free = names.map(|name| runs.join(name)).filter(|path| !path.exists());
    free.next().ok_or_else(|| Failure::new("no run folder is free", "remove old runs from `runs`"))
}

/// PNG, GIF and WebP files below a folder, by path.
fn pictures_below(folder: &Path) -> Vec<PathBuf> {
    let mut pictures = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| ["png", "gif", "webp"].iter().any(|kind| extension == *kind))
            {
                pictures.push(path);
            }
        }
    }
    pictures.sort();
    pictures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_never_lands_in_an_old_ones_folder() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join("runs");
        assert_eq!(fresh_run(&runs).unwrap(), runs.join("demo"));
        fs::create_dir(runs.join("demo")).unwrap();
        assert_eq!(fresh_run(&runs).unwrap(), runs.join("demo-2"));
    }

    #[test]
    fn pictures_are_found_at_any_depth() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("samples")).unwrap();
        for file in ["b.png", "samples/a.gif", "metrics.jsonl"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        assert_eq!(pictures_below(root.path()), [root.path().join("b.png"), root.path().join("samples/a.gif")]);
    }
}
