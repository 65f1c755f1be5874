//! The libraries that a cargo build reports.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A dynamic library or a WASM module that cargo built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The folder of its crate.
    pub folder: PathBuf,
    /// The file.
    pub file: PathBuf,
}

impl Library {
    /// Whether it is a WASM module.
    pub fn is_wasm(&self) -> bool {
        self.file.extension() == Some(OsStr::new("wasm"))
    }
}

/// The libraries in the output of `cargo build --message-format=json-render-diagnostics`.
pub fn libraries(output: &str) -> Vec<Library> {
    output.lines().filter_map(of_message).flatten().collect()
}

fn of_message(line: &str) -> Option<Vec<Library>> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let files = message["filenames"].as_array()?.iter().filter_map(|file| Some(PathBuf::from(file.as_str()?)));
    let is_library = |file: &PathBuf| matches!(file.extension().and_then(OsStr::to_str), Some("wasm" | "so"));
    Some(files.filter(is_library).map(|file| Library { folder: folder.to_path_buf(), file }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_json_names_a_library_by_its_crates_folder() {
        let output = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/a/plugins/class/Cargo.toml","#,
            r#""filenames":["/a/target/debug/libclass.so","/a/target/debug/libclass.rlib"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#
        );
        let file = PathBuf::from("/a/target/debug/libclass.so");
        assert_eq!(libraries(output), [Library { folder: "/a/plugins/class".into(), file }]);
        assert!(!libraries(output)[0].is_wasm());
    }
}
