//! Names: short and full, mistyped, of another kind, of several plugins.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A directory with two plugins: both have a weighting `edm`, the first also a discretization `edm` and a `v`.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let plugin = |id: &str, entries: &[(&str, &str)]| {
        let folder = dir.path().join(id);
        fs::create_dir(&folder).unwrap();
        let mut manifest =
            format!("schema-version = 1\nid = \"{id}\"\nversion = \"1.0.0\"\n[artifact.wasm]\npath = \"a.wasm\"\n");
        for (name, kind) in entries {
            manifest += &format!("[[entry]]\nname = \"{name}\"\nkind = \"{kind}\"\nschema = \"s.json\"\n");
        }
        for (file, text) in [("plugin.toml", manifest.as_str()), ("a.wasm", ""), ("s.json", "{\"type\": \"object\"}")] {
            fs::write(folder.join(file), text).unwrap();
            fs::set_permissions(folder.join(file), PermissionsExt::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    };
    plugin("acme.one", &[("edm", "weighting"), ("edm", "discretization"), ("velocity", "weighting")]);
    plugin("acme.two", &[("edm", "weighting")]);
    dir
}

fn registry(dirs: &[PathBuf]) -> Registry {
    let mut registry = Registry::discover(&SearchPath::new(dirs, &[], &Default::default()), &BTreeMap::new()).unwrap();
    // Whatever is installed on this machine is not the test's.
    registry.plugins.retain(|plugin| dirs.iter().any(|dir| plugin.path().starts_with(fs::canonicalize(dir).unwrap())));
    registry
}

#[test]
fn names_are_found_by_kind() {
    let dir = directory();
    let registry = registry(&[dir.path().to_owned()]);
    let entry = registry.find(PluginKind::Discretization, "edm").unwrap();
    assert_eq!((entry.full_name().as_str(), entry.plugin().version().to_string().as_str()), ("acme.one/edm", "1.0.0"));
    assert_eq!(entry.schema(), &json!({ "type": "object" }));
    assert_eq!(registry.find(PluginKind::Weighting, "acme.two/edm").unwrap().plugin().id(), "acme.two");
    let names: Vec<_> = registry.entries().map(|entry| entry.full_name()).collect();
    assert_eq!(names, ["acme.one/edm", "acme.one/edm", "acme.one/velocity", "acme.two/edm"]);
    assert_eq!(registry.plugin("acme.one").unwrap().runtime(), Runtime::Wasm);
    assert!(registry.used().is_empty());
}

#[test]
fn names_that_do_not_fit_are_explained() {
    let dir = directory();
    let registry = registry(&[dir.path().to_owned()]);
    let cases = [
        (PluginKind::Weighting, "edm", "several plugins: acme.one/edm, acme.two/edm", "write the full name"),
        (PluginKind::Weighting, "velocty", "no weighting is named `velocty`; searched ", "did you mean `velocity`?"),
        (PluginKind::Weighting, "acme.one/velocty", "no weighting is named", "did you mean `acme.one/velocity`?"),
        (PluginKind::Weighting, "snr", "no weighting is named `snr`", "the weighting plugins are edm, velocity, edm"),
        (
            PluginKind::Sampler,
            "velocity",
            "`velocity` is a weighting, where a sampler is wanted",
            "the sampler plugins are ",
        ),
        (PluginKind::Guidance, "edm", "`edm` is a weighting and a discretization, where a guidance is wanted", ""),
    ];
    for (kind, name, message, help) in cases {
        let error = registry.find(kind, name).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.help().contains(help), "{}", error.help());
    }
}

#[test]
fn an_empty_directory_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let error = registry(&[dir.path().to_owned()]).find(PluginKind::Embedder, "class").unwrap_err();
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    assert!(error.help().contains("cargo xtask plugins"));
}
