//! The types a setting may have, and how each is read from JSON.

use super::schema::{list_schema, type_schema};
use super::{Bounds, ConfigError, Map, Value};

/// A type that a setting may have: numbers, texts, switches, lists and options of them, derived tables and enums.
pub trait Setting: Sized {
    /// Whether bounds make sense.
    const NUMERIC: bool = false;

    /// What an absent key without a default means; `None` makes the key required.
    const IF_ABSENT: Option<fn() -> Self> = None;

    /// Reads a value that lies at the JSON pointer `at`, and adds what is wrong to `errors`.
    fn read(value: &Value, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self>;

    /// The JSON Schema of the value.
    fn schema(bounds: &Bounds) -> Value;

    /// The value as JSON; null where it is absent.
    fn to_value(&self) -> Value;
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values, however they were written.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

fn wrong_type(value: &Value, expected: &str, at: &str) -> ConfigError {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    ConfigError::new(at, format!("expected {expected}, got {got}"))
}

/// The value as a table, or an error.
pub fn expect_object<'a>(value: &'a Value, at: &str, errors: &mut Vec<ConfigError>) -> Option<&'a Map<String, Value>> {
    if value.as_object().is_none() {
        errors.push(wrong_type(value, "a table", at));
    }
    value.as_object()
}

/// Adds an error for each key of `map` that is not one of `known`.
pub fn refuse_unknown_keys(map: &Map<String, Value>, known: &[&str], at: &str, errors: &mut Vec<ConfigError>) {
    for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
        let names =
            if known.is_empty() { "there are none".to_owned() } else { format!("known are {}", known.join(", ")) };
        errors.push(ConfigError::new(pointer(at, key), format!("unknown key; {names}")));
    }
}

/// Reads one key of a table; `default` stands in where the key is absent.
pub fn read_key<T: Setting>(
    map: &Map<String, Value>,
    key: &str,
    bounds: &Bounds,
    default: Option<fn() -> T>,
    at: &str,
    errors: &mut Vec<ConfigError>,
) -> Option<T> {
    match (map.get(key), default) {
        (Some(value), _) => T::read(value, bounds, &pointer(at, key), errors),
        (None, Some(default)) => Some(default()),
        (None, None) => {
            errors.push(ConfigError::new(at, format!("missing key `{key}`")));
            None
        }
    }
}

/// The JSON pointer of `key` in the table at `at` (RFC 6901).
fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn within<T>(value: T, number: f64, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<T> {
    match bounds.check(number, at) {
        Ok(()) => Some(value),
        Err(error) => {
            errors.push(error);
            None
        }
    }
}

impl Setting for f64 {
    const NUMERIC: bool = true;

    fn read(value: &Value, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        match value.as_f64().filter(|number| number.is_finite()) {
            Some(number) => within(number, number, bounds, at, errors),
            None => {
                errors.push(wrong_type(value, "a number", at));
                None
            }
        }
    }

    fn schema(bounds: &Bounds) -> Value {
        let mut schema = type_schema("number");
        bounds.write_into(&mut schema);
        schema
    }

    fn to_value(&self) -> Value {
        Value::from(*self)
    }
}

/// Largest magnitude below which every whole number is a double.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number, also if it is written as a float (`1e13`), as JSON Schema reads integers.
fn whole_number(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= LARGEST_EXACT).map(|number| number as i128)
}

macro_rules! integer_setting {
    ($($int:ty),*) => {$(
        impl Setting for $int {
            const NUMERIC: bool = true;

            fn read(value: &Value, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
                let Some(number) = whole_number(value) else {
                    errors.push(wrong_type(value, "a whole number", at));
                    return None;
                };
                match <$int>::try_from(number) {
                    Ok(exact) => within(exact, number as f64, bounds, at, errors),
                    Err(_) => {
                        let message = format!("{number} is not between {} and {}", <$int>::MIN, <$int>::MAX);
                        errors.push(ConfigError::new(at, message));
                        None
                    }
                }
            }

            fn schema(bounds: &Bounds) -> Value {
                let mut schema = type_schema("integer");
                if <$int>::MIN == 0 {
                    schema["minimum"] = Value::from(0);
                }
                bounds.write_into(&mut schema);
                schema
            }

            fn to_value(&self) -> Value {
                Value::from(*self)
            }
        }
    )*};
}

integer_setting!(i64, u32, u64);

impl Setting for bool {
    fn read(value: &Value, _bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        if value.as_bool().is_none() {
            errors.push(wrong_type(value, "true or false", at));
        }
        value.as_bool()
    }

    fn schema(_bounds: &Bounds) -> Value {
        type_schema("boolean")
    }

    fn to_value(&self) -> Value {
        Value::from(*self)
    }
}

impl Setting for String {
    fn read(value: &Value, _bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        if value.as_str().is_none() {
            errors.push(wrong_type(value, "a text", at));
        }
        value.as_str().map(str::to_owned)
    }

    fn schema(_bounds: &Bounds) -> Value {
        type_schema("string")
    }

    fn to_value(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl<T: Setting> Setting for Option<T> {
    const NUMERIC: bool = T::NUMERIC;
    const IF_ABSENT: Option<fn() -> Self> = Some(|| None);

    fn read(value: &Value, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        T::read(value, bounds, at, errors).map(Some)
    }

    fn schema(bounds: &Bounds) -> Value {
        T::schema(bounds)
    }

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const NUMERIC: bool = T::NUMERIC;

    fn read(value: &Value, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let Some(items) = value.as_array() else {
            errors.push(wrong_type(value, "a list", at));
            return None;
        };
        // Each item is read, so that each error is told, before one of them fails the list.
        let items: Vec<Option<T>> =
            items.iter().enumerate().map(|(idx, item)| T::read(item, bounds, &format!("{at}/{idx}"), errors)).collect();
        items.into_iter().collect()
    }

    fn schema(bounds: &Bounds) -> Value {
        list_schema(T::schema(bounds))
    }

    fn to_value(&self) -> Value {
        self.iter().map(T::to_value).collect()
    }
}

impl<T: Setting> Setting for OneOrMany<T> {
    const NUMERIC: bool = T::NUMERIC;

    fn read(value: &Value, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        if value.is_array() {
            Vec::read(value, bounds, at, errors).map(Self::Many)
        } else {
            T::read(value, bounds, at, errors).map(Self::One)
        }
    }

    fn schema(bounds: &Bounds) -> Value {
        let item = T::schema(bounds);
        serde_json::json!({ "anyOf": [item.clone(), list_schema(item)] })
    }

    fn to_value(&self) -> Value {
        match self {
            Self::One(value) => value.to_value(),
            Self::Many(values) => values.to_value(),
        }
    }
}
