//! Pairs of names for the same modules, looked up in either direction.

use std::collections::HashMap;

/// Modules under two names. What stands behind a module's name is the same in both.
#[derive(Debug, Default)]
pub(super) struct Names {
    ours: HashMap<String, String>,
    theirs: HashMap<String, String>,
}

impl Names {
    /// Adds a module.
    pub fn add(&mut self, ours: impl Into<String>, theirs: impl Into<String>) {
        let (ours, theirs) = (ours.into(), theirs.into());
        self.theirs.insert(theirs.clone(), ours.clone());
        self.ours.insert(ours, theirs);
    }

    /// Adds modules below two places.
    pub fn add_below(&mut self, ours: &str, theirs: &str, pairs: &[(&str, &str)]) {
        for (our, their) in pairs {
            self.add(format!("{ours}.{our}"), format!("{theirs}.{their}"));
        }
    }

    /// The reference's key under its other name.
    pub fn to_diffusers(&self, key: &str) -> Option<String> {
        renamed(&self.ours, key)
    }

    /// The pipeline's key under the reference's name.
    pub fn to_reference(&self, key: &str) -> Option<String> {
        renamed(&self.theirs, key)
    }
}

/// The longest module that `key` begins with decides.
fn renamed(names: &HashMap<String, String>, key: &str) -> Option<String> {
    let mut end = key.len();
    while let Some(dot) = key[..end].rfind('.') {
        if let Some(other) = names.get(&key[..dot]) {
            return Some(format!("{other}{}", &key[dot..]));
        }
        end = dot;
    }
    None
}
