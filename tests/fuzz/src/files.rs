//! What targets put their inputs into: folders of files, and errors that must have a text.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// Begins a line that names the file which the following bytes are.
const NEXT_FILE: &[u8] = b"#=== ";

/// A folder that goes when it is dropped.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("a folder for an input: {error}"))
}

/// Writes a file of a folder.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    let folders = path.parent().map_or(Ok(()), fs::create_dir_all);
    folders.and_then(|()| fs::write(&path, bytes)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// An input as several files: the first is called `first`, each further one by a line `#=== NAME` before it. Names that
/// lead out of a folder are passed over.
pub fn parts<'a>(first: &str, data: &'a [u8]) -> Vec<(String, &'a [u8])> {
    let mut parts = vec![(first.to_owned(), 0..data.len())];
    let starts = (0..data.len()).filter(|&at| data[at..].starts_with(NEXT_FILE) && (at == 0 || data[at - 1] == b'\n'));
    for at in starts.take(16) {
        let line = data[at..].iter().position(|byte| *byte == b'\n').map_or(data.len(), |end| at + end);
        if let Some((_, range)) = parts.last_mut() {
            range.end = at;
        }
        let name = String::from_utf8_lossy(&data[at + NEXT_FILE.len()..line]).trim().to_owned();
        parts.push((name, (line + 1).min(data.len())..data.len()));
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() < 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !name.starts_with('.')
    };
    parts.into_iter().filter(|(name, _)| is_name(name)).map(|(name, range)| (name, &data[range])).collect()
}

/// The value, if there is one; an error must say something.
///
/// # Panics
/// When it does not.
pub fn said<T, E: Display>(outcome: Result<T, E>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.to_string().trim().is_empty(), "an error without a text");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_files_part_an_input() {
        let data = b"a = 1\n#=== b.toml\nb = 2\n#=== ../c\nc = 3\n#=== d\n";
        let parts = parts("a.toml", data);
        let expected: [(&str, &[u8]); 3] = [("a.toml", b"a = 1\n"), ("b.toml", b"b = 2\n"), ("d", b"")];
        assert_eq!(parts, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
    }
}
