//! Names that do not resolve, and code that contradicts its manifest.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::plugin::manifest::Manifest;

/// A plugin with a weighting `edm`, a discretization `edm` and a weighting `velocity`.
fn found() -> Found {
    let mut manifest =
        "schema-version = 1\nid = \"acme.one\"\nversion = \"1.0.0\"\n[artifact.wasm]\npath = \"a.wasm\"\n".to_owned();
    for (name, kind) in [("edm", "weighting"), ("edm", "discretization"), ("velocity", "weighting")] {
        manifest += &format!("[[entry]]\nname = \"{name}\"\nkind = \"{kind}\"\nschema = \"s.json\"\n");
    }
    let manifest = Manifest::parse(&manifest, Path::new("plugin.toml")).unwrap();
    let schemas = vec![json!({ "type": "object" }); 3];
    Found { manifest, folder: PathBuf::from("/plugins/acme.one"), sha256: String::new(), schemas, is_trusted: true }
}

#[test]
fn a_name_of_a_config_fails_as_a_component() {
    let mut registry = Registry::discover(&Default::default(), &BTreeMap::new()).unwrap();
    let used: EmbedderConfig = serde_json::from_value(json!({ "plugin": "class", "input_key": "label" })).unwrap();
    let error = registry.embedder(&used).err().unwrap();
    assert_eq!((error.component.as_str(), error.code), ("class", crate::error::ErrorCode::InvalidConfig));
    assert!(error.message.contains("\nhelp: "), "{error}");
}

#[test]
fn code_and_manifest_must_agree() {
    let found = &found();
    let entry = |name: &str, kind: &str| json!({ "name": name, "kind": kind, "schema": { "type": "object" } });
    let all = vec![entry("edm", "weighting"), entry("velocity", "weighting"), entry("edm", "discretization")];
    let check = |entries: &[Value]| check_descriptor(found, Runtime::Wasm, &json!({ "entries": entries }));
    assert_eq!(check(&all), Ok(()));
    assert_eq!(check(&all[1..]), Err("lists the weighting `edm`, which the plugin does not have".to_owned()));
    let more = [all.clone(), vec![entry("extra", "sampler")]].concat();
    assert!(check(&more).unwrap_err().starts_with("does not list all"));
    let mut other = all.clone();
    other[1]["schema"] = json!({ "type": "array" });
    assert_eq!(check(&other), Err("s.json is not the schema of the weighting `velocity` in the plugin".to_owned()));
    other[1] = json!({ "name": "velocity", "kind": "weighting" });
    assert_eq!(check(&other), Ok(()));
}
