//! Run configs, with what they extend, against the settings' schema and that of plugins.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use anneal::assemble::check_plugins;
use anneal::config::{AutoencoderRunConfig, Files, KindOfRun, Loaded, RunConfig, RunKind, kind_of_run, load_with};
use anneal::plugin::{Registry, SearchPath};
use tempfile::TempDir;

use crate::files::{folder, parts, said, write};

/// As `anneal config check` up to where it opens data and builds models. What comes out is written as TOML, and reads back
/// as what it was.
pub(super) fn config(data: &[u8]) {
    let folder = folder();
    for (name, bytes) in parts("run.toml", data) {
        write(folder.path(), &name, bytes);
    }
    let path = folder.path().join("run.toml");
    match said(kind_of_run(&path, &[])) {
        Some(KindOfRun::Diffusion) => check::<RunConfig>(&path),
        Some(KindOfRun::Autoencoder) => check::<AutoencoderRunConfig>(&path),
        None => {}
    }
}

fn check<C: RunKind + PartialEq + std::fmt::Debug>(path: &Path) {
    let plugins = bundled();
    let loaded = load_with(path, &[], Files::MayLack, |loaded: &mut Loaded<C>, _| check_plugins(loaded, plugins));
    let Some(loaded) = said(loaded) else { return };
    let Some(text) = said(loaded.to_toml()) else { return };
    write(path.with_file_name("resolved").as_path(), "run.toml", text.as_bytes());
    let again = load_with(&path.with_file_name("resolved").join("run.toml"), &[], Files::MayLack, |_, _| Vec::new());
    let again: Loaded<C> = again.unwrap_or_else(|error| panic!("the resolved config cannot be read: {error}"));
    assert_eq!(again.config, loaded.config);
}

/// The bundled plugins' manifests and schemas; what they run is not there, and nothing here runs it.
fn bundled() -> &'static Registry {
    static REGISTRY: OnceLock<(Registry, TempDir)> = OnceLock::new();
    let (registry, _) = REGISTRY.get_or_init(|| {
        let (folder, plugins) = (folder(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins"));
        for entry in fs::read_dir(plugins).into_iter().flatten().filter_map(Result::ok) {
            copy(&entry.path(), &folder.path().join(entry.file_name()));
        }
        let registry = Registry::discover(&SearchPath::only(folder.path()), &Default::default());
        (registry.unwrap_or_else(|error| panic!("the bundled plugins: {error}")), folder)
    });
    registry
}

fn copy(from: &Path, to: &Path) {
    let Ok(manifest) = fs::read_to_string(from.join("plugin.toml")) else { return };
    write(to, "plugin.toml", manifest.as_bytes());
    let table: toml::Table = manifest.parse().unwrap_or_default();
    for artifact in table["artifact"].as_table().into_iter().flat_map(|table| table.values()) {
        write(to, artifact["path"].as_str().unwrap_or("none"), b"");
    }
    for schema in fs::read_dir(from.join("schema")).into_iter().flatten().filter_map(Result::ok) {
        let text = fs::read(schema.path()).unwrap_or_default();
        write(&to.join("schema"), &schema.file_name().to_string_lossy(), &text);
    }
}

#[cfg(test)]
mod tests {
    use anneal::config::load;

    use super::*;

    #[test]
    fn a_config_of_bundled_plugins_is_found_to_be_fine() {
        assert!(bundled().entries().count() > 30);
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/demo.toml");
        let loaded = load_with(&demo, &[], Files::MayLack, |loaded: &mut Loaded, _| check_plugins(loaded, bundled()));
        loaded.unwrap();
        assert!(load::<RunConfig>(&demo.with_file_name("none.toml"), &[]).is_err());
    }
}
