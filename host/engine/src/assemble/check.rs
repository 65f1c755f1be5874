//! What can only be said with plugins and data at hand: names, settings, batch entries.

use std::collections::BTreeSet;

use super::plugin_uses;
use crate::config::{Loaded, Problem, RunConfig};
use crate::plugin::Registry;

/// All that is wrong with the plugins a config names. Nothing of theirs is executed.
pub fn check_plugins(loaded: &Loaded, registry: &Registry) -> Vec<Problem> {
    let mut problems = Vec::new();
    for used in plugin_uses(&loaded.config) {
        for problem in registry.check(used.kind, used.name, used.params) {
            let pointer = format!("{}{}", used.pointer, problem.pointer);
            problems.push(loaded.problem(&pointer, problem.message, problem.help));
        }
    }
    problems
}

/// Batch entries that the config names and the source does not give.
pub fn check_entries(loaded: &Loaded, entries: &BTreeSet<String>) -> Vec<Problem> {
    let config = &loaded.config;
    named_entries(config)
        .into_iter()
        .filter(|(_, key)| !entries.contains(key))
        .map(|(pointer, key)| {
            let known: Vec<&str> = entries.iter().map(String::as_str).collect();
            let message = format!("the data source gives no entry `{key}`");
            loaded.problem(&pointer, message, Some(format!("it gives {}", known.join(", "))))
        })
        .collect()
}

fn named_entries(config: &RunConfig) -> Vec<(String, String)> {
    let mut named = vec![("/model/input_key".to_owned(), config.model.input_key.clone())];
    for (i, key) in config.model.extra_inputs.iter().enumerate() {
        named.push((format!("/model/extra_inputs/{i}"), key.clone()));
    }
    for (i, embedder) in config.model.embedders.iter().enumerate() {
        if let Some(key) = &embedder.input_key {
            named.push((format!("/model/embedders/{i}/input_key"), key.clone()));
        }
        for (j, key) in embedder.input_keys.iter().flatten().enumerate() {
            named.push((format!("/model/embedders/{i}/input_keys/{j}"), key.clone()));
        }
    }
    named
}
