//! Parity: every golden case of the reference system is built from its config, run, and compared within its tolerances.
//!
//! `cargo xtask parity` runs it. Cases come from `golden` beside this file (compressed), and from the folder in `ANNEAL_GOLDEN_DIR` if
//! that is set. Arguments without a dash pick the cases whose names contain one of them; with `--markdown` families are summed up.
#![allow(clippy::print_stdout)]

mod case;
mod compare;
mod kinds;
mod module;
mod options;
mod plugins;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use case::Case;
use table::Row;

/// Where cases are looked for.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Some(folder) = std::env::var_os("ANNEAL_GOLDEN_DIR") {
        return vec![PathBuf::from(folder)];
    }
    [root.join("../shared/golden"), root.join("tests/parity/golden")].into_iter().filter(|path| path.exists()).collect()
}

/// The files of all cases, by name; a case of a later folder is left out if an earlier one has it.
fn files(folders: &[PathBuf], wanted: &[String]) -> Vec<(String, PathBuf)> {
    let mut files = std::collections::BTreeMap::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = file.strip_suffix(".gz").unwrap_or(&file).strip_suffix(".safetensors") else { continue };
            if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
                files.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    files.into_iter().collect()
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // What fails is in the table; a backtrace for each would bury it.
    std::panic::set_hook(Box::new(|_| {}));
    tch::set_num_threads(1);
    let start = Instant::now();
    let rows: Vec<Row> = files(&folders(), &wanted).into_iter().map(|(name, path)| run(name, &path)).collect();
    let failed = rows.iter().filter(|row| row.problem.is_some()).count();
    if std::env::args().any(|argument| argument == "--markdown") {
        table::print_families(&rows);
    } else {
        table::print(&rows);
    }
    println!("{:.1} s", start.elapsed().as_secs_f64());
    println!("{} passed, {failed} failed", rows.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(name: String, path: &Path) -> Row {
    let outcome = std::panic::catch_unwind(|| {
        let case = Case::load(path)?;
        let outputs = kinds::run(&case)?;
        let errors = compare::outputs(&case, &outputs)?;
        case.all_used()?;
        Ok(errors)
    });
    let outcome: Result<compare::Errors, String> = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    });
    match outcome {
        Ok(errors) => {
            let problem = errors.problem();
            Row { name, errors, problem }
        }
        Err(problem) => Row { name, errors: compare::Errors::default(), problem: Some(problem) },
    }
}
