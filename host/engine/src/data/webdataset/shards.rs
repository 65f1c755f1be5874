//! Names of shards: braces written out, wildcards looked up.

use std::path::{Path, PathBuf};

use crate::data::DataError;

/// Names that one pattern may stand for.
const NAMES_MAX: usize = 1_000_000;

/// The files that the patterns stand for, in the order of the patterns and within one by name; none twice.
///
/// # Errors
/// When a pattern is malformed, or matches no file.
pub(super) fn find(patterns: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut shards: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let wrong = |reason: String| DataError::Setting { key: "shards", reason };
        let text = pattern.to_str().ok_or_else(|| wrong(format!("{} is no UTF-8", pattern.display())))?;
        for name in braces(text).map_err(|reason| wrong(format!("{text}: {reason}")))? {
            if !name.contains(['*', '?', '[']) || Path::new(&name).exists() {
                shards.push(PathBuf::from(name));
                continue;
            }
            let matches = glob::glob(&name).map_err(|error| wrong(format!("{name}: {error}")))?;
            let matched = matches.collect::<Result<Vec<PathBuf>, _>>();
            let mut matched =
                matched.map_err(|error| DataError::Read { path: error.path().into(), source: error.into() })?;
            if matched.is_empty() {
                return Err(wrong(format!("no file is called {name}")));
            }
            matched.sort();
            shards.append(&mut matched);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    shards.retain(|shard| seen.insert(shard.clone()));
    Ok(shards)
}

/// The texts that `pattern` stands for: `{a,b}` for each of its parts, `{08..11}` for each number between, with leading
/// zeros where an end has them. Braces may stand in braces.
pub(super) fn braces(pattern: &str) -> Result<Vec<String>, String> {
    let Some(open) = pattern.find('{') else {
        return match pattern.contains('}') {
            true => Err("a } without its {".to_owned()),
            false => Ok(vec![pattern.to_owned()]),
        };
    };
    if pattern[..open].contains('}') {
        return Err("a } without its {".to_owned());
    }
    let (mut depth, mut parts, mut start, mut end) = (0, Vec::new(), open + 1, None);
    for (at, character) in pattern[open..].char_indices().map(|(at, character)| (open + at, character)) {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => {
                parts.push(&pattern[start..at]);
                end = Some(at + 1);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 1 => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let end = end.ok_or("a { without its }")?;
    let inner: Vec<String> = match parts[..] {
        [range] => numbers(range)?,
        _ => parts.iter().map(|part| braces(part)).collect::<Result<Vec<_>, _>>()?.concat(),
    };
    let rest = braces(&pattern[end..])?;
    if inner.len().saturating_mul(rest.len()) > NAMES_MAX {
        return Err(format!("it stands for more than {NAMES_MAX} names"));
    }
    let head = &pattern[..open];
    Ok(inner.iter().flat_map(|middle| rest.iter().map(move |tail| format!("{head}{middle}{tail}"))).collect())
}

/// The numbers of `08..11`, as wide as the wider end where one has a leading zero.
fn numbers(range: &str) -> Result<Vec<String>, String> {
    let malformed = || format!("{{{range}}} is neither a list like {{a,b}} nor a range like {{000..015}}");
    let (first, last) = range.split_once("..").ok_or_else(malformed)?;
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<usize>().map_err(|_| malformed()),
        false => Err(malformed()),
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(format!("{{{range}}} runs backwards"));
    }
    if to - from >= NAMES_MAX {
        return Err(format!("{{{range}}} stands for more than {NAMES_MAX} names"));
    }
    let padded = [first, last].iter().any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if padded { first.len().max(last.len()) } else { 0 };
    Ok((from..=to).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_written_out() {
        let expect = |pattern: &str, names: &[&str]| assert_eq!(braces(pattern).unwrap(), names, "{pattern}");
        expect("plain.tar", &["plain.tar"]);
        expect("s-{008..011}.tar", &["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]);
        expect("{8..10}", &["8", "9", "10"]);
        expect("{a,b}/{1..2}", &["a/1", "a/2", "b/1", "b/2"]);
        expect("{x{0..1},y}.tar", &["x0.tar", "x1.tar", "y.tar"]);
        expect("a{,-b}", &["a", "a-b"]);
    }

    #[test]
    fn malformed_braces_are_refused() {
        for pattern in ["{1..", "1}", "a}b{c,d}", "{1}", "{a..c}", "{3..1}", "{0..99999999}", "{1..2..3}", "{}"] {
            assert!(braces(pattern).is_err(), "{pattern}");
        }
        assert!(braces("{0..999}{0..9999}").unwrap_err().contains("more than"));
    }

    #[test]
    fn wildcards_find_files_and_none_comes_twice() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tar", "a.tar", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let find = |names: &[&str]| {
            let patterns: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
            let found = find(&patterns).map_err(|error| error.to_string())?;
            Ok(found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>())
        };
        assert_eq!(find(&["b.tar", "*.tar"]), Ok(vec!["b.tar".to_owned(), "a.tar".to_owned()]));
        assert_eq!(find(&["[ac].*"]), Ok(vec!["a.tar".to_owned(), "c.txt".to_owned()]));
        let error: String = find(&["*.zip"]).unwrap_err();
        assert!(error.starts_with("data.source.shards: no file is called") && error.ends_with("*.zip"), "{error}");
    }
}
