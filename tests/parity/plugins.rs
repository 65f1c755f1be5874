//! The plugins of this checkout, found and loaded as a run does it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use anneal::config::PluginUse;
use anneal::plugin::{Registry, SearchPath};
use serde_json::{Map, Value};

thread_local! {
    static REGISTRY: RefCell<Option<Registry>> = const { RefCell::new(None) };
}

/// Runs `f` with the bundled plugins.
pub fn with<R>(f: impl FnOnce(&mut Registry) -> Result<R, String>) -> Result<R, String> {
    REGISTRY.with_borrow_mut(|registry| {
        if registry.is_none() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins");
            if !folder.is_dir() {
                return Err("there are no plugins in target/plugins: run `cargo xtask plugins`".to_owned());
            }
            let path = SearchPath::only(&folder);
            *registry = Some(Registry::discover(&path, &BTreeMap::new()).map_err(|error| error.to_string())?);
        }
        f(registry.as_mut().ok_or("no registry")?)
    })
}

/// A use of an entry with settings.
pub fn named(plugin: &str, params: Map<String, Value>) -> PluginUse {
    PluginUse { plugin: plugin.to_owned(), params }
}
