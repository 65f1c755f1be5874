//! What a schema expects and what a person wrote, in words.

use serde_json::Value;

use super::document::{Node, Tree};
use super::suggest::one_of;

/// What a value must be: "an integer from 1 to 64", "an array of 2 numbers".
pub(super) fn expected(schema: &Value) -> String {
    if let Some(branches) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        let names: Option<Vec<&str>> = branches.iter().map(|branch| branch.get("const")?.as_str()).collect();
        return match names {
            Some(names) => format!("one of {}", one_of(names)),
            None if branches.iter().all(|branch| branch.get("properties").is_some()) => "a table".to_owned(),
            None => branches.iter().map(expected).collect::<Vec<_>>().join(", or "),
        };
    }
    if let Some(names) = schema.get("enum").and_then(Value::as_array) {
        return format!("one of {}", one_of(names.iter().filter_map(Value::as_str)));
    }
    if let Some(name) = schema.get("const") {
        return name.to_string();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => format!("an integer{}{}", range(schema), multiple(schema)),
        Some("number") => format!("a number{}{}", range(schema), multiple(schema)),
        Some("string") => "a string".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("object") => "a table".to_owned(),
        Some("array") => array(schema),
        _ => "another value".to_owned(),
    }
}

fn array(schema: &Value) -> String {
    let item = schema.get("items").map_or_else(String::new, |items| format!(" of {}", plural(items)));
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    match (bound("minItems"), bound("maxItems")) {
        (Some(min), Some(max)) if min == max => format!("an array{}", item.replacen(" of ", &format!(" of {min} "), 1)),
        (Some(min), None) if min > 0 => format!("an array{item}, at least {min}"),
        (Some(min), Some(max)) => format!("an array{item}, {min} to {max}"),
        (None, Some(max)) => format!("an array{item}, at most {max}"),
        _ => format!("an array{item}"),
    }
}

fn plural(schema: &Value) -> String {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => format!("integers{}", range(schema)),
        Some("number") => format!("numbers{}", range(schema)),
        Some("string") => "strings".to_owned(),
        Some("boolean") => "booleans".to_owned(),
        Some("object") => "tables".to_owned(),
        Some("array") => "arrays".to_owned(),
        _ => "values".to_owned(),
    }
}

fn multiple(schema: &Value) -> String {
    schema.get("multipleOf").map_or_else(String::new, |step| format!(", a multiple of {step}"))
}

fn range(schema: &Value) -> String {
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number());
    let low = bound("minimum")
        .map(|min| format!("from {min}"))
        .or_else(|| bound("exclusiveMinimum").map(|min| format!("above {min}")));
    let high = bound("maximum")
        .map(|max| ("to", max.to_string()))
        .or_else(|| bound("exclusiveMaximum").map(|max| ("below", max.to_string())));
    match (low, high) {
        (Some(low), Some(("to", high))) => format!(" {low} to {high}"),
        (Some(low), Some((word, high))) => format!(" {low} and {word} {high}"),
        (Some(low), None) => match low.strip_prefix("from ") {
            Some(min) => format!(", at least {min}"),
            None => format!(" {low}"),
        },
        (None, Some(("to", high))) => format!(", at most {high}"),
        (None, Some((word, high))) => format!(" {word} {high}"),
        (None, None) => String::new(),
    }
}

/// The range of the 32-bit and smaller integers that a schema's `format` names.
pub(super) fn format_range(schema: &Value) -> Option<(f64, f64)> {
    match schema.get("format")?.as_str()? {
        "uint8" => Some((0.0, f64::from(u8::MAX))),
        "uint16" => Some((0.0, f64::from(u16::MAX))),
        "uint32" => Some((0.0, f64::from(u32::MAX))),
        "int8" => Some((f64::from(i8::MIN), f64::from(i8::MAX))),
        "int16" => Some((f64::from(i16::MIN), f64::from(i16::MAX))),
        "int32" => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
        _ => None,
    }
}

/// What was written: "the string \"8\"", "a table".
pub(super) fn got(node: &Node) -> String {
    match &node.tree {
        Tree::Table(_) => "a table".to_owned(),
        Tree::Array(_) => "an array".to_owned(),
        Tree::Leaf(Value::String(text)) => format!("the string {text:?}"),
        Tree::Leaf(Value::Number(number)) if number.is_f64() => format!("the float {number}"),
        Tree::Leaf(Value::Number(number)) => format!("the integer {number}"),
        Tree::Leaf(value) => value.to_string(),
    }
}

/// How to mend a value of the wrong type, named `key`.
pub(super) fn type_help(node: &Node, schema: &Value, key: &str) -> String {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("");
    let written = match &node.tree {
        Tree::Leaf(value) => value.to_string(),
        Tree::Table(_) | Tree::Array(_) => return format!("give {}", expected(schema)),
    };
    match (kind, &node.tree) {
        ("integer", Tree::Leaf(Value::Number(number))) if number.as_f64().is_some_and(|n| n.fract() == 0.0) => {
            format!("write {:.0}", number.as_f64().unwrap_or_default())
        }
        ("integer" | "number", Tree::Leaf(Value::String(text))) if text.parse::<f64>().is_ok() => {
            format!("take the quotes off: {text}")
        }
        ("boolean", Tree::Leaf(Value::String(text))) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => "write true".to_owned(),
            "false" | "no" | "off" => "write false".to_owned(),
            _ => "write true or false".to_owned(),
        },
        ("string", _) => format!("put it in quotes: \"{written}\""),
        ("array", _) => format!("put it in brackets: [{written}]"),
        ("object", Tree::Leaf(Value::String(text))) if schema.pointer("/properties/plugin").is_some() => {
            format!("write {key} = {{ plugin = {text:?} }}")
        }
        ("object", _) => {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let required: Vec<String> = required.filter_map(|name| Some(format!("{} = ..", name.as_str()?))).collect();
            format!("write {key} = {{ {} }}", if required.is_empty() { "..".to_owned() } else { required.join(", ") })
        }
        _ => format!("give {}", expected(schema)),
    }
}

/// The first sentence of a schema's description.
pub(super) fn first_sentence(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?.split("\n\n").next()?.replace('\n', " ");
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    Some(text[..end].to_owned())
}
