//! The files of a checkout as the rules see them.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// All files that git tracks or would track.
#[derive(Debug)]
pub struct Repository {
    /// The files, by path.
    pub files: Vec<File>,
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// Its path below the root, with `/` between the parts.
    pub path: String,
    /// Its text; empty for a file that is not UTF-8.
    pub text: String,
}

/// A breach of a rule, printed as `path:line: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's path below the root.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

impl File {
    /// A finding at a line (from 1) of this file.
    pub fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }

    /// Whether the name ends in `.extension`.
    pub fn is_a(&self, extension: &str) -> bool {
        self.path.strip_suffix(extension).is_some_and(|stem| stem.ends_with('.'))
    }
}

impl Repository {
    /// Reads the checkout at `root`: what git lists there, or every file where there is no git.
    ///
    /// # Errors
    /// When files cannot be listed or read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut paths = match listed_by_git(root) {
            Some(paths) => paths,
            None => walked(root)?,
        };
        paths.sort();
        paths.dedup();
        // A file deleted but not yet committed is still listed.
        let files = paths.into_iter().filter(|path| root.join(path).is_file()).map(|path| {
            let bytes = fs::read(root.join(&path))?;
            Ok(File { text: String::from_utf8(bytes).unwrap_or_default(), path })
        });
        Ok(Self { files: files.collect::<io::Result<_>>()? })
    }

    /// A repository of given paths and texts.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() });
        Self { files: files.collect() }
    }

    /// The Rust sources.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_a("rs"))
    }

    /// The file at a path.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

/// Every file below `root` but build output, runs and what links lead to.
fn walked(root: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let below = path.strip_prefix(root).unwrap_or(&path);
            let is_output = ["target", "runs", ".git", ".libtorch"].iter().any(|output| below == Path::new(output));
            if is_output || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                paths.push(below.to_string_lossy().into_owned());
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_every_file_but_output_is_read() {
        let root = tempfile::tempdir().unwrap();
        for path in ["src/a.rs", "target/b.rs", "runs/c.toml", ".ci/run", "picture.png"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [0xff, 0xfe]).unwrap();
        }
        let repository = Repository::read(root.path()).unwrap();
        let paths: Vec<&str> = repository.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".ci/run", "picture.png", "src/a.rs"]);
    }

    #[test]
    fn a_finding_reads_as_file_line_message() {
        let repository = Repository::of(&[("a/b.rs", "")]);
        let finding = repository.files[0].finding(3, "is wrong");
        assert_eq!(finding.to_string(), "a/b.rs:3: is wrong");
    }

    #[test]
    fn an_extension_is_the_whole_of_it() {
        let repository = Repository::of(&[("a.rs", ""), ("b.wars", ""), ("rs", "")]);
        let rust: Vec<&str> = repository.rust().map(|file| file.path.as_str()).collect();
        assert_eq!(rust, ["a.rs"]);
    }
}
