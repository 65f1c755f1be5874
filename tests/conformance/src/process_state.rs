//! What belongs to the process and not to a plugin: what a plugin must leave as it found it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::path::Path;

use anneal_torch::dispatch::{Op, Place, Value};

/// The state of the process and of this thread.
#[derive(Debug, PartialEq)]
pub struct ProcessState {
    state: BTreeMap<&'static str, String>,
    /// Variables by a hash of their values, which are nobody's business.
    variables: BTreeMap<String, u64>,
}

impl ProcessState {
    /// As it is.
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = |name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().trim().to_owned()
        };
        // A directory that is being listed is a file that is open.
        let files = names("/proc/self/fd").into_iter().map(|name| {
            let target = std::fs::read_link(Path::new("/proc/self/fd").join(&name));
            format!("{name} {}", target.map(|target| target.display().to_string()).unwrap_or_default())
        });
        let files: Vec<String> = files.filter(|file| !file.contains("/fd") && file.contains(' ')).collect();
        let variables = std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), hash_of(&value)));
        let variables = variables.collect();
        let state = BTreeMap::from([
            ("the working directory", format!("{:?}", std::env::current_dir())),
            ("the threads", line("Threads:")),
            ("the processes it has started", children()),
            ("the open files", files.join(", ")),
            ("the signals that are handled", line("SigCgt:")),
            ("the signals that are ignored", line("SigIgn:")),
            ("the signals that are blocked", line("SigBlk:")),
            ("the umask", line("Umask:")),
            ("the rounding of numbers", rounding()),
            ("libtorch's number of threads", tch::get_num_threads().to_string()),
            ("the grad mode", anneal_torch::grad_mode::enabled().to_string()),
            ("libtorch's default kind", default_kind()),
        ]);
        Self { state, variables }
    }

    /// What is different after.
    pub fn change(&self, after: &Self) -> Option<String> {
        let mut names = self.variables.keys().chain(after.variables.keys());
        if let Some(name) = names.find(|name| self.variables.get(*name) != after.variables.get(*name)) {
            return Some(format!("the environment: {name} is not what it was"));
        }
        let changed = self.state.iter().find(|(name, value)| after.state.get(*name) != Some(value))?;
        let now = after.state.get(changed.0).map_or("", String::as_str);
        let few = |text: &str| text.chars().take(200).collect::<String>();
        Some(format!("{}: {} before, {} after", changed.0, few(changed.1), few(now)))
    }
}

fn hash_of(value: &OsStr) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Processes that this one has started, by any thread.
fn children() -> String {
    let of = |thread: String| std::fs::read_to_string(format!("/proc/self/task/{thread}/children")).unwrap_or_default();
    names("/proc/self/task").into_iter().map(of).collect()
}

/// The kind of numbers that libtorch makes unasked.
fn default_kind() -> String {
    let made = Op::find(c"aten::ones", c"").and_then(|ones| ones.tensor(Place::CPU, &[Value::ints(&[1])]));
    made.map_or_else(|error| error.to_string(), |made| format!("{:?}", made.kind()))
}

fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// How numbers are rounded, and whether the smallest become zero: seen in what comes out.
fn rounding() -> String {
    let third = black_box(1.0_f64) / black_box(3.0);
    let negative = black_box(-1.0_f64) / black_box(3.0);
    let smallest = black_box(f64::MIN_POSITIVE) / black_box(4.0);
    format!("{:x} {:x} {:x}", third.to_bits(), negative.to_bits(), smallest.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_opened_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let files = || ProcessState::now().state["the open files"].clone();
        assert!(files().contains(&path));
        drop(file);
        assert!(!files().contains(&path));
    }
}
