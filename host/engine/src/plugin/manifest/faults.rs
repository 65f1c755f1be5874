//! What is wrong with a manifest, with its place in the text, and which keys it may have.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::config::{Problem, closest, one_of};

/// The keys of a table of the manifest; `None` where they are free.
fn known_keys(path: &[&str]) -> Option<&'static [&'static str]> {
    match path {
        [] => Some(&[
            "schema-version",
            "id",
            "version",
            "description",
            "license",
            "authors",
            "repository",
            "api",
            "artifact",
            "torch",
            "capabilities",
            "entry",
        ]),
        ["api"] => Some(&["wit", "abi", "anneal"]),
        ["artifact", _] => Some(&["path", "sha256"]),
        ["torch"] => Some(&["link", "version"]),
        ["capabilities"] => Some(&["wasi", "memory-mib"]),
        ["entry"] => Some(&["name", "kind", "runtime", "schema", "description", "example", "sigma-range", "order"]),
        ["entry", "example"] => Some(&["config", "n", "expect", "transcript", "frames", "inputs"]),
        ["entry", "example", "inputs"] => Some(&["name", "kind", "shape", "rows", "range", "differentiable"]),
        _ => None,
    }
}

/// Faults of a manifest that are told.
const FAULTS_MAX: usize = 200;
/// How many have been told before the one that says that there are more.
const LAST: usize = FAULTS_MAX - 1;

/// Collects what is wrong, with its place in the text.
pub(super) struct Faults<'a> {
    pub file: &'a Path,
    pub text: &'a str,
    pub problems: Vec<Problem>,
}

impl Faults<'_> {
    pub fn add(&mut self, span: Range<usize>, key: &str, message: impl Into<String>, help: impl Into<Option<String>>) {
        // Each place is searched for in the whole text.
        let (message, help) = match self.problems.len() {
            FAULTS_MAX.. => return,
            LAST => ("more faults follow from here on".to_owned(), None),
            _ => (message.into(), help.into()),
        };
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        let (file, key) = (Some(self.file.to_owned()), key.to_owned());
        self.problems.push(Problem { file, line, column, key, message, help });
    }

    pub fn unknown_keys(&mut self, table: &DeTable<'_>, path: &[&str]) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            if path.is_empty() && name.starts_with("x-") {
                continue;
            }
            let below = [path, &[name]].concat();
            if let Some(known) = known_keys(path).filter(|known| !known.contains(&name)) {
                let help = closest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                let help = help.unwrap_or_else(|| format!("the keys here are {}", one_of(known.iter().copied())));
                self.add(key.span(), &below.join("."), "is no key of a manifest", help);
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) => self.unknown_keys(inner, &below),
                DeValue::Array(items) => {
                    for item in items.iter() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            self.unknown_keys(inner, &below);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
