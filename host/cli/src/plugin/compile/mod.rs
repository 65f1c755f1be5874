//! From a plugin's sources to one file: a native library, a WASM module or a component.

mod folder;
mod cargo;
mod c_settings;
mod c;
mod script;

use std::path::PathBuf;

use super::language::Language;
use super::source::Source;
use crate::exit::Failure;

pub use c::{CompilerOfC, INSTALL_WASM_C, wasm_compiler};
pub use script::{componentize_py, componentize_qjs};

/// Builds a plugin with the tools of its language, which are not fetched: where they are missing, nothing is done.
///
/// # Errors
/// When a tool is missing, with the command that gets it; when the sources do not compile.
pub fn compile(source: &Source, debug: bool) -> Result<PathBuf, Failure> {
    match source.language {
        Language::Rust => cargo::compile(source, debug),
        Language::C => c::compile(source, debug),
        Language::Js => script::javascript(source),
        Language::Python => script::python(source),
    }
}
