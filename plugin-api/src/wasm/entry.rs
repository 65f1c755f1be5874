//! Entries of a plugin: what `export_plugin!` collects, and how one of them comes to life.

use serde_json::json;

use super::{Error, Result};
use crate::config::{Config, ConfigError, Map, Value};

/// From settings to something that works. Settings that work themselves need not implement it.
pub trait Entry: Sized {
    /// The settings.
    type Config: Config;

    /// Prepares what every call needs: tables, derived constants.
    ///
    /// # Errors
    /// When settings contradict each other.
    fn new(config: Self::Config) -> Result<Self>;
}

impl<C: Config> Entry for C {
    type Config = C;

    fn new(config: C) -> Result<Self> {
        Ok(config)
    }
}

/// One name a config may use.
pub struct EntryDescriptor {
    /// The name, in kebab case.
    pub name: &'static str,
    /// What it implements, in kebab case as the manifest writes it.
    pub kind: &'static str,
    schema: fn() -> Value,
    check: fn(&Map<String, Value>) -> Vec<ConfigError>,
}

impl EntryDescriptor {
    /// The entry `name` that `T` implements.
    pub const fn of<T: Entry>(name: &'static str, kind: &'static str) -> Self {
        Self { name, kind, schema: <T::Config as Config>::schema, check: check::<T> }
    }

    /// The JSON Schema of the settings.
    pub fn schema(&self) -> Value {
        (self.schema)()
    }

    /// All that is wrong with settings.
    pub fn check(&self, config: &Map<String, Value>) -> Vec<ConfigError> {
        (self.check)(config)
    }
}

/// Settings to a working entry.
///
/// # Errors
/// The first thing that is wrong with the settings.
pub fn build<T: Entry>(config: &Map<String, Value>) -> Result<T> {
    let config = T::Config::from_map(config).map_err(|errors| match errors.into_iter().next() {
        Some(error) => Error::from(error),
        None => Error::invalid_config("", "the settings are refused"),
    })?;
    T::new(config)
}

fn check<T: Entry>(config: &Map<String, Value>) -> Vec<ConfigError> {
    match T::Config::from_map(config) {
        Err(errors) => errors,
        Ok(config) => match T::new(config) {
            Ok(_) => Vec::new(),
            Err(error) => vec![ConfigError::new(error.path.unwrap_or_default(), error.message)],
        },
    }
}

/// The entries of a plugin; `export_plugin!` makes one, called `PLUGIN`.
pub struct Plugin {
    /// In the order of the macro.
    pub entries: &'static [EntryDescriptor],
}

impl Plugin {
    /// What the component tells about itself: the SDK's version and the entries with their schemas, as JSON.
    pub fn describe(&self) -> Value {
        let entries: Vec<Value> = self
            .entries
            .iter()
            .map(|entry| json!({ "name": entry.name, "kind": entry.kind, "schema": entry.schema() }))
            .collect();
        json!({ "sdk": concat!("plugin-api ", env!("CARGO_PKG_VERSION")), "entries": entries })
    }

    /// The entry of a name.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub fn entry(&self, name: &str) -> Result<&'static EntryDescriptor> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.entries.iter().map(|entry| entry.name).collect();
            Error::invalid_argument(format!("no entry `{name}`; there are {}", names.join(", ")))
        })
    }

    /// Asserts, in a plugin's own tests, that `schema/NAME.json` in `folder` is the schema of each entry; with
    /// `UPDATE_SCHEMAS=1` in the environment it writes the files instead.
    ///
    /// # Panics
    /// When a file is absent or differs.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn assert_schemas(&self, folder: impl AsRef<std::path::Path>) {
        for entry in self.entries {
            let path = folder.as_ref().join("schema").join(format!("{}.json", entry.name));
            crate::config::assert_schema(&entry.schema(), path);
        }
    }
}
