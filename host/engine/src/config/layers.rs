//! The layers of a config: what a file extends, the file itself, and `--set` on top.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, io};

use super::document::{Key, Node, Origin, Source, Tree, dotted, parse_document, parse_value};
use super::problem::{Problem, TOLD_MAX};
use super::suggest::closest;
use crate::bounded::{TEXT_MAX, read_text};

/// Keys that name a component; a table that names another one replaces the table beneath it.
const TAGS: [&str; 2] = ["kind", "plugin"];

/// Keys of a plugin's table that are the host's, and so outlive a change of the plugin.
const HOST_KEYS: [&str; 6] = ["input_key", "input_keys", "ucg_rate", "legacy_ucg_value", "ucg_group", "is_trainable"];

/// Files that one config is made of: two that each extend another twice would be read four times, and so on.
const FILES_MAX: usize = 64;

/// Files that are being read, outermost first, and how many have been read in all.
#[derive(Default)]
struct Reading {
    open: Vec<PathBuf>,
    count: usize,
}

/// Reads `path` and what it extends, puts `sets` on top; none where not even a tree came out.
pub(super) fn read(path: &Path, sets: &[String], problems: &mut Vec<Problem>) -> Option<Node> {
    let mut reading = Reading::default();
    let mut root = match read_text(path, TEXT_MAX) {
        Ok(text) => file(path, text, &mut reading, problems)?,
        Err(error) => {
            problems.push(unreadable(path, &error));
            return None;
        }
    };
    if sets.is_empty() {
        return Some(root);
    }
    let cwd = match env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => {
            problems.push(unreadable(Path::new("."), &error));
            return None;
        }
    };
    // A new component drops the settings of the one before, so components are chosen first, wherever they stand.
    let chooses = |set: &&String| {
        let key = set.split('=').next().unwrap_or("").trim();
        TAGS.iter().any(|tag| key.ends_with(&format!(".{tag}")))
    };
    let (first, then): (Vec<_>, Vec<_>) = sets.iter().partition(chooses);
    for set in first.into_iter().chain(then) {
        if let Err(wrong) = apply_set(&mut root, set, &cwd) {
            problems.extend(wrong);
        }
    }
    Some(root)
}

/// The tree of one file, merged over what it extends.
fn file(path: &Path, text: String, reading: &mut Reading, problems: &mut Vec<Problem>) -> Option<Node> {
    let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = canonical.parent().unwrap_or(Path::new("/")).to_owned();
    let source = Arc::new(Source { file: Some(path.to_owned()), dir, text });
    // A file that does not parse says nothing about what it lacks.
    let mut root = parse_document(&source, problems)?;
    reading.open.push(canonical);
    reading.count += 1;
    let bases = bases(&mut root, path, reading, problems);
    reading.open.pop();
    let mut merged: Option<Node> = None;
    for layer in bases?.into_iter().chain([root]) {
        match &mut merged {
            None => merged = Some(layer),
            Some(under) => merge(under, layer),
        }
    }
    merged
}

/// Takes `extends` out of `root` and reads the files it names; none if one of them failed.
fn bases(root: &mut Node, path: &Path, reading: &mut Reading, problems: &mut Vec<Problem>) -> Option<Vec<Node>> {
    let Tree::Table(entries) = &mut root.tree else {
        return Some(Vec::new());
    };
    let Some(idx) = entries.iter().position(|(key, _)| key.name == "extends") else {
        return Some(Vec::new());
    };
    let (_, extends) = entries.remove(idx);
    let names = match extends.tree {
        Tree::Array(items) => items,
        _ => vec![extends],
    };
    let at = ["extends".to_owned()];
    let mut layers = Some(Vec::new());
    for name in names {
        if problems.len() > TOLD_MAX {
            return None;
        }
        if reading.count == FILES_MAX {
            let message = format!("more than {FILES_MAX} files are read for one config, which extend each other");
            problems.push(name.origin.problem(&at, message, "extend fewer, and each once"));
            return None;
        }
        let layer = match name.as_str() {
            Some(text) => base(&name.origin, &path.with_file_name(text), reading, problems),
            None => {
                let help = "write extends = \"base.toml\" or extends = [\"a.toml\", \"b.toml\"]";
                problems.push(name.origin.problem(&at, "expected the path of a config file", help));
                None
            }
        };
        layers = layers.zip(layer).map(|(mut layers, layer)| {
            layers.push(layer);
            layers
        });
    }
    layers
}

fn base(origin: &Origin, path: &Path, reading: &mut Reading, problems: &mut Vec<Problem>) -> Option<Node> {
    let at = ["extends".to_owned()];
    let text = match read_text(path, TEXT_MAX) {
        Ok(text) => text,
        Err(error) => {
            let fault = unreadable(path, &error);
            let message = format!("{}: {}", path.display(), fault.message);
            problems.push(origin.problem(&at, message, fault.help.unwrap_or_default()));
            return None;
        }
    };
    let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(start) = reading.open.iter().position(|open| *open == canonical) {
        let names = reading.open[start..].iter().chain([&canonical]).filter_map(|path| path.file_name());
        let ring = names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" -> ");
        let message = format!("files extend each other in a ring: {ring}");
        problems.push(origin.problem(&at, message, "take `extends` out of one of them"));
        return None;
    }
    file(path, text, reading, problems)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (message, help) = match error.kind() {
        io::ErrorKind::NotFound => {
            let mut names: Vec<String> = fs::read_dir(dir)
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| Path::new(name).extension() == Some(OsStr::new("toml")))
                .collect();
            names.sort();
            let given = path.file_name().unwrap_or_default().to_string_lossy();
            let help = match closest(&given, names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean {}?", path.with_file_name(name).display()),
                None if names.is_empty() => format!("there is no TOML file in {}", dir.display()),
                None => format!("{} has {}", dir.display(), names.join(", ")),
            };
            ("there is no such file".to_owned(), help)
        }
        io::ErrorKind::InvalidData => {
            ("not a text in UTF-8".to_owned(), "name a TOML config file; save it as UTF-8".to_owned())
        }
        io::ErrorKind::FileTooLarge => {
            (format!("longer than {TEXT_MAX} bytes, which no config is"), "name a TOML config file".to_owned())
        }
        io::ErrorKind::IsADirectory => ("a folder, not a config file".to_owned(), "name a TOML file in it".to_owned()),
        _ => (format!("cannot be read: {error}"), "check the file's permissions".to_owned()),
    };
    Problem { file: Some(path.to_owned()), line: 0, column: 0, key: String::new(), message, help: Some(help) }
}

/// Puts `over` on `under`: tables merge key by key, anything else is replaced.
fn merge(under: &mut Node, over: Node) {
    if names_another_component(under, &over) {
        keep_host_keys(under);
    }
    let Node { origin, tree } = over;
    under.origin = origin;
    match (&mut under.tree, tree) {
        (Tree::Table(entries), Tree::Table(new_entries)) => {
            let names = entries.iter().enumerate().map(|(idx, (key, _))| (key.name.clone(), idx));
            let places: HashMap<String, usize> = names.collect();
            for (key, node) in new_entries {
                match places.get(&key.name).map(|&idx| &mut entries[idx]) {
                    Some((known, value)) => {
                        *known = key;
                        merge(value, node);
                    }
                    None => entries.push((key, node)),
                }
            }
        }
        (tree, over) => *tree = over,
    }
}

fn names_another_component(under: &Node, over: &Node) -> bool {
    TAGS.iter().any(|tag| match (under.get(tag), over.get(tag)) {
        (Some(old), Some(new)) => old.as_str() != new.as_str(),
        _ => false,
    })
}

/// Drops a component's own settings, which mean nothing to the component that takes its place.
fn keep_host_keys(node: &mut Node) {
    if let Tree::Table(entries) = &mut node.tree {
        entries.retain(|(key, _)| HOST_KEYS.contains(&key.name.as_str()));
    }
}

/// Applies one `a.b.0.c=value`.
fn apply_set(root: &mut Node, set: &str, cwd: &Path) -> Result<(), Vec<Problem>> {
    let source = Arc::new(Source { file: None, dir: cwd.to_owned(), text: set.to_owned() });
    let origin = Origin::new(&source, &(0..0));
    let wrong = |at: &[String], message: String, help: &str| vec![origin.problem(at, message, help)];
    let form = "write --set key.path=value, such as --set train.steps=100";
    let Some((key, text)) = set.split_once('=') else {
        return Err(wrong(&[], format!("{set:?} has no `=`"), form));
    };
    let keys =
        toml_edit::Key::parse(key.trim()).map_err(|_| wrong(&[], format!("{:?} is no key", key.trim()), form))?;
    let at: Vec<String> = keys.iter().map(|key| key.get().to_owned()).collect();
    if text.trim().is_empty() {
        return Err(wrong(&at, "has no value".to_owned(), "for an empty text write key='\"\"'"));
    }
    let value = parse_value(&source, text.trim(), &at)?;
    place(root, &at, 0, value, &origin)
}

/// Descends from `node` along `at[depth..]`, making tables as needed, and merges `value` in there.
fn place(node: &mut Node, at: &[String], depth: usize, value: Node, origin: &Origin) -> Result<(), Vec<Problem>> {
    let Some(segment) = at.get(depth) else {
        merge(node, value);
        return Ok(());
    };
    let wrong = |message: String, help: String| Err(vec![origin.problem(at, message, help)]);
    let here = dotted(&at[..depth]);
    match &mut node.tree {
        Tree::Array(items) => {
            let num_items = items.len();
            match segment.parse::<usize>().ok().and_then(|idx| items.get_mut(idx)) {
                Some(item) => place(item, at, depth + 1, value, origin),
                None => wrong(
                    format!("`{here}` is an array of {num_items}, and {segment:?} is no index of it"),
                    match num_items {
                        0 => format!("set the whole array: --set {here}='[..]'"),
                        _ => format!("give 0 to {}, or set the whole array: --set {here}='[..]'", num_items - 1),
                    },
                ),
            }
        }
        Tree::Table(entries) => {
            // A change of the component goes through `merge` of the table, which drops the old one's settings.
            if depth + 1 == at.len() {
                let key = Key { name: segment.clone(), origin: origin.clone() };
                let over = Node { origin: node.origin.clone(), tree: Tree::Table(vec![(key, value)]) };
                merge(node, over);
                return Ok(());
            }
            let idx = entries.iter().position(|(key, _)| key.name == *segment).unwrap_or_else(|| {
                let key = Key { name: segment.clone(), origin: origin.clone() };
                entries.push((key, Node { origin: origin.clone(), tree: Tree::Table(Vec::new()) }));
                entries.len() - 1
            });
            place(&mut entries[idx].1, at, depth + 1, value, origin)
        }
        Tree::Leaf(_) => wrong(
            format!("`{here}` is a single value, so it has no {segment:?}"),
            format!("set it as a whole: --set {here}=.."),
        ),
    }
}
