//! Settings that are not what their schema says. What `#[derive(Config)]` makes cannot be wrong like this, so these are
//! written by hand.

use plugin_api::config::{Config, ConfigError, Map, Value};
use plugin_api::wasm::prelude::{Result, Weighting};
use serde_json::json;

/// A schema of one setting, a number from 0 to 10.
fn of_scale(schema: Value) -> Value {
    let mut whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scale",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "scale": { "type": "number", "description": "The weight.", "minimum": 0.0, "maximum": 10.0, "default": 1.0 },
        },
    });
    if let (Some(whole), Some(changes)) = (whole.as_object_mut(), schema.as_object()) {
        whole.extend(changes.clone());
    }
    whole
}

/// What a schema of one setting promises, kept.
fn strict(map: &Map<String, Value>, errors: &mut Vec<ConfigError>) -> Option<f64> {
    for key in map.keys().filter(|key| *key != "scale") {
        errors.push(ConfigError::new("", format!("there is no setting `{key}`")));
    }
    let Some(value) = map.get("scale") else { return Some(1.0) };
    let number = value.as_f64().filter(|number| (0.0..=10.0).contains(number));
    if number.is_none() {
        errors.push(ConfigError::new("/scale", format!("scale is {value}, not a number from 0 to 10")));
    }
    number
}

macro_rules! scales {
    ($($(#[$about:meta])* $name:ident: $schema:expr, |$map:ident, $errors:ident| $read:expr, |$scale:ident| $weight:expr;)+) => {$(
        $(#[$about])*
        pub struct $name(f64);

        impl Config for $name {
            fn read($map: &Map<String, Value>, _: &str, $errors: &mut Vec<ConfigError>) -> Option<Self> {
                $read.map(Self)
            }

            fn schema() -> Value {
                of_scale($schema)
            }
        }

        impl Weighting for $name {
            fn weight(&self, _: f64) -> Result<f64> {
                let $scale = self.0;
                Ok($weight)
            }
        }
    )+};
}

scales! {
    /// Looks neither at bounds nor at types nor at names.
    TakesAnything: json!({}),
        |map, _errors| Some(map.get("scale").and_then(Value::as_f64).unwrap_or(1.0).abs()), |scale| scale;
    /// Its schema lets mistyped names pass, though it does not.
    OpenSchema: json!({ "additionalProperties": true }),
        |map, errors| strict(map, errors), |scale| scale;
    /// Its schema forbids its default.
    WrongDefault: json!({ "properties": {
            "scale": { "type": "number", "description": "The weight.", "minimum": 0.0, "maximum": 10.0, "default": 11.0 },
        } }),
        |map, errors| strict(map, errors), |scale| scale;
    /// Says nothing about its setting.
    Undocumented: json!({ "properties": {
            "scale": { "type": "number", "minimum": 0.0, "maximum": 10.0, "default": 1.0 },
        } }),
        |map, errors| strict(map, errors), |scale| scale;
    /// Believes that a schema was there before it.
    PanicsAtOddSettings: json!({}),
        |map, errors| { assert!(map.get("scale").is_none_or(|scale| !scale.is_array()), "a list"); strict(map, errors) }, |scale| scale;
    /// Its errors point to a setting that there is not.
    PointsNowhere: json!({}),
        |map, errors| {
            let mut found = Vec::new();
            let scale = strict(map, &mut found);
            errors.extend(found.into_iter().map(|error| ConfigError::new("scala.0", error.message)));
            scale
        }, |scale| scale;
}
