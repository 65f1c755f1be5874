//! Options by upstream's names, each read once: what nobody reads is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A table of options.
pub struct Options {
    place: String,
    values: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl Options {
    /// A reader of a table that stands at `place`.
    pub fn new(place: &str, value: &Value) -> Result<Self, String> {
        let values = value.as_object().cloned().ok_or_else(|| format!("{place} is no table"))?;
        Ok(Self { place: place.to_owned(), values, read: RefCell::default() })
    }

    /// The option, or `default` where it is not given. An explicit null is upstream's None: it too gives the default of
    /// an `Option`, and is an error for other types.
    pub fn or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T, String> {
        match self.raw(key) {
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|error| format!("{}.{key} = {value}: {error}", self.place)),
            None => Ok(default),
        }
    }

    /// An option that has to be given.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T, String> {
        if !self.values.contains_key(key) {
            return Err(format!("{}.{key} is missing", self.place));
        }
        self.or(key, None)?.ok_or_else(|| format!("{}.{key} is null", self.place))
    }

    /// An option that may be null or left out.
    pub fn optional<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, String> {
        self.or(key, None)
    }

    /// A table within this one.
    pub fn table(&self, key: &str) -> Result<Self, String> {
        self.maybe_table(key)?.ok_or_else(|| format!("{}.{key} is missing", self.place))
    }

    /// A table within this one, if it is given.
    pub fn maybe_table(&self, key: &str) -> Result<Option<Self>, String> {
        let place = format!("{}.{key}", self.place);
        self.raw(key).filter(|value| !value.is_null()).map(|value| Self::new(&place, value)).transpose()
    }

    /// Tables in a list within this one.
    pub fn tables(&self, key: &str) -> Result<Vec<Self>, String> {
        let list = self.raw(key).and_then(Value::as_array).ok_or_else(|| format!("{}.{key} is no list", self.place))?;
        list.iter().enumerate().map(|(i, value)| Self::new(&format!("{}.{key}[{i}]", self.place), value)).collect()
    }

    /// The short name of upstream's class.
    pub fn kind(&self) -> Result<String, String> {
        self.get("type")
    }

    /// The option as it stands.
    pub fn raw(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.values.get(key)
    }

    /// What nobody has read so far, as a table that counts as read: for a type that refuses unknown keys itself.
    pub fn rest(&self) -> Value {
        let mut read = self.read.borrow_mut();
        let rest: Map<String, Value> =
            self.values.iter().filter(|(key, _)| !read.contains(*key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        read.extend(rest.keys().cloned());
        Value::Object(rest)
    }

    /// Whether every option was read.
    pub fn finish(&self) -> Result<(), String> {
        let read = self.read.borrow();
        let unread: Vec<&str> = self.values.keys().filter(|key| !read.contains(*key)).map(String::as_str).collect();
        if unread.is_empty() { Ok(()) } else { Err(format!("{}: unknown {}", self.place, unread.join(", "))) }
    }
}
