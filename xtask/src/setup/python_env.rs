//! libtorch inside an active Python environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// Asks for the version and the folder without importing torch, which takes seconds.
const ASK: &str = "
import importlib.metadata, importlib.util
print(importlib.metadata.version('torch').split('+')[0])
print(importlib.util.find_spec('torch').submodule_search_locations[0])
";

/// The folder of the `torch` package that `python3` would import, if its version is `version`.
pub fn torch_folder(version: &str) -> Option<PathBuf> {
    let text = process::output(Command::new("python3").args(["-c", ASK])).ok()?;
    let mut lines = text.lines();
    (lines.next()? == version).then(|| PathBuf::from(lines.next().unwrap_or_default()))
}

/// The folders beside a `torch` package that hold the CUDA libraries its own ones name as needed; none for a CPU build.
pub fn nvidia_folders(torch: &Path) -> Vec<PathBuf> {
    let Some(nvidia) = torch.parent().map(|site| site.join("nvidia")) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(nvidia) else { return Vec::new() };
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path().join("lib"))).filter(|lib| lib.is_dir()).collect();
    folders.sort();
    folders
}
