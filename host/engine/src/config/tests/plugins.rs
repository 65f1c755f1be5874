//! Plugins' own settings, checked once their schemas are known.

use serde_json::json;

use super::{House, loads};
use crate::config::{Files, Loaded, PluginKind, Problems, RunKind, load_with};

fn schema() -> serde_json::Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "sigma_min": { "type": "number", "exclusiveMinimum": 0.0, "description": "Smallest sigma." },
            "sigma_max": { "$ref": "#/$defs/Sigma" },
            "rho": { "type": "number", "default": 7.0, "minimum": 0.1 },
            "mode": { "enum": ["smooth", "sharp"], "default": "smooth" },
            "table": { "type": ["string", "null"], "x-anneal-path": "file" },
        },
        "required": ["sigma_min", "sigma_max"],
        "$defs": { "Sigma": { "type": "number", "exclusiveMinimum": 0.0 } },
    })
}

const PLACE: &str = "/sampling/discretization";

fn demo_with(discretization: &str) -> (House, Loaded) {
    let house = House::new();
    let ours = "{ plugin = \"edm\", sigma_min = 0.02, sigma_max = 80.0 }";
    assert!(super::ORBIT.contains(ours));
    house.write("configs/orbit.toml", &super::ORBIT.replace(ours, discretization));
    let loaded = loads(&house, "configs/orbit.toml");
    (house, loaded)
}

fn complaint(discretization: &str) -> String {
    let (house, mut loaded) = demo_with(discretization);
    let before = loaded.config.clone();
    let problems = Problems(loaded.check_plugin(PLACE, &schema()));
    assert_eq!(loaded.config, before, "a faulty plugin's table stays as it was");
    problems.to_string().replace(&format!("{}/", house.root().display()), "")
}

#[test]
fn defaults_and_paths_are_written_into_the_config() {
    let (house, mut loaded) =
        demo_with("{ plugin = \"edm\", sigma_min = 0.02, sigma_max = 80, table = \"orbit.toml\" }");
    assert_eq!(loaded.check_plugin(PLACE, &schema()), []);
    let params = serde_json::to_value(&loaded.config.sampling.discretization.params).unwrap();
    let table = house.root().join("configs/orbit.toml");
    let want = json!({ "sigma_min": 0.02, "sigma_max": 80, "table": table, "rho": 7.0, "mode": "smooth" });
    assert_eq!(params, want);
    house.write("resolved.toml", &loaded.to_toml().unwrap());
    assert_eq!(loads(&house, "resolved.toml").config, loaded.config);
}

#[test]
fn a_plugin_is_not_told_of_files_that_may_lack() {
    let (house, _) = demo_with("{ plugin = \"edm\", sigma_min = 0.02, sigma_max = 80, table = \"none.toml\" }");
    let path = house.root().join("configs/orbit.toml");
    let table = |files: Files, schema: &serde_json::Value| {
        let mut loaded: Loaded = load_with(&path, &[], files, |_, _| Vec::new()).unwrap();
        let problems = loaded.check_plugin(PLACE, schema);
        (problems.len(), loaded.config.sampling.discretization.params.get("table").cloned())
    };
    assert_eq!(table(Files::Needed, &schema()).0, 1);
    assert_eq!(table(Files::MayLack, &schema()), (0, None));
    let mut needed = schema();
    needed["required"] = json!(["sigma_min", "sigma_max", "table"]);
    assert!(table(Files::MayLack, &needed).1.is_some(), "the plugin cannot do without it");
}

#[test]
fn faults_of_a_plugins_table_are_shown_at_their_place() {
    let table = "{ plugin = \"edm\", sigma_mim = 0.02, sigma_max = 0.0, rho = \"7\", mode = \"smoth\", table = \"x\" }";
    insta::assert_snapshot!(complaint(table), @r#"
    configs/orbit.toml:107:36: sampling.discretization.sigma_mim: unknown key
    help: did you mean `sigma_min`?

    configs/orbit.toml:107:66: sampling.discretization.sigma_max: 0.0 is not above 0.0
    help: give a number above 0.0

    configs/orbit.toml:107:77: sampling.discretization.rho: expected a number, at least 0.1, got the string "7"
    help: take the quotes off: 7

    configs/orbit.toml:107:89: sampling.discretization.mode: unknown value "smoth"
    help: did you mean `smooth`? It takes `smooth` or `sharp`

    configs/orbit.toml:107:106: sampling.discretization.table: there is no file configs/x
    help: put it there or change the path; relative paths start at the file that writes them, those of --set at the current folder
    "#);
    insta::assert_snapshot!(complaint("{ plugin = \"edm\" }"), @r#"
    configs/orbit.toml:107:18: sampling.discretization.sigma_min: is missing
    help: add `sigma_min = ..`, a number above 0.0. Smallest sigma.

    configs/orbit.toml:107:18: sampling.discretization.sigma_max: is missing
    help: add `sigma_max = ..`, a number above 0.0
    "#);
}

#[test]
fn what_only_the_validator_knows_is_found_too() {
    let (house, mut loaded) = demo_with("{ plugin = \"edm\", sigma_min = 3.0, sigma_max = 1.0 }");
    let mut schema = schema();
    schema["not"] = json!({ "properties": { "sigma_min": { "minimum": 2.0 } } });
    let problems = loaded.check_plugin(PLACE, &schema);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].key, "sampling.discretization");
    assert!(problems[0].file.as_ref().unwrap().starts_with(house.root()));

    schema["type"] = json!(3);
    let problems = loaded.check_plugin(PLACE, &schema);
    assert!(problems[0].message.starts_with("the plugin's schema is no JSON Schema"), "{problems:?}");
}

#[test]
fn embedders_keep_the_hosts_keys_beside_their_own() {
    let house = House::new();
    let mut loaded = loads(&house, "configs/orbit.toml");
    let schema = json!({
        "type": "object",
        "properties": { "n_classes": { "type": "integer" }, "dim": { "type": "integer" }, "scale": { "default": 1.5 } },
        "additionalProperties": false,
    });
    let problems = loaded.check_plugin("/model/embedders/3", &schema);
    assert_eq!(
        problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(),
        ["model.embedders.3.add_sequence_dim"]
    );
    let mut schema = schema;
    schema["properties"]["add_sequence_dim"] = json!({ "type": "boolean" });
    assert_eq!(loaded.check_plugin("/model/embedders/3", &schema), []);
    let embedder = &loaded.config.model.embedders[3];
    assert_eq!(embedder.params["scale"], 1.5);
    assert_eq!((embedder.ucg_rate, embedder.is_trainable), (0.1, true));
    assert!(!embedder.params.contains_key("ucg_rate"));
}

#[test]
fn unions_of_settings_are_walked_by_their_tag() {
    let (_house, mut loaded) = demo_with("{ plugin = \"edm\", shape = \"power\", rho = 7.0 }");
    let of = |shape: &str, key: &str| {
        json!({
            "type": "object",
            "properties": { "shape": { "const": shape }, key: { "type": "number" } },
            "required": ["shape", key],
            "additionalProperties": false,
        })
    };
    let schema = json!({ "oneOf": [of("power", "rho"), of("linear", "slope")] });
    assert_eq!(loaded.check_plugin(PLACE, &schema), []);
    let schema = json!({ "oneOf": [of("cubic", "rho"), of("linear", "slope")] });
    let problems = loaded.check_plugin(PLACE, &schema);
    assert_eq!(problems[0].to_string().lines().last().unwrap(), "help: it takes `cubic` or `linear`");
}

#[test]
fn faults_of_plugins_are_shown_beside_the_others() {
    let house = House::new();
    let sets = ["train.stepz=3", "sampling.discretization.rho=0.0"].map(str::to_owned);
    let path = house.root().join("configs/orbit.toml");
    let loaded = load_with(&path, &sets, Files::Needed, |loaded: &mut Loaded, _| loaded.check_plugin(PLACE, &schema()));
    let keys: Vec<String> = loaded.unwrap_err().0.into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["train.stepz", "sampling.discretization.rho"]);

    let loaded: Loaded =
        load_with(&path, &[], Files::Needed, |loaded, _| loaded.check_plugin(PLACE, &schema())).unwrap();
    assert_eq!(loaded.config.sampling.discretization.params["rho"], 7.0);
}

#[test]
fn problems_found_later_point_into_the_file() {
    let house = House::new();
    let loaded = house.load("configs/orbit.toml", &["model.embedders.1.dim=3"]).unwrap();
    let text = |pointer: &str| {
        let problem = loaded.problem(pointer, "is wrong", "mend it").to_string();
        problem.replace(&format!("{}/", house.root().display()), "")
    };
    assert_eq!(
        text("/model/embedders/0/n_copies"),
        "configs/orbit.toml:60:12: model.embedders.0.n_copies: is wrong\nhelp: mend it"
    );
    assert_eq!(text("/model/embedders/1/dim"), "--set: model.embedders.1.dim: is wrong\nhelp: mend it");
    // Left to its default: at the table that would have it.
    assert_eq!(text("/ema/warm_up"), "configs/orbit.toml:96:1: ema.warm_up: is wrong\nhelp: mend it");
}

#[test]
fn every_plugin_is_listed_with_its_kind_and_place() {
    let house = House::new();
    let loaded = loads(&house, "configs/orbit.toml");
    let config = serde_json::to_value(&loaded.config).unwrap();
    let refs = loaded.config.plugin_refs();
    for used in &refs {
        assert_eq!(config.pointer(&used.pointer).unwrap()["plugin"], used.name, "{used:?}");
    }
    let kinds: Vec<PluginKind> = refs.iter().map(|used| used.kind).collect();
    use PluginKind::{Discretization, Embedder, Guidance, LearningRate, Sampler, SigmaSampling, Weighting};
    let all = [SigmaSampling, Weighting, LearningRate, Sampler, Discretization, Guidance];
    assert_eq!(kinds, [[Embedder; 4].as_slice(), &all].concat());
    assert_eq!(config.to_string().matches("\"plugin\":").count(), refs.len());
}
