//! Settings made of a JSON Schema: those it demands, others that it allows, and some that it does not.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// The settings of a schema, by name.
pub fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The settings that have to be given, each in the middle of what it may be.
pub fn required(schema: &Value) -> Map<String, Value> {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| (name.to_owned(), middle(&schema["properties"][name]))).collect()
}

fn middle(property: &Value) -> Value {
    if let Some(default) = property.get("default") {
        return default.clone();
    }
    if let Some(first) = property["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let (low, high) = bounds(property);
    match kind_of(property) {
        "integer" => json!(low.max(1.0).min(high).ceil() as i64),
        "number" => json!(if low.is_finite() && high.is_finite() { f64::midpoint(low, high) } else { low.max(1.0) }),
        "boolean" => json!(false),
        "array" => json!([]),
        "object" => json!({}),
        _ => json!(""),
    }
}

/// Settings that the schema allows: `base` with some changed, most of them near their bounds.
pub fn valid(schema: &Value, base: &Map<String, Value>, random: &mut ChaCha8Rng) -> Map<String, Value> {
    let mut config = base.clone();
    for (name, property) in properties(schema) {
        if random.random_bool(0.6)
            && let Some(value) = allowed(property, random)
        {
            config.insert(name.clone(), value);
        }
    }
    config
}

/// A value that a setting may have; none where the schema does not tell enough to make one.
fn allowed(property: &Value, random: &mut ChaCha8Rng) -> Option<Value> {
    if let Some(values) = property["enum"].as_array() {
        return values.get(random.random_range(0..values.len().max(1))).cloned();
    }
    let (low, high) = bounds(property);
    match kind_of(property) {
        "boolean" => Some(json!(random.random_bool(0.5))),
        "integer" => {
            let (low, high) = (low.max(-1e6), high.min(low.max(0.0) + 1e4));
            let value = low + random.random::<f64>().powi(3) * (high - low);
            Some(json!(value.round().clamp(low, high) as i64))
        }
        "number" => {
            let typical = property["default"].as_f64().unwrap_or(1.0).abs().max(1e-3);
            let low = if low.is_finite() { low } else { -4.0 * typical };
            let high = if high.is_finite() { high } else { low.max(0.0) + 8.0 * typical };
            let value = low + random.random::<f64>() * (high - low);
            Some(json!(value))
        }
        _ => None,
    }
}

/// Values that a setting may not have, each with what is wrong with it.
pub fn forbidden(property: &Value) -> Vec<(String, Value)> {
    let mut values = Vec::new();
    let whole = kind_of(property) == "integer";
    for (key, step) in [("minimum", -1.0), ("maximum", 1.0), ("exclusiveMinimum", 0.0), ("exclusiveMaximum", 0.0)] {
        let Some(bound) = property[key].as_f64() else { continue };
        let value = if whole { json!((bound + step) as i64) } else { json!(bound + step) };
        values.push((format!("{value} breaks {key} = {bound}"), value));
    }
    if property["enum"].is_array() {
        values.push(("none of the values there are".to_owned(), json!("no-such-value")));
    }
    values
}

/// A value of another type than the setting's.
pub fn wrong_type(property: &Value) -> Value {
    match kind_of(property) {
        "string" => json!(17),
        "boolean" => json!("yes"),
        "array" => json!({ "a": 1 }),
        "object" => json!([1]),
        _ => json!("a word"),
    }
}

/// Something that no author thought of, in place of one of the settings or beside them.
pub fn hostile(schema: &Value, base: &Map<String, Value>, random: &mut ChaCha8Rng) -> Map<String, Value> {
    let mut config = base.clone();
    let names: Vec<&String> = properties(schema).map(|(name, _)| name).collect();
    let name = match names.get(random.random_range(0..=names.len())) {
        Some(name) => (*name).clone(),
        None => "unasked".to_owned(),
    };
    let value = match random.random_range(0..12) {
        0 => json!(null),
        1 => json!(-1),
        2 => json!(0),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(-1e-308),
        6 => json!("x".repeat(65_536)),
        7 => json!("\u{0}\u{202e}\u{fffd}"),
        8 => json!(vec![1.0; 4096]),
        9 => json!({ "a": { "b": [] } }),
        10 => json!(true),
        _ => nested(1000),
    };
    config.insert(name, value);
    config
}

/// Lists in lists.
pub fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(0), |inner, _| Value::Array(vec![inner]))
}

/// What a number may be between, exclusive bounds a little inside.
fn bounds(property: &Value) -> (f64, f64) {
    let bound = |key: &str| property[key].as_f64();
    let inside = |bound: f64, up: f64| bound + up * (bound.abs() * 1e-3).max(1e-3);
    let low = bound("minimum").or(bound("exclusiveMinimum").map(|bound| inside(bound, 1.0)));
    let high = bound("maximum").or(bound("exclusiveMaximum").map(|bound| inside(bound, -1.0)));
    (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY))
}

/// The JSON type of a setting; the first that is not null where several are allowed.
fn kind_of(property: &Value) -> &str {
    match &property["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or(""),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["steps", "mode"],
            "properties": {
                "steps": { "type": "integer", "minimum": 1, "maximum": 1000 },
                "rho": { "type": "number", "exclusiveMinimum": 0.0, "default": 7.0 },
                "mode": { "type": "string", "enum": ["a", "b"] },
                "loud": { "type": "boolean", "default": false },
            }
        })
    }

    #[test]
    fn made_settings_are_what_the_schema_allows() {
        let (schema, mut random) = (schema(), ChaCha8Rng::seed_from_u64(1));
        let validator = jsonschema::validator_for(&schema).unwrap();
        let base = required(&schema);
        assert!(validator.is_valid(&Value::Object(base.clone())), "{base:?}");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let config = Value::Object(valid(&schema, &base, &mut random));
            assert!(validator.is_valid(&config), "{config}");
            seen.insert(config.to_string());
        }
        assert!(seen.len() > 100);
    }

    #[test]
    fn forbidden_values_are_forbidden() {
        let schema = schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let base = required(&schema);
        let mut count = 0;
        for (name, property) in properties(&schema) {
            let wrong = ("type".to_owned(), wrong_type(property));
            for (why, value) in forbidden(property).into_iter().chain([wrong]) {
                let mut config = base.clone();
                config.insert(name.clone(), value);
                assert!(!validator.is_valid(&Value::Object(config)), "{name}: {why}");
                count += 1;
            }
        }
        assert_eq!(count, 8);
    }
}
