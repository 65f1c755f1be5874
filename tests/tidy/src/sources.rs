//! How a source file begins, and how long it may be.

use crate::repository::{File, Finding, Repository};

/// Past this a file hides more than it shows.
const MAX_LINES: usize = 500;

/// Files that may be longer, each with the reason.
const LONGER: [(&str, &str); 1] =
    [("plugin-api/src/wasm/bindings.rs", "generated from the WIT files; a test holds it fresh")];

/// A Rust file opens with a `//!` sentence on what it is for, any other source with a comment.
pub fn open_with_a_sentence(repository: &Repository) -> Vec<Finding> {
    repository.files.iter().filter_map(|file| Some(file.finding(1, opening_problem(file)?))).collect()
}

/// No source file is over 500 lines, but those listed with a reason.
pub fn are_not_too_long(repository: &Repository) -> Vec<Finding> {
    let is_source = |file: &&File| ["rs", "cpp", "h", "py", "wit"].iter().any(|extension| file.is_a(extension));
    let is_listed = |file: &File| LONGER.iter().any(|(path, _)| *path == file.path);
    let sources = repository.files.iter().filter(is_source);
    let long = sources.filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > MAX_LINES && !is_listed(file)).then(|| {
            file.finding(MAX_LINES, format!("{lines} lines, and {MAX_LINES} are the limit; split it by its nouns"))
        })
    });
    long.collect()
}

fn opening_problem(file: &File) -> Option<&'static str> {
    if file.is_a("rs") {
        return rust_opening_problem(&file.text);
    }
    let first = file.text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
    let marks: &[&str] = if ["cpp", "h", "c"].iter().any(|extension| file.is_a(extension)) {
        &["//", "/*"]
    } else if file.is_a("py") {
        &["\"\"\"", "#"]
    } else if file.is_a("sh") || file.text.starts_with("#!") {
        &["#"]
    } else {
        return None;
    };
    let opens = marks.iter().any(|mark| first.starts_with(mark));
    (!opens).then_some("the file does not open with a comment on what it is for")
}

fn rust_opening_problem(text: &str) -> Option<&'static str> {
    let paragraph: Vec<&str> = text
        .lines()
        .map_while(|line| Some(line.strip_prefix("//!")?.trim()))
        .take_while(|line| !line.is_empty())
        .collect();
    match paragraph.last() {
        None => Some("the file does not open with a `//!` sentence on what it is for"),
        Some(last) if !last.ends_with('.') => Some("the opening `//!` sentence does not end with a period"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(path: &str, text: &str) -> usize {
        open_with_a_sentence(&Repository::of(&[(path, text)])).len()
    }

    #[test]
    fn a_rust_file_opens_with_a_sentence() {
        assert_eq!(opening("a.rs", "//! Does this,\n//! and that.\n//!\n//! More: see\nuse b;\n"), 0);
        assert_eq!(opening("a.rs", "//! Does this\n\nuse b;\n"), 1);
        assert_eq!(opening("a.rs", "use b;\n//! Too late.\n"), 1);
        assert_eq!(opening("a.rs", ""), 1);
    }

    #[test]
    fn other_sources_open_with_a_comment() {
        assert_eq!(opening("a.cpp", "// Does this.\n"), 0);
        assert_eq!(opening("a.cpp", "#include <b>\n"), 1);
        assert_eq!(opening(".ci/run", "#!/bin/sh\n# Does this.\n"), 0);
        assert_eq!(opening(".ci/run", "#!/bin/sh\nset -e\n"), 1);
        assert_eq!(opening("notes.md", "text"), 0);
    }

    #[test]
    fn a_long_file_is_found() {
        let at_limit = "//! A.\n".repeat(MAX_LINES);
        let over = "//! A.\n".repeat(MAX_LINES + 1);
        let repository =
            Repository::of(&[("a.rs", at_limit.as_str()), ("b.rs", over.as_str()), ("c.lock", over.as_str())]);
        let findings = are_not_too_long(&repository);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "b.rs");
    }
}
