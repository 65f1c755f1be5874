//! TOML text as a tree whose every key and value knows the place it was written at.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, TOLD_MAX};

/// Integers up to here survive the trip through JSON to a plugin in any language.
const INTEGER_MAX: i64 = 1 << 53;

/// A text that settings were read from: a file, or one `--set`.
#[derive(Debug)]
pub(super) struct Source {
    /// The file as it was named; none for a `--set`.
    pub(super) file: Option<PathBuf>,
    /// What relative paths in the text are relative to; absolute.
    pub(super) dir: PathBuf,
    /// The text itself.
    pub(super) text: String,
}

/// A place in a source.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) source: Arc<Source>,
    /// Byte offset in the source's text.
    start: usize,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.source.file, self.start)
    }
}

impl Origin {
    pub(super) fn new(source: &Arc<Source>, span: &Range<usize>) -> Self {
        Self { source: Arc::clone(source), start: span.start }
    }

    /// A problem at this place.
    pub(super) fn problem(&self, at: &[String], message: impl Into<String>, help: impl Into<String>) -> Problem {
        let before = &self.source.text.as_bytes()[..self.start.min(self.source.text.len())];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |idx| idx + 1);
        Problem {
            file: self.source.file.clone(),
            line: before.iter().filter(|&&b| b == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
            key: dotted(at),
            message: message.into(),
            help: Some(help.into()),
        }
    }
}

/// A key and the place it was written at.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) origin: Origin,
}

/// A value and the place it was written at; a table's place is its header.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) tree: Tree,
}

/// The value of a node.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Table(Vec<(Key, Node)>),
    Array(Vec<Node>),
    /// A string, a number or a boolean; null stands for a value that was refused and reported on reading.
    Leaf(Value),
}

impl Node {
    /// The value of `name`, if this is a table that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        match &self.tree {
            Tree::Table(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            Tree::Array(items) => items.get(name.parse::<usize>().ok()?),
            Tree::Leaf(_) => None,
        }
    }

    /// The text of a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.tree {
            Tree::Leaf(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The value without its places.
    pub(super) fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Table(entries) => {
                Value::Object(entries.iter().map(|(k, v)| (k.name.clone(), v.to_value())).collect::<Map<_, _>>())
            }
            Tree::Array(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Tree::Leaf(value) => value.clone(),
        }
    }
}

/// Segments of a key as `--set` takes them: `model.embedders.0.dim`, quoted where a segment is no bare key.
pub(super) fn dotted(at: &[String]) -> String {
    let bare = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let segments: Vec<String> = at.iter().map(|s| if bare(s) { s.clone() } else { format!("{s:?}") }).collect();
    segments.join(".")
}

/// Reads a whole file's text; syntax errors and refused values go to `problems`. None where it is not TOML.
pub(super) fn parse_document(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors.iter().take(TOLD_MAX) {
        let problem = syntax_problem(source, error);
        // The first fault of a line; the parser's later ones follow from it.
        if problems.last().is_none_or(|last| last.line != problem.line || last.file != problem.file) {
            problems.push(problem);
        }
    }
    if let Some(next) = errors.get(TOLD_MAX) {
        let span = next.span().unwrap_or(0..0);
        problems.push(Origin::new(source, &span).problem(
            &[],
            "more faults follow from here on",
            "mend the others first",
        ));
    }
    let mut reader = Reader { source, at: Vec::new(), problems };
    let root = reader.table(table.span(), table.get_ref());
    errors.is_empty().then_some(root)
}

/// The setting that is written at a place of a text that is not TOML: the last key before it, below the last header.
fn key_at(text: &str, at: usize) -> Vec<String> {
    let (mut table, mut key) = (Vec::new(), Vec::new());
    let mut counts: HashMap<Vec<String>, usize> = HashMap::new();
    let end = text[at..].find('\n').map_or(text.len(), |line| at + line);
    for line in text[..end].lines() {
        if let Some(header) = line.strip_prefix('[') {
            let (header, is_array) = header.strip_prefix('[').map_or((header, false), |header| (header, true));
            table = segments(header.split(']').next().unwrap_or_default());
            key.clear();
            if is_array {
                let count = counts.entry(table.clone()).or_default();
                table.push(count.to_string());
                *count += 1;
            }
        } else if let Some((name, _)) = line.split_once('=')
            && let name = segments(name)
            && !name.is_empty()
        {
            key = name;
        }
    }
    [table, key].concat()
}

/// The segments of a key; none where it is no key.
fn segments(key: &str) -> Vec<String> {
    let parsed = toml_edit::Key::parse(key.trim()).unwrap_or_default();
    parsed.iter().map(|segment| segment.get().to_owned()).collect()
}

/// Reads the value of a `--set` of the key `at`: a TOML value, or a bare word that becomes a string.
pub(super) fn parse_value(source: &Arc<Source>, text: &str, at: &[String]) -> Result<Node, Vec<Problem>> {
    let origin = Origin { source: Arc::clone(source), start: 0 };
    let mut problems = Vec::new();
    let node = match DeValue::parse(text) {
        Ok(value) => {
            let mut reader = Reader { source, at: at.to_vec(), problems: &mut problems };
            reader.value(&value)
        }
        // What opens like a string, an array or a table was meant as one.
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => {
            let help = "quote the whole argument for the shell: --set 'key = [1, 2]'";
            return Err(vec![origin.problem(at, format!("{text:?} is no TOML value: {}", error.message()), help)]);
        }
        Err(_) => Node { origin, tree: Tree::Leaf(Value::String(text.to_owned())) },
    };
    if problems.is_empty() { Ok(node) } else { Err(problems) }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    at: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, span: Range<usize>, table: &DeTable<'_>) -> Node {
        // The parser sorts by name; people expect the order of the text.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            let name = key.get_ref().to_string();
            self.at.push(name.clone());
            let node = self.value(value);
            self.at.pop();
            (Key { name, origin: Origin::new(self.source, &key.span()) }, node)
        });
        let tree = Tree::Table(entries.collect());
        Node { origin: Origin::new(self.source, &span), tree }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let origin = Origin::new(self.source, &value.span());
        let leaf = match value.get_ref() {
            DeValue::Table(table) => return self.table(value.span(), table),
            DeValue::Array(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for (idx, item) in items.iter().enumerate() {
                    self.at.push(idx.to_string());
                    nodes.push(self.value(item));
                    self.at.pop();
                }
                return Node { origin, tree: Tree::Array(nodes) };
            }
            DeValue::String(text) => Ok(Value::String(text.to_string())),
            DeValue::Boolean(on) => Ok(Value::Bool(*on)),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) if (-INTEGER_MAX..=INTEGER_MAX).contains(&integer) => Ok(Value::from(integer)),
                _ => Err((
                    format!("{integer} does not fit: integers go to 2^53"),
                    format!("give an integer from {} to {INTEGER_MAX}", -INTEGER_MAX),
                )),
            },
            DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Ok(Value::Number(number)),
                None => Err((format!("{} is not finite", float.as_str()), "give a finite number".to_owned())),
            },
            DeValue::Datetime(time) => {
                Err((format!("{time} is a date or time, which no setting is"), format!("quote it: \"{time}\"")))
            }
        };
        let leaf = leaf.unwrap_or_else(|(message, help)| {
            self.problems.push(origin.problem(&self.at, message, help));
            Value::Null
        });
        Node { origin, tree: Tree::Leaf(leaf) }
    }
}

fn syntax_problem(source: &Arc<Source>, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    let at = key_at(&source.text, span.start.min(source.text.len()));
    let rest = source.text.get(span.start..).unwrap_or("");
    let (message, _) = message.split_once(", expected literal string").unwrap_or((message, ""));
    if message.contains("must be quoted") && rest.lines().next().is_none_or(|line| line.trim().is_empty()) {
        return Origin::new(source, &span).problem(&at, "not TOML: there is no value", "write a value after the `=`");
    }
    let help = if message.contains("duplicate key") {
        "remove one of the two; a table may be opened once"
    } else if message.contains("string") && !rest.starts_with(['"', '\'']) {
        "put texts in quotes: key = \"text\""
    } else {
        "write `key = value`, `[table]` or `[[array of tables]]`, each on a line of its own; texts in quotes"
    };
    Origin::new(source, &span).problem(&at, format!("not TOML: {message}"), help)
}
