//! A config with faults made readable, so that what is wrong elsewhere is found in the same go.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::schema::host_table;

/// The key whose value decides what else a table holds.
const TAG: &str = "kind";

/// Puts something that the `schema` takes where the `problems` are. Nothing of it is to be used: it only stands there.
pub(super) fn repaired(mut value: Value, schema: &Value, problems: &[Problem]) -> Value {
    for problem in problems {
        let keys = toml_edit::Key::parse(&problem.key).unwrap_or_default();
        let mut at: Vec<String> = keys.iter().map(|key| key.get().to_owned()).collect();
        if at.last().is_some_and(|last| last == TAG) {
            at.pop();
        }
        let Some((last, table)) = at.split_last() else { continue };
        let known = host_table(schema, &at);
        // Keys that nobody knows are left out already, and the settings of plugins are theirs.
        if known.as_object().is_none_or(Map::is_empty) {
            continue;
        }
        let stand_in = stand_in(&known);
        match table.iter().try_fold(&mut value, |value, key| member(value, key)) {
            Some(Value::Object(members)) => drop(members.insert(last.clone(), stand_in)),
            Some(Value::Array(items)) => {
                if let Some(item) = last.parse().ok().and_then(|idx: usize| items.get_mut(idx)) {
                    *item = stand_in;
                }
            }
            _ => {}
        }
    }
    value
}

fn member<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(members) => members.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Something that `schema` takes.
fn stand_in(schema: &Value) -> Value {
    for known in ["default", "const"] {
        if let Some(value) = schema.get(known) {
            return value.clone();
        }
    }
    let first = |list: &str| schema.get(list).and_then(Value::as_array).and_then(|items| items.first());
    if let Some(value) = first("enum").or_else(|| first("examples")) {
        return value.clone();
    }
    if let Some(branch) = first("oneOf").or_else(|| first("anyOf")) {
        return stand_in(branch);
    }
    let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(Value::from(1)),
        Some("boolean") => Value::Bool(false),
        Some("array") => {
            let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
            (0..count).map(|_| schema.get("items").map_or(Value::Null, stand_in)).collect()
        }
        Some("object") => {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let members = required.filter_map(|name| {
                let name = name.as_str()?;
                Some((name.to_owned(), stand_in(schema.get("properties")?.get(name)?)))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        _ => Value::from("x"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{RunConfig, RunKind};

    fn problem(key: &str) -> Problem {
        Problem { file: None, line: 0, column: 0, key: key.to_owned(), message: String::new(), help: None }
    }

    #[test]
    fn what_is_wrong_or_missing_gets_a_stand_in_of_its_schema() {
        let value = json!({ "run": {}, "data": { "batch_size": "two", "source": { "kind": "emojy", "size": 32 } } });
        let keys = ["run.dir", "data.batch_size", "data.source.kind"].map(problem);
        let repaired = repaired(value, RunConfig::schema(), &keys);
        assert_eq!(repaired["data"]["batch_size"], json!(1));
        assert_eq!(repaired["run"]["dir"], json!("x"));
        let source = serde_json::from_value::<crate::config::SourceConfig>(repaired["data"]["source"].clone());
        assert!(source.is_ok(), "{source:?}");
    }

    #[test]
    fn places_that_are_not_there_are_left() {
        let value = json!({ "model": { "embedders": [{ "plugin": "class" }] } });
        let keys = ["", "nowhere.at.all", "model.embedders.7.plugin", "model.networks"].map(problem);
        assert_eq!(repaired(value.clone(), RunConfig::schema(), &keys), value);
    }
}
