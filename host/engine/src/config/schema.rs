//! The JSON Schema of a config: for editors, and for the walk that checks one.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{AutoencoderRunConfig, PluginKind, RunConfig, RunKind};

/// Marks a plugin's table with the kind of plugin that it takes.
pub(super) const PLUGIN_MARK: &str = "x-anneal-plugin";

/// Marks a path that is relative to the file that writes it; its value says what must be there.
pub(super) const PATH_MARK: &str = "x-anneal-path";

/// The schema of [`RunConfig`] with every reference resolved and without null, which TOML does not have.
pub(super) static RUN_SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<RunConfig>);

/// The schema of [`AutoencoderRunConfig`], made likewise.
pub(super) static AUTOENCODER_RUN_SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<AutoencoderRunConfig>);

fn schema_of<C: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    normalized(settings.into_generator().into_root_schema_for::<C>().as_value())
}

/// The JSON Schema (2020-12) of a config file, plugins' tables left open.
pub fn schema<C: RunKind>() -> Value {
    schema_with_plugins::<C>(&[])
}

/// The JSON Schema (2020-12) of a config file in which each plugin's table takes the settings of one of `entries`.
///
/// An entry is its kind, the name that `plugin = ".."` gives it, and the schema of its own settings. An entry with two
/// names (`edm` and `vendor.name/edm`) is listed twice. Tables of a kind without entries stay open.
pub fn schema_with_plugins<C: RunKind>(entries: &[(PluginKind, String, Value)]) -> Value {
    let mut schema = C::schema().clone();
    close_plugin_tables(&mut schema, entries);
    if let Value::Object(root) = &mut schema {
        let extends = json!({
            "description": "Config files beneath this one, relative to it; later ones win, and this one over all.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        });
        if let Some(Value::Object(properties)) = root.get_mut("properties") {
            properties.insert("extends".to_owned(), extends);
        }
        // A file that extends another may leave whole sections to it.
        if let Some(required) = root.remove("required") {
            root.insert("if".to_owned(), json!({ "not": { "required": ["extends"] } }));
            root.insert("then".to_owned(), json!({ "required": required }));
        }
    }
    schema
}

fn close_plugin_tables(schema: &mut Value, entries: &[(PluginKind, String, Value)]) {
    let kind = schema.get(PLUGIN_MARK).and_then(|mark| serde_json::from_value::<PluginKind>(mark.clone()).ok());
    if let Some(kind) = kind {
        let of_kind = entries.iter().filter(|(of, _, _)| *of == kind);
        let tables: Vec<Value> = of_kind.flat_map(|(_, name, entry)| plugin_tables(schema, name, entry)).collect();
        if !tables.is_empty() {
            let description = schema.get("description").cloned().unwrap_or_default();
            *schema = json!({ "description": description, "oneOf": tables });
        }
        return;
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(|member| close_plugin_tables(member, entries)),
        Value::Array(items) => items.iter_mut().for_each(|item| close_plugin_tables(item, entries)),
        _ => {}
    }
}

/// The tables that `host`, the schema of a plugin's table, takes for the plugin `name` whose settings are `entry`'s:
/// several where the settings are a union.
pub(super) fn plugin_tables(host: &Value, name: &str, entry: &Value) -> Vec<Value> {
    let entry = normalized(entry);
    let branches = match entry.get("oneOf").or_else(|| entry.get("anyOf")).and_then(Value::as_array) {
        Some(branches) => branches.clone(),
        None => vec![entry.clone()],
    };
    branches.iter().map(|branch| plugin_table(host, name, branch, &entry)).collect()
}

fn plugin_table(host: &Value, name: &str, branch: &Value, entry: &Value) -> Value {
    let mut properties = host.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    properties.insert("plugin".to_owned(), json!({ "type": "string", "const": name }));
    let mut required = list(host, "required");
    for part in [entry, branch] {
        if let Some(own) = part.get("properties").and_then(Value::as_object) {
            properties.extend(own.iter().map(|(key, schema)| (key.clone(), schema.clone())));
        }
        let new = list(part, "required");
        required.extend(new.into_iter().filter(|key| !required.contains(key)).collect::<Vec<_>>());
    }
    // A schema in parts that cannot be joined here (allOf, if) may allow more keys than its properties name.
    let in_parts =
        ["allOf", "if", "patternProperties", "dependentSchemas"].iter().any(|part| branch.get(part).is_some());
    let open = branch.get("additionalProperties").cloned().unwrap_or(Value::Bool(in_parts));
    let mut table = Map::new();
    if let Some(description) = branch.get("description").or_else(|| entry.get("description")) {
        table.insert("description".to_owned(), description.clone());
    }
    table.insert("type".to_owned(), json!("object"));
    table.insert("properties".to_owned(), Value::Object(properties));
    table.insert("required".to_owned(), Value::Array(required));
    table.insert("additionalProperties".to_owned(), open);
    Value::Object(table)
}

fn list(schema: &Value, key: &str) -> Vec<Value> {
    schema.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Values in a schema once its references are resolved: definitions that each refer to another twice grow without end.
const VALUES_MAX: usize = 100_000;

/// `schema` with its local references resolved and its nulls gone. A schema that contains itself is cut where it
/// recurs, or has grown past all measure, and takes anything there.
pub(super) fn normalized(schema: &Value) -> Value {
    let mut plain = Normalizer { root: schema, open: Vec::new(), values: 0 }.schema(schema);
    if let Value::Object(members) = &mut plain {
        members.remove("$defs");
        members.remove("definitions");
    }
    plain
}

struct Normalizer<'a> {
    root: &'a Value,
    /// References being resolved, outermost first.
    open: Vec<String>,
    /// Values so far.
    values: usize,
}

impl Normalizer<'_> {
    fn schema(&mut self, schema: &Value) -> Value {
        let Value::Object(members) = schema else {
            return schema.clone();
        };
        self.values += members.len();
        let mut plain = Map::new();
        for (keyword, value) in members {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    if let Value::Object(target) = self.target(reference) {
                        for (keyword, value) in target {
                            plain.entry(keyword).or_insert(value);
                        }
                    }
                }
                ("type", Value::Array(types)) => {
                    let types: Vec<&Value> = types.iter().filter(|name| *name != "null").collect();
                    plain.insert("type".to_owned(), if let [one] = types[..] { one.clone() } else { json!(types) });
                }
                ("default", Value::Null) => {}
                ("properties" | "patternProperties", Value::Object(map)) => {
                    let map = map.iter().map(|(key, schema)| (key.clone(), self.schema(schema))).collect();
                    plain.insert(keyword.clone(), Value::Object(map));
                }
                ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(branches)) => {
                    let branches = branches.iter().filter(|branch| branch.get("type") != Some(&json!("null")));
                    let branches = branches.map(|branch| self.schema(branch)).collect();
                    plain.insert(keyword.clone(), Value::Array(branches));
                }
                ("items" | "additionalProperties" | "not" | "if" | "then" | "else", value) => {
                    plain.insert(keyword.clone(), self.schema(value));
                }
                (_, value) => {
                    self.values += count(value);
                    plain.insert(keyword.clone(), value.clone());
                }
            }
        }
        only_branch(plain)
    }

    fn target(&mut self, reference: &str) -> Value {
        let known = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        match known {
            Some(target) if self.values < VALUES_MAX && !self.open.iter().any(|open| open == reference) => {
                self.open.push(reference.to_owned());
                let plain = self.schema(target);
                self.open.pop();
                plain
            }
            _ => Value::Bool(true),
        }
    }
}

/// Values in a value; a long text counts as several.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        Value::String(text) => 1 + text.len() / 32,
        _ => 1,
    }
}

/// A union of one branch (an `Option` without its null) is that branch; what stands around it wins.
fn only_branch(mut schema: Map<String, Value>) -> Value {
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some([Value::Object(branch)]) = schema.get(keyword).and_then(Value::as_array).map(Vec::as_slice) {
            // A component with a single kind stays a union, so that its kind is checked as one.
            if branch.get("properties").is_some_and(|properties| properties.get("kind").is_some()) {
                continue;
            }
            let branch = branch.clone();
            schema.remove(keyword);
            for (keyword, value) in branch {
                schema.entry(keyword).or_insert(value);
            }
        }
    }
    Value::Object(schema)
}

/// The schema of the table at `at`: of a plugin's, the host's own part.
pub(super) fn host_table(schema: &Value, at: &[String]) -> Value {
    let mut schema = schema;
    for segment in at {
        let branches = schema.get("oneOf").and_then(Value::as_array);
        let inner = match branches {
            Some(branches) => branches.iter().find_map(|branch| property(branch, segment)),
            None => property(schema, segment),
        };
        match inner.or_else(|| schema.get("items")) {
            Some(inner) => schema = inner,
            None => return Value::Object(serde_json::Map::new()),
        }
    }
    schema.clone()
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties").and_then(|properties| properties.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_and_recursion_is_cut() {
        let schema = json!({
            "type": "object",
            "properties": { "a": { "$ref": "#/$defs/A", "description": "outer" }, "b": { "type": ["integer", "null"] } },
            "$defs": { "A": { "description": "inner", "properties": { "next": { "$ref": "#/$defs/A" } } } },
        });
        let plain = normalized(&schema);
        assert_eq!(plain["properties"]["a"]["description"], "outer");
        assert_eq!(plain["properties"]["a"]["properties"]["next"], json!({}));
        assert_eq!(plain["properties"]["b"], json!({ "type": "integer" }));
        assert!(!plain.to_string().contains("$ref"));
    }

    #[test]
    fn references_that_grow_are_cut() {
        let next = |i: usize| json!({ "$ref": format!("#/$defs/{i}") });
        let defs: Map<String, Value> =
            (0..60).map(|i| (i.to_string(), json!({ "items": next(i + 1), "not": next(i + 1) }))).collect();
        let plain = normalized(&json!({ "properties": { "a": next(0) }, "$defs": defs }));
        assert!(plain["properties"]["a"]["items"]["items"].is_object());
        assert!(plain.to_string().len() < 20 * VALUES_MAX);
    }

    #[test]
    fn every_plugin_table_is_marked_with_its_kind() {
        let mut marks = Vec::new();
        collect_marks(&RUN_SCHEMA, &mut marks);
        marks.sort();
        marks.dedup();
        let all = ["discretization", "embedder", "guidance", "learning-rate", "sampler", "sigma-sampling", "weighting"];
        assert_eq!(marks, all);
    }

    fn collect_marks(schema: &Value, marks: &mut Vec<String>) {
        if let Some(mark) = schema.get(PLUGIN_MARK).and_then(Value::as_str) {
            marks.push(mark.to_owned());
            return;
        }
        let open =
            schema.pointer("/properties/plugin/const").is_none() && schema.pointer("/properties/plugin").is_some();
        assert!(!open, "a plugin's table without its mark: {schema}");
        match schema {
            Value::Object(members) => members.values().for_each(|member| collect_marks(member, marks)),
            Value::Array(items) => items.iter().for_each(|item| collect_marks(item, marks)),
            _ => {}
        }
    }

    #[test]
    fn plugin_tables_take_their_entry_and_no_more() {
        let euler = json!({
            "type": "object",
            "properties": { "s_churn": { "type": "number", "minimum": 0.0, "default": 0.0 } },
        });
        let class = json!({ "type": "object", "properties": { "dim": { "type": "integer" } }, "required": ["dim"] });
        let schema = schema_with_plugins::<RunConfig>(&[
            (PluginKind::Sampler, "euler-edm".to_owned(), euler),
            (PluginKind::Embedder, "class".to_owned(), class),
        ]);
        let sampling = &schema["properties"]["sampling"]["properties"];
        let valid = |schema: &Value, value: Value| jsonschema::validator_for(schema).unwrap().is_valid(&value);
        assert!(valid(&sampling["sampler"], json!({ "plugin": "euler-edm", "s_churn": 1.5 })));
        assert!(!valid(&sampling["sampler"], json!({ "plugin": "euler-edm", "s_chrun": 1.5 })));
        assert!(!valid(&sampling["sampler"], json!({ "plugin": "heun-edm" })));
        assert!(valid(&sampling["discretization"], json!({ "plugin": "edm", "anything": 1 })));
        let embedders = &schema["properties"]["model"]["properties"]["embedders"];
        assert!(valid(embedders, json!([{ "plugin": "class", "dim": 4, "input_key": "class", "ucg_rate": 0.1 }])));
        assert!(!valid(embedders, json!([{ "plugin": "class", "input_key": "class" }])));
        assert!(!valid(embedders, json!([{ "plugin": "class", "dim": 4, "ucg_rate": 1.1 }])));
    }

    #[test]
    fn a_file_that_extends_another_may_leave_sections_out() {
        let validator = jsonschema::validator_for(&schema::<RunConfig>()).unwrap();
        assert!(validator.is_valid(&json!({ "extends": "base.toml", "train": { "steps": 3 } })));
        assert!(!validator.is_valid(&json!({ "train": { "steps": 3 } })));
    }
}
