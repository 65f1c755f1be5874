//! A batch flows down the page; an import only looks up the page.

use crate::code::code_only;
use crate::repository::{Finding, Repository};

/// Libraries whose `lib.rs` lists its modules in the order of their floors.
const LIBRARIES: [&str; 4] = ["plugin-api/src", "host/torch/src", "host/nn/src", "host/engine/src"];

/// In a library, a module uses only what `lib.rs` lists above it.
pub fn use_only_what_stands_above(repository: &Repository) -> Vec<Finding> {
    LIBRARIES.iter().flat_map(|library| in_library(repository, library)).collect()
}

fn in_library(repository: &Repository, library: &str) -> Vec<Finding> {
    let Some(lib) = repository.get(&format!("{library}/lib.rs")) else { return Vec::new() };
    let order = modules_of(&lib.text);
    let position = |module: &str| order.iter().position(|listed| listed == module);
    let mut findings = Vec::new();
    for file in repository.rust() {
        let Some(below) = file.path.strip_prefix(library).and_then(|path| path.strip_prefix('/')) else { continue };
        let module = below.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = position(module) else { continue };
        for (line, used) in crate_uses(&code_only(&file.text)) {
            if position(&used).is_some_and(|position| position > own) {
                findings.push(file.finding(line, format!("`{module}` uses `{used}`, which lib.rs lists below it")));
            }
        }
    }
    findings
}

/// The modules that a `lib.rs` declares, in order.
fn modules_of(text: &str) -> Vec<String> {
    let code = code_only(text);
    let declared = code.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
        Some(line.strip_prefix("mod ")?.strip_suffix(';')?.trim().to_owned())
    });
    declared.collect()
}

/// Each `crate::name` with its line, also those in `crate::{a, b::{c, d}}`.
fn crate_uses(code: &str) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        if code[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => uses.push((line, leading_name(rest))),
            Some(group) => uses.extend(names_in_group(group).into_iter().map(|(below, name)| (line + below, name))),
        }
    }
    uses
}

/// The first name of each entry of a `{...}` group, with the number of lines passed before it.
fn names_in_group(group: &str) -> Vec<(usize, String)> {
    let (mut names, mut depth, mut lines, mut entry_starts) = (Vec::new(), 0_u32, 0, true);
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entry_starts = true,
            '\n' => lines += 1,
            _ if char.is_whitespace() => {}
            _ if entry_starts => {
                names.push((lines, leading_name(&group[at..])));
                entry_starts = false;
            }
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! Lib.\n\n/// First.\npub mod error;\n/// Second.\npub mod config;\nmod data;\n";

    fn findings(path: &str, text: &str) -> Vec<String> {
        let repository = Repository::of(&[("host/engine/src/lib.rs", LIB), (path, text)]);
        use_only_what_stands_above(&repository).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn looking_up_the_page_is_fine() {
        assert!(
            findings("host/engine/src/data/order.rs", "use crate::config::{A, B};\nuse crate::error::C;").is_empty()
        );
        assert!(findings("host/engine/src/data/order.rs", "use crate::data::Batch;").is_empty());
        assert!(findings("host/nn/src/config.rs", "use crate::data::Batch;").is_empty());
    }

    #[test]
    fn looking_down_the_page_is_found_with_its_line() {
        let expected = ["host/engine/src/config/run.rs:2: `config` uses `data`, which lib.rs lists below it"];
        assert_eq!(findings("host/engine/src/config/run.rs", "\nuse crate::data::Batch;"), expected);
        assert_eq!(findings("host/engine/src/config/run.rs", "\nfn f() -> crate::data::Batch {}"), expected);
        assert_eq!(findings("host/engine/src/config.rs", "use crate::data::Batch;").len(), 1);
    }

    #[test]
    fn groups_are_looked_into() {
        let text = "use crate::{\n    error::{data, A},\n    data::Batch,\n};";
        let expected = ["host/engine/src/config/run.rs:3: `config` uses `data`, which lib.rs lists below it"];
        assert_eq!(findings("host/engine/src/config/run.rs", text), expected);
    }

    #[test]
    fn a_link_in_a_comment_is_no_use() {
        assert!(findings("host/engine/src/config/run.rs", "/// See [`crate::data`].\nstruct A;").is_empty());
    }
}
