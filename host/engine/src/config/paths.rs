//! Paths in a config: made absolute, and checked where something must be there.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

/// Whether the files and folders that a config names have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They have to, for a run.
    Needed,
    /// They need not, to say what a run would be.
    MayLack,
}

/// `text` relative to `dir` (absolute, free of links), and what is wrong with it where `mark` wants a thing to be
/// there: `file`, `folder`, `file-or-folder`, or `new-folder` (which may be absent); any other mark wants nothing. What may
/// lack as a whole is not missed.
pub(super) fn resolve(text: &str, dir: &Path, mark: &Value, files: Files) -> (String, Option<(String, String)>) {
    let path = absolute(text, dir);
    let shown = path.display();
    let told = "relative paths start at the file that writes them, those of --set at the current folder";
    let fault = match mark.as_str() {
        _ if text.is_empty() => Some(("an empty path".to_owned(), "name a file or folder".to_owned())),
        _ if path.to_str().is_none() => {
            Some((format!("{shown} is no UTF-8"), "move it to a folder that is".to_owned()))
        }
        Some("file" | "folder" | "file-or-folder") if files == Files::MayLack && !path.exists() => None,
        Some(kind @ ("file" | "folder" | "file-or-folder")) if !path.exists() => {
            let kind = kind.replace('-', " ");
            let help = match path.ends_with("data/clips") {
                true => "run `cargo xtask data`, which fetches the clips".to_owned(),
                false if path.ends_with("Fox.gltf") => "run `cargo xtask setup`, which fetches the fox".to_owned(),
                false => format!("put it there or change the path; {told}"),
            };
            Some((format!("there is no {kind} {shown}"), help))
        }
        Some("file") if path.is_dir() => Some((format!("{shown} is a folder"), "name a file in it".to_owned())),
        Some("folder" | "new-folder") if path.is_file() => {
            Some((format!("{shown} is a file"), "name a folder".to_owned()))
        }
        _ => None,
    };
    (path.to_string_lossy().into_owned(), fault)
}

/// Leading `..` go up from `dir`; later ones stay, because what they follow may be a link.
fn absolute(text: &str, dir: &Path) -> PathBuf {
    let mut path = dir.to_owned();
    let mut leading = true;
    for component in Path::new(text).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if leading => {
                path.pop();
            }
            other => {
                leading = false;
                path.push(other);
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_their_folder() {
        let dir = Path::new("/a/b");
        assert_eq!(absolute("../runs/x", dir), Path::new("/a/runs/x"));
        assert_eq!(absolute("./x/../y", dir), Path::new("/a/b/x/../y"));
        assert_eq!(absolute("/x", dir), Path::new("/x"));
    }

    #[test]
    fn only_what_must_be_there_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let fault = |text: &str, mark: &str| {
            resolve(text, dir.path(), &mark.into(), Files::Needed).1.map(|(message, _)| message)
        };
        assert!(fault("absent", "file").unwrap().starts_with("there is no file "));
        assert!(fault("absent", "folder").unwrap().starts_with("there is no folder "));
        assert!(fault("absent", "file-or-folder").unwrap().starts_with("there is no file or folder "));
        assert_eq!(fault(".", "file-or-folder").or(fault("file", "file-or-folder")), None);
        assert_eq!(fault("absent", "new-folder"), None);
        let lacking = |text: &str| resolve(text, dir.path(), &"file".into(), Files::MayLack).1;
        assert!(lacking("absent").is_none() && lacking(".").is_some() && lacking("").is_some());
        assert_eq!(fault("absent", "search"), None);
        assert_eq!(fault("file", "file"), None);
        assert!(fault("file", "new-folder").unwrap().ends_with("is a file"));
        assert!(fault(".", "file").unwrap().ends_with("is a folder"));
        assert_eq!(fault("", "new-folder"), Some("an empty path".to_owned()));
    }

    #[test]
    fn the_fox_and_the_clips_are_had_from_xtask() {
        let (_, fault) = resolve("data/Fox.gltf", Path::new("/nowhere"), &"file".into(), Files::Needed);
        assert!(fault.unwrap().1.contains("cargo xtask setup"));
        let (_, fault) = resolve("data/clips", Path::new("/nowhere"), &"folder".into(), Files::Needed);
        assert!(fault.unwrap().1.contains("cargo xtask data"));
    }
}
