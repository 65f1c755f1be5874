//! Parsing and schema of derived settings.

use serde_json::json;

use super::{Config, ConfigError, Map, OneOrMany, Value};

/// How periods are fused.
#[derive(Config, Debug, Clone, Copy, PartialEq)]
enum Fusing {
    Max,
    SlowMean,
}

/// A table with one key of each type.
#[derive(Config, Debug, PartialEq)]
#[config(check = ordered)]
struct Everything {
    /// Smallest sigma,
    /// in standard deviations.
    #[config(default = 0.002, exclusive_min = 0.0)]
    sigma_min: f64,
    /// Largest sigma.
    #[config(default = OneOrMany::One(80), exclusive_min = 0.0, max = 1000)]
    sigma_max: OneOrMany<i64>,
    /// Number of classes.
    #[config(min = 1)]
    n_classes: u32,
    #[config(default = Fusing::Max)]
    fusing: Fusing,
    #[config(default = "text")]
    name: String,
    #[config(default)]
    flip: bool,
    /// Upper end of the range; no end if absent.
    #[config(exclusive_max = 10.0)]
    end: Option<f64>,
    #[config(default = vec![1, 2], min = 1)]
    cycles: Vec<u64>,
}

fn ordered(config: &Everything) -> Result<(), ConfigError> {
    if config.end.is_some_and(|end| end < config.sigma_min) {
        return Err(ConfigError::new("/end", "is below sigma_min"));
    }
    Ok(())
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn messages(value: Value) -> Vec<String> {
    Everything::from_map(&map(value)).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_filled_in() {
    let config = Everything::from_map(&map(json!({ "n_classes": 3 }))).unwrap();
    let expected = Everything {
        sigma_min: 0.002,
        sigma_max: OneOrMany::One(80),
        n_classes: 3,
        fusing: Fusing::Max,
        name: "text".to_owned(),
        flip: false,
        end: None,
        cycles: vec![1, 2],
    };
    assert_eq!(config, expected);
}

#[test]
fn values_are_read_by_their_types() {
    let config = Everything::from_map(&map(json!({
        "sigma_min": 1, "sigma_max": [3, 4], "n_classes": 2.0, "fusing": "slow-mean", "name": "x", "flip": true,
        "end": 2.5, "cycles": [1e13],
    })))
    .unwrap();
    assert_eq!(config.sigma_min, 1.0);
    assert_eq!(config.sigma_max.as_slice(), [3, 4]);
    assert_eq!((config.n_classes, config.fusing, config.flip), (2, Fusing::SlowMean, true));
    assert_eq!((config.end, config.cycles), (Some(2.5), vec![10_000_000_000_000]));
}

#[test]
fn all_errors_are_told_with_their_pointers() {
    let errors = messages(json!({
        "sigma_min": 0, "sigma_max": [1, 1001], "fusing": "min", "name": 3, "flip": "yes", "end": 10,
        "cycles": [0, 1.5], "a/b": 1,
    }));
    assert_eq!(
        errors,
        [
            "/a~1b: unknown key; known are sigma_min, sigma_max, n_classes, fusing, name, flip, end, cycles",
            "/sigma_min: 0 is not more than 0",
            "/sigma_max/1: 1001 is more than the maximum of 1000",
            "missing key `n_classes`",
            "/fusing: \"min\" is not one of max, slow-mean",
            "/name: expected a text, got a number",
            "/flip: expected true or false, got a text",
            "/end: 10 is not less than 10",
            "/cycles/0: 0 is less than the minimum of 1",
            "/cycles/1: expected a whole number, got a number",
        ]
    );
    assert_eq!(messages(json!({ "n_classes": -1 })), ["/n_classes: -1 is not between 0 and 4294967295"]);
    assert_eq!(messages(json!({ "n_classes": 1, "end": 0.001 })), ["/end: is below sigma_min"]);
}

#[test]
fn the_schema_says_what_the_parser_checks() {
    assert_eq!(
        Everything::schema(),
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Everything",
            "description": "A table with one key of each type.",
            "type": "object",
            "required": ["n_classes"],
            "additionalProperties": false,
            "properties": {
                "sigma_min": {
                    "type": "number", "exclusiveMinimum": 0.0, "default": 0.002,
                    "description": "Smallest sigma, in standard deviations.",
                },
                "sigma_max": {
                    "anyOf": [
                        { "type": "integer", "maximum": 1000, "exclusiveMinimum": 0 },
                        { "type": "array", "items": { "type": "integer", "maximum": 1000, "exclusiveMinimum": 0 } },
                    ],
                    "default": 80, "description": "Largest sigma.",
                },
                "n_classes": { "type": "integer", "minimum": 1, "description": "Number of classes." },
                "fusing": { "type": "string", "enum": ["max", "slow-mean"], "default": "max" },
                "name": { "type": "string", "default": "text" },
                "flip": { "type": "boolean", "default": false },
                "end": {
                    "type": "number", "exclusiveMaximum": 10.0,
                    "description": "Upper end of the range; no end if absent.",
                },
                "cycles": { "type": "array", "items": { "type": "integer", "minimum": 1 }, "default": [1, 2] },
            },
        })
    );
}
