//! Configs as people write them, right and wrong.

mod autoencoder;
mod faults;
mod first_stage;
mod frechet;
mod layers;
mod messages;
mod plugins;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Loaded, Problems, RunConfig};

/// The configs that users start from.
const SHIPPED: [(&str, &str); 2] = [
    ("demo.toml", include_str!("../../../../../configs/demo.toml")),
    ("emoji.toml", include_str!("../../../../../configs/emoji.toml")),
];

/// Configs of the tests' own, whose lines and values the tests rely on.
const ORBIT: &str = include_str!("orbit.toml");
const CLASSES: &str = include_str!("classes.toml");

/// A folder like the repository's: `configs/`, and the fox where setup puts it.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["configs", "target/data/fox"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let house = Self(dir);
        house.write("target/data/fox/Fox.gltf", "{}");
        house.write("configs/orbit.toml", ORBIT);
        house.write("configs/classes.toml", CLASSES);
        for (name, text) in SHIPPED {
            house.write(&format!("configs/{name}"), text);
        }
        house
    }

    /// The folder's path, free of links.
    fn root(&self) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.path().join(path), text).unwrap();
    }

    fn load(&self, path: &str, sets: &[&str]) -> Result<Loaded, Problems> {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        super::load(&self.root().join(path), &sets)
    }

    /// What is printed for a faulty config, without the folder's path.
    fn complaint(&self, path: &str, sets: &[&str]) -> String {
        let problems = self.load(path, sets).unwrap_err().to_string();
        problems.replace(&format!("{}/", self.root().display()), "")
    }
}

fn loads(house: &House, path: &str) -> Loaded {
    house.load(path, &[]).unwrap_or_else(|problems| panic!("{path}:\n{problems}"))
}

#[test]
fn the_configs_load_and_their_resolved_form_is_complete() {
    let house = House::new();
    for (name, _) in SHIPPED {
        let loaded = loads(&house, &format!("configs/{name}"));
        let resolved = loaded.to_toml().unwrap();
        // Somewhere else and without its neighbours: paths are absolute, nothing is left to other files.
        house.write("target/resolved.toml", &resolved);
        let again = loads(&house, "target/resolved.toml");
        assert_eq!(again.config, loaded.config, "{name}");
        assert_eq!(again.to_toml().unwrap(), resolved, "{name}");
        assert!(resolved.contains("warm_up = true"), "defaults are written out:\n{resolved}");
        assert!(Path::new(&loaded.config.run.dir).is_absolute());
    }
}

#[test]
fn the_emoji_classes_have_thirty_pictures_or_more() {
    let house = House::new();
    let super::SourceConfig::Emoji(emoji) = loads(&house, "configs/emoji.toml").config.data.source else {
        panic!("configs/emoji.toml has another source");
    };
    let mut counts = vec![0; emoji.classes.len()];
    let mut unused: Vec<&str> = emoji.classes.iter().flat_map(|class| &class.words).map(String::as_str).collect();
    for character in '\u{80}'..='\u{1ffff}' {
        let picture = twemoji_assets::png::PngTwemojiAsset::from_emoji(character.encode_utf8(&mut [0; 4]));
        let Some(name) = picture.and_then(|picture| picture.label) else {
            continue;
        };
        let name = format!(" {} ", name.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " "));
        let has = |word: &str| name.contains(&format!(" {word} "));
        unused.retain(|word| !has(word));
        if let Some(class) = emoji.classes.iter().position(|class| class.words.iter().any(|word| has(word))) {
            counts[class] += 1;
        }
    }
    assert!(counts.iter().all(|&count| count >= 30), "{counts:?}");
    assert!(unused.is_empty(), "words of no emoji: {unused:?}");
}

#[test]
fn optimizers_have_torchs_defaults() {
    let house = House::new();
    let (before, rest) = ORBIT.split_once("[optimizer]").unwrap();
    let (_, after) = rest.split_once("[ema]").unwrap();
    let optimizer = |kind: &str| {
        let text = format!("{before}[optimizer]\nkind = \"{kind}\"\nlearning_rate = 0.5\n\n[ema]{after}");
        house.write("configs/orbit.toml", &text);
        let config = loads(&house, "configs/orbit.toml").config;
        assert!(config.optimizer.learning_rate() == 0.5 && config.optimizer.schedule().is_none());
        serde_json::to_value(config.optimizer).unwrap()
    };
    let adam = |kind: &str, weight_decay: f64| {
        json!({
            "kind": kind, "learning_rate": 0.5, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": weight_decay,
            "amsgrad": false, "moments": "f32",
        })
    };
    assert_eq!(optimizer("adamw"), adam("adamw", 0.01));
    assert_eq!(optimizer("adam"), adam("adam", 0.0));
    let sgd = json!({
        "kind": "sgd", "learning_rate": 0.5, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": false,
        "moments": "f32",
    });
    assert_eq!(optimizer("sgd"), sgd);
}

#[test]
fn schemas_accept_the_configs_and_are_accepted_themselves() {
    let schema = super::schema::<RunConfig>();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (_, text) in SHIPPED {
        let value: serde_json::Value = toml::from_str(text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}
