//! The engine's readers of files against hostile bytes: each returns a value or an error with a text; none panics, hangs or
//! allocates more than a bound.
//!
//! A target is a function over bytes that drives a reader as a run does. The same targets are run in three ways: by the
//! short test of this package, by libFuzzer (`libfuzzer/`, a package of its own, `cargo xtask fuzz`), and one file at a time
//! by the program `anneal-fuzz`.

mod corpus;
mod files;
mod memory;
mod mutate;
pub mod targets;
mod watch;

pub use corpus::Corpus;
pub use mutate::Mutator;
pub use watch::{Watchdog, execute};

/// A reader under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, that of its corpus, its libFuzzer binary and its test.
    pub name: &'static str,
    /// Drives the reader.
    pub run: fn(&[u8]),
    /// Bytes that may be allocated at once for any input.
    pub bytes_base: usize,
    /// Bytes that may be allocated at once for each byte of the input.
    pub bytes_each: usize,
    /// How many mutations the short test makes.
    pub mutations: u64,
}

impl Target {
    /// Bytes that may be allocated at once for an input of this length.
    pub fn bytes_max(&self, length: usize) -> usize {
        self.bytes_base + self.bytes_each * length
    }
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    targets::ALL.iter().chain(&targets::FAULTY).find(|target| target.name == name)
}

/// For libFuzzer's binaries: a panic that a reader turns into an error is no finding, so the hook that ends the process at
/// any panic goes; one that leaves the target still ends it.
pub fn prepare() {
    drop(std::panic::take_hook());
}

/// For libFuzzer's binaries: one execution of the target of this name.
///
/// # Panics
/// When there is none.
pub fn run(name: &str, data: &[u8]) {
    let target = target(name).unwrap_or_else(|| panic!("there is no target {name:?}"));
    execute(target, data);
}
