//! A tree against a schema: names, types, ranges and kinds, each fault at its place with its remedy.

use serde_json::{Map, Value};

use super::describe::{expected, first_sentence, format_range, got, type_help};
use super::document::{Key, Node, Origin, Tree, dotted};
use super::paths::{self, Files};
use super::problem::{Problem, TOLD_MAX};
use super::schema::PATH_MARK;
use super::suggest::{closest, did_you_mean, one_of};
use super::upstream;

/// Checks `node`, which stands at `at`, and returns its value with paths made absolute. `vocabulary` is the schema of
/// the whole config, to say where a stray key belongs.
pub(super) fn check(
    node: &Node,
    schema: &Value,
    at: &[String],
    vocabulary: &Value,
    files: Files,
) -> (Value, Vec<Problem>) {
    let mut walk = Walk { vocabulary, at: at.to_vec(), files, problems: Vec::new() };
    let value = walk.value(node, schema);
    (value, walk.problems)
}

struct Walk<'a> {
    vocabulary: &'a Value,
    at: Vec<String>,
    files: Files,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn wrong(&mut self, node: &Node, message: impl Into<String>, help: impl Into<String>) {
        self.tell(&node.origin, message, help);
    }

    fn tell(&mut self, origin: &Origin, message: impl Into<String>, help: impl Into<String>) {
        if self.problems.len() < TOLD_MAX {
            self.problems.push(origin.problem(&self.at, message, help));
        } else if !self.is_full() {
            self.problems.push(origin.problem(&self.at, "more faults follow from here on", "mend the others first"));
        }
    }

    /// Whether no more faults are told.
    fn is_full(&self) -> bool {
        self.problems.len() > TOLD_MAX
    }

    /// A fault of the value itself, its remedy followed by what the setting means.
    fn wrong_value(&mut self, node: &Node, schema: &Value, message: String, help: &str) {
        let help = match first_sentence(schema) {
            Some(meaning) => format!("{help}. {meaning}"),
            None => help.to_owned(),
        };
        self.wrong(node, message, help);
    }

    fn value(&mut self, node: &Node, schema: &Value) -> Value {
        if matches!(node.tree, Tree::Leaf(Value::Null)) || !schema.is_object() {
            return node.to_value();
        }
        if let Some(branches) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
            return self.union(node, schema, branches);
        }
        if let Some(names) = names_of(std::slice::from_ref(schema)) {
            return self.name(node, schema, &names);
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| is_of_type(node, name)) {
            let message = format!("expected {}, got {}", expected(schema), got(node));
            self.wrong_value(
                node,
                schema,
                message,
                &type_help(node, schema, self.at.last().map_or("", String::as_str)),
            );
            return node.to_value();
        }
        match &node.tree {
            Tree::Table(entries) => self.table(node, entries, schema),
            Tree::Array(items) => self.array(node, items, schema),
            Tree::Leaf(Value::Number(number)) => {
                if let Some(bounds) = out_of_bounds(number.as_f64().unwrap_or(f64::NAN), schema) {
                    self.wrong_value(
                        node,
                        schema,
                        format!("{number} is {bounds}"),
                        &format!("give {}", expected(schema)),
                    );
                }
                node.to_value()
            }
            Tree::Leaf(Value::String(text)) => self.text(node, text, schema),
            Tree::Leaf(_) => node.to_value(),
        }
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Value) -> Value {
        if schema.get(PATH_MARK).is_some() {
            let (path, fault) = paths::resolve(text, &node.origin.source.dir, &schema[PATH_MARK], self.files);
            if let Some((message, help)) = fault {
                self.wrong(node, message, help);
            }
            return Value::String(path);
        }
        let too_short = schema["minLength"].as_u64().is_some_and(|min| (text.chars().count() as u64) < min);
        let pattern = schema.get("pattern").map(|pattern| serde_json::json!({ "pattern": pattern }));
        let fits = pattern.is_none_or(|pattern| jsonschema::is_valid(&pattern, &node.to_value()));
        if too_short {
            self.wrong_value(node, schema, "must not be empty".to_owned(), "give a text");
        } else if !fits {
            let examples: Vec<&str> =
                schema["examples"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let help = match examples[..] {
                [] => format!("give a text of the form {}", schema["pattern"]),
                _ => did_you_mean(text, examples),
            };
            self.wrong_value(node, schema, format!("{text:?} is not allowed"), &help);
        }
        node.to_value()
    }

    /// One of several names.
    fn name(&mut self, node: &Node, schema: &Value, names: &[&str]) -> Value {
        match node.as_str() {
            Some(text) if names.contains(&text) => {}
            Some(text) => {
                let help = did_you_mean(text, names.iter().copied());
                self.wrong_value(node, schema, format!("unknown value {text:?}"), &help);
            }
            None => {
                let message = format!("expected a string, got {}", got(node));
                self.wrong_value(node, schema, message, &format!("it takes {}", one_of(names.iter().copied())));
            }
        }
        node.to_value()
    }

    fn union(&mut self, node: &Node, schema: &Value, branches: &[Value]) -> Value {
        if let Some(names) = names_of(branches) {
            return self.name(node, schema, &names);
        }
        if let Some(tag) = tag_of(branches) {
            return self.tagged(node, schema, branches, tag);
        }
        let fitting: Vec<&Value> =
            branches.iter().filter(|branch| types(branch).iter().any(|name| is_of_type(node, name))).collect();
        if let [only] = fitting[..] {
            return self.value(node, only);
        }
        // Of several, the one with the fewest faults was meant.
        let walks = fitting.iter().map(|branch| check(node, branch, &self.at, self.vocabulary, self.files));
        match walks.min_by_key(|(_, problems)| problems.len()) {
            Some((value, problems)) => {
                self.problems.extend(problems);
                value
            }
            None => {
                let message = format!("expected {}, got {}", expected(schema), got(node));
                self.wrong_value(node, schema, message, &format!("give {}", expected(schema)));
                node.to_value()
            }
        }
    }

    /// A table whose key `tag` says which branch it is of.
    fn tagged(&mut self, node: &Node, schema: &Value, branches: &[Value], tag: &str) -> Value {
        let mut kinds: Vec<&str> = branches.iter().filter_map(|branch| tag_name(branch, tag)).collect();
        kinds.dedup();
        if !matches!(node.tree, Tree::Table(_)) {
            let message = format!("expected a table with `{tag}`, got {}", got(node));
            let name = node.as_str().and_then(|text| closest(text, kinds.iter().copied())).unwrap_or(kinds[0]);
            let key = self.at.last().map_or("", String::as_str);
            self.wrong_value(node, schema, message, &format!("write {key} = {{ {tag} = {name:?} }}"));
            return node.to_value();
        }
        let Some(chosen) = node.get(tag) else {
            if self.is_mistyped(node, tag) {
                return node.to_value();
            }
            let help = format!("add `{tag} = ..`, which is one of {}", one_of(kinds));
            self.at.push(tag.to_owned());
            self.wrong_value(node, schema, "is missing".to_owned(), &help);
            self.at.pop();
            return node.to_value();
        };
        let of_kind: Vec<Value> = branches
            .iter()
            .filter(|branch| chosen.as_str().is_some() && tag_name(branch, tag) == chosen.as_str())
            .cloned()
            .collect();
        self.at.push(tag.to_owned());
        match (of_kind.is_empty(), chosen.as_str()) {
            (true, Some(text)) => {
                let message = format!("unknown {tag} {text:?}");
                self.wrong_value(chosen, schema, message, &did_you_mean(text, kinds.iter().copied()));
            }
            (true, None) => {
                let message = format!("expected a string, got {}", got(chosen));
                self.wrong_value(chosen, schema, message, &format!("it takes {}", one_of(kinds)));
            }
            (false, _) => {}
        }
        self.at.pop();
        match &of_kind[..] {
            [] => node.to_value(),
            [only] => self.value(node, only),
            several => self.union(node, schema, several),
        }
    }

    /// Reports the key that stands for `name`, which the table lacks, if there is one.
    fn is_mistyped(&mut self, table: &Node, name: &str) -> bool {
        let Tree::Table(entries) = &table.tree else {
            return false;
        };
        let Some(typo) = closest(name, entries.iter().map(|(key, _)| key.name.as_str())) else {
            return false;
        };
        for (key, _) in entries.iter().filter(|(key, _)| key.name == typo) {
            self.at.push(typo.to_owned());
            self.tell(&key.origin, "unknown key", format!("did you mean `{name}`?"));
            self.at.pop();
        }
        true
    }

    fn array(&mut self, node: &Node, items: &[Node], schema: &Value) -> Value {
        let bound = |name: &str| schema[name].as_u64().map(|bound| bound as usize);
        let few = bound("minItems").is_some_and(|min| items.len() < min);
        let many = bound("maxItems").is_some_and(|max| items.len() > max);
        if few || many {
            let message = format!("expected {}, got {} of them", expected(schema), items.len());
            self.wrong_value(node, schema, message, &format!("give {}", expected(schema)));
        }
        let values = items.iter().enumerate().map(|(idx, item)| {
            self.at.push(idx.to_string());
            let value = self.value(item, schema.get("items").unwrap_or(&Value::Bool(true)));
            self.at.pop();
            value
        });
        Value::Array(values.collect())
    }

    fn table(&mut self, node: &Node, entries: &[(Key, Node)], schema: &Value) -> Value {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let others = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let mut meant = Vec::new();
        let mut values = Map::new();
        for (key, item) in entries {
            self.at.push(key.name.clone());
            match properties.get(&key.name) {
                Some(schema) => {
                    values.insert(key.name.clone(), self.value(item, schema));
                }
                None if *others == Value::Bool(false) => meant.extend(self.unknown_key(key, node, properties)),
                None => {
                    values.insert(key.name.clone(), self.value(item, others));
                }
            }
            self.at.pop();
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|name| node.get(name).is_none() && !meant.contains(name)) {
            // In an open table a mistyped key passes for a setting of its own.
            if *others != Value::Bool(false) && self.is_mistyped(node, name) {
                continue;
            }
            self.at.push(name.to_owned());
            let property = &properties.get(name).unwrap_or(&Value::Null);
            // A component has a table for each kind.
            let types = types(property);
            let help = if !types.is_empty() && types.iter().all(|name| *name == "object") {
                format!("add the table [{}]", dotted(&self.at))
            } else {
                format!("add `{name} = ..`, {}", expected(property))
            };
            self.wrong_value(node, property, "is missing".to_owned(), &help);
            self.at.pop();
        }
        Value::Object(values)
    }

    /// Reports the key at `self.at`, which the table does not have, and returns the key that was meant.
    fn unknown_key<'p>(&mut self, key: &Key, table: &Node, properties: &'p Map<String, Value>) -> Option<&'p str> {
        if self.is_full() {
            return None;
        }
        let names = || properties.keys().map(String::as_str);
        let free = names().filter(|name| table.get(name).is_none());
        let near = closest(&key.name, free).or_else(|| closest(&key.name, names()));
        let help = match near {
            Some(name) => format!("did you mean `{name}`?"),
            None => match upstream::home_of(&key.name, self.vocabulary) {
                Some(place) => place,
                None => {
                    let here = self.at[..self.at.len() - 1].to_vec();
                    let table = match here.is_empty() {
                        true => "the file".to_owned(),
                        false => format!("[{}]", dotted(&here)),
                    };
                    format!("take it out; {table} knows {}", names().collect::<Vec<_>>().join(", "))
                }
            },
        };
        self.tell(&key.origin, "unknown key", help);
        near
    }
}

/// The types that a schema names, or that its branches or constants have.
fn types(schema: &Value) -> Vec<&str> {
    if let Some(branches) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        return branches.iter().flat_map(types).collect();
    }
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ if names_of(std::slice::from_ref(schema)).is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

fn is_of_type(node: &Node, name: &str) -> bool {
    match (&node.tree, name) {
        (Tree::Table(_), name) => name == "object",
        (Tree::Array(_), name) => name == "array",
        (Tree::Leaf(Value::Number(number)), "integer") => number.is_i64(),
        (Tree::Leaf(Value::Number(_)), name) => name == "number",
        (Tree::Leaf(Value::String(_)), name) => name == "string",
        (Tree::Leaf(Value::Bool(_)), name) => name == "boolean",
        (Tree::Leaf(_), _) => false,
    }
}

/// The names of a union of constants (or of one `enum`), if it is one.
fn names_of(branches: &[Value]) -> Option<Vec<&str>> {
    let names = branches.iter().map(|branch| match (branch.get("const"), branch.get("enum")) {
        (Some(name), _) => Some(vec![name.as_str()?]),
        (None, Some(names)) => names.as_array()?.iter().map(Value::as_str).collect(),
        (None, None) => None,
    });
    Some(names.collect::<Option<Vec<_>>>()?.concat()).filter(|names| !names.is_empty())
}

/// The key by whose constant value the branches differ.
fn tag_of(branches: &[Value]) -> Option<&str> {
    let properties = branches.first()?.get("properties")?.as_object()?;
    let mut keys = properties.keys().map(String::as_str);
    keys.find(|key| {
        let names: Option<Vec<&str>> = branches.iter().map(|branch| tag_name(branch, key)).collect();
        names.is_some_and(|names| names.len() == 1 || names.iter().any(|name| *name != names[0]))
    })
}

fn tag_name<'a>(branch: &'a Value, tag: &str) -> Option<&'a str> {
    branch.get("properties")?.get(tag)?.get("const")?.as_str()
}

/// How `number` breaks the schema's bounds, if it does.
fn out_of_bounds(number: f64, schema: &Value) -> Option<String> {
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number());
    let breaks = |name: &str, ok: fn(f64, f64) -> bool, words: &str| {
        let bound = bound(name)?;
        (!ok(number, bound.as_f64()?)).then(|| format!("{words} {bound}"))
    };
    breaks("minimum", |n, b| n >= b, "below")
        .or_else(|| breaks("exclusiveMinimum", |n, b| n > b, "not above"))
        .or_else(|| breaks("maximum", |n, b| n <= b, "above"))
        .or_else(|| breaks("exclusiveMaximum", |n, b| n < b, "not below"))
        .or_else(|| breaks("multipleOf", |n, b| n % b == 0.0, "no multiple of"))
        .or_else(|| {
            let (min, max) = format_range(schema)?;
            (!(min..=max).contains(&number)).then(|| format!("out of the range from {min} to {max}"))
        })
}
