//! Plugins' folders: manifests, and the schemas of their entries.

use anneal::config::{PluginKind, RunConfig, schema_with_plugins};
use anneal::plugin::Plugin;

use crate::files::{folder, parts, said, write};

/// As a search for plugins reads a folder, and as `anneal config schema` takes its entries.
pub(super) fn plugin(data: &[u8]) {
    let folder = folder();
    write(folder.path(), "plugin.wasm", b"");
    for (name, bytes) in parts("plugin.toml", data) {
        write(folder.path(), &name, bytes);
    }
    let Some(plugin) = said(Plugin::read(folder.path())) else { return };
    let entries = plugin.entries().map(|entry| (entry.kind(), entry.name().to_owned(), entry.schema().clone()));
    let entries: Vec<(PluginKind, String, _)> = entries.collect();
    assert!(schema_with_plugins::<RunConfig>(&entries).is_object());
    for entry in plugin.entries() {
        entry.examples().iter().for_each(drop);
    }
}
