//! A plugin's settings: one struct is the parser, the checks and the JSON Schema.
//!
//! ```
//! use plugin_api::config::{Config, Map, Value};
//!
//! /// The schedule of Karras et al. 2022.
//! #[derive(Config)]
//! struct Karras {
//!     /// Exponent of the schedule.
//!     #[config(default = 7.0, min = 0.1, max = 100.0)]
//!     rho: f64,
//! }
//!
//! let settings: Map<String, Value> = [("rho".to_owned(), Value::from(700.0))].into_iter().collect();
//! let errors = Karras::from_map(&settings).err().unwrap();
//! assert_eq!(errors[0].to_string(), "/rho: 700 is more than the maximum of 100");
//! assert_eq!(Karras::schema()["properties"]["rho"]["default"], 7.0);
//! ```

mod bounds;
mod nesting;
mod schema;
mod setting;

pub use bounds::Bounds;
pub use nesting::{NESTED, is_nested_deeper};
pub use plugin_api_derive::Config;
pub use schema::{Property, assert_schema, choice_schema, object_schema};
pub use serde_json::{Map, Value};
pub use setting::{OneOrMany, Setting, expect_object, read_key, refuse_unknown_keys};

use std::fmt;

/// A table of settings. Derive it: see [`derive@Config`].
pub trait Config: Sized {
    /// Reads the keys of `map`, which lies at the JSON pointer `at`, and adds what is wrong to `errors`.
    fn read(map: &Map<String, Value>, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self>;

    /// The JSON Schema (2020-12) of the table.
    fn schema() -> Value;

    /// Reads a whole table of settings, defaults filled in.
    ///
    /// # Errors
    /// All that is wrong: unknown and missing keys, wrong types, values out of bounds.
    fn from_map(map: &Map<String, Value>) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        match Self::read(map, "", &mut errors) {
            Some(config) if errors.is_empty() => Ok(config),
            _ => Err(errors),
        }
    }
}

/// One thing that is wrong with a table of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON pointer to the setting; empty for the table itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl ConfigError {
    /// What is wrong at a JSON pointer.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// A value that is none of the names a setting may have.
    pub fn not_one_of(value: &Value, names: &[&str], at: &str) -> Self {
        Self::new(at, format!("{value} is not one of {}", names.join(", ")))
    }

    /// The same error of a table that lies at `parent`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.path.insert_str(0, parent);
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
