//! JSON Schema (2020-12) of a table of settings.

use std::path::Path;

use serde_json::json;

use super::{Bounds, Map, Setting, Value};

/// A key of a table, as its schema needs it.
pub struct Property {
    name: &'static str,
    schema: Value,
    required: bool,
}

impl Property {
    /// The key `name` of type `T`.
    pub fn of<T: Setting>(
        name: &'static str,
        description: &'static str,
        bounds: &Bounds,
        default: Option<fn() -> T>,
    ) -> Self {
        let mut schema = T::schema(bounds);
        if !description.is_empty() {
            schema["description"] = Value::from(description);
        }
        let value = default.map(|default| default().to_value());
        if let Some(value) = value.filter(|value| !value.is_null()) {
            schema["default"] = value;
        }
        Self { name, schema, required: default.is_none() }
    }
}

/// The schema of a table that holds these keys and no others.
pub fn object_schema(title: &str, description: &str, properties: Vec<Property>) -> Value {
    let required: Vec<&str> = properties.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
    });
    if !description.is_empty() {
        schema["description"] = Value::from(description);
    }
    if !required.is_empty() {
        schema["required"] = Value::from(required);
    }
    schema["additionalProperties"] = Value::from(false);
    schema["properties"] =
        properties.into_iter().map(|key| (key.name.to_owned(), key.schema)).collect::<Map<_, _>>().into();
    schema
}

/// The schema of a text that is one of `names`.
pub fn choice_schema(names: &[&str]) -> Value {
    json!({ "type": "string", "enum": names })
}

pub(super) fn type_schema(name: &str) -> Value {
    json!({ "type": name })
}

pub(super) fn list_schema(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Asserts, in a plugin's own tests, that a committed file holds `schema`; with `UPDATE_SCHEMAS=1` in the environment
/// it writes the file instead.
///
/// # Panics
/// When the file is absent or differs.
pub fn assert_schema(schema: &Value, path: impl AsRef<Path>) {
    let path = path.as_ref();
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        let text = serde_json::to_string_pretty(schema).expect("a schema has only text keys");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let committed = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    assert!(
        committed.as_ref() == Some(schema),
        "{} is not the schema of the settings; UPDATE_SCHEMAS=1 cargo test writes it",
        path.display()
    );
}
