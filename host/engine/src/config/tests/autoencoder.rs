//! Configs that train an autoencoder.

use super::House;
use crate::config::{AutoencoderRunConfig, KindOfRun, Problems, RunKind, kind_of_run, load, schema};

const NAME: &str = "configs/autoencoder_tiny.toml";
const TINY: &str = include_str!("../../../../../configs/autoencoder_tiny.toml");

fn house() -> House {
    let house = House::new();
    house.write(NAME, TINY);
    house
}

fn read(house: &House, path: &str, sets: &[&str]) -> Result<AutoencoderRunConfig, Problems> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    load(&house.root().join(path), &sets).map(|loaded| loaded.config)
}

/// The keys that are blamed.
fn blamed(house: &House, path: &str, sets: &[&str]) -> Vec<String> {
    read(house, path, sets).map_or_else(|problems| problems.0.into_iter().map(|p| p.key).collect(), |_| Vec::new())
}

#[test]
fn the_kind_of_a_run_is_told_by_its_tables() {
    let house = house();
    let kind = |path: &str, sets: &[String]| kind_of_run(&house.root().join(path), sets).unwrap();
    assert_eq!(kind(NAME, &[]), KindOfRun::Autoencoder);
    assert_eq!(kind("configs/demo.toml", &[]), KindOfRun::Diffusion);
    assert_eq!(kind("configs/demo.toml", &["autoencoder.input_key=image".to_owned()]), KindOfRun::Autoencoder);
    assert!(kind_of_run(&house.root().join("configs/none.toml"), &[]).is_err());
}

#[test]
fn the_shipped_config_loads_and_its_resolved_form_is_complete() {
    let house = house();
    let config = read(&house, NAME, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let schedules: Vec<String> = config.plugin_refs().into_iter().map(|used| used.pointer).collect();
    assert_eq!(schedules, ["/optimizer/schedule"]);
    house.write("target/resolved.toml", &toml::to_string(&config).unwrap());
    assert_eq!(read(&house, "target/resolved.toml", &[]).unwrap(), config);
    let schema = schema::<AutoencoderRunConfig>();
    jsonschema::meta::validate(&schema).unwrap();
    let value: serde_json::Value = toml::from_str(TINY).unwrap();
    assert!(jsonschema::is_valid(&schema, &value));
}

#[test]
fn a_typo_in_any_key_is_named_with_its_line() {
    let house = house();
    let mut keys = 0;
    for (idx, line) in TINY.lines().enumerate() {
        let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains([' ', '{', '"', '#'])) else {
            continue;
        };
        keys += 1;
        let lines = TINY.lines().enumerate();
        let faulty: Vec<String> =
            lines.map(|(at, line)| if at == idx { format!("x{line}") } else { line.to_owned() }).collect();
        house.write("configs/faulty.toml", &faulty.join("\n"));
        let problems = read(&house, "configs/faulty.toml", &[]).expect_err(line).0;
        let named = problems.iter().any(|p| p.line == idx + 1 && p.key.ends_with(&format!("x{key}")));
        assert!(named, "{line}: {problems:#?}");
    }
    assert!(keys > 30, "{keys}");
}

#[test]
fn what_does_not_fit_is_blamed_on_its_key() {
    let house = house();
    for (sets, key) in [
        (&["autoencoder.network={kind=\"identity\"}"][..], "autoencoder.network.kind"),
        (&["autoencoder.network.ddconfig.ch=30"], "autoencoder.network.ddconfig.ch"),
        (&["autoencoder.network.ddconfig.in_channels=4"], "autoencoder.network"),
        (&["autoencoder.trainable=[\"decoder.*\", \"\"]"], "autoencoder.trainable.1"),
        (&["loss.regularization_weights={kl=1.0}"], "loss.regularization_weights.kl"),
        (&["loss.lpips={weights=\"none.safetensors\"}"], "loss.lpips.weights"),
        (&["loss.distance=\"lpips\""], "loss.distance"),
        (&["loss.discriminator.network.input_nc=4"], "loss.discriminator.network.input_nc"),
        (&["loss.discriminator.network.n_layers=6"], "loss.discriminator.network.n_layers"),
        (&["loss.discriminator.optimizer.betas=[0.5,1.0]"], "loss.discriminator.optimizer.betas.1"),
        (&["optimizer.betas=[-0.5,0.9]"], "optimizer.betas.0"),
        (&["data.source.size=66"], "data.source.size"),
        (&["model.input_key=\"image\""], "model"),
        (&["sampling.num_steps=3"], "sampling"),
    ] {
        assert!(blamed(&house, NAME, sets).contains(&key.to_owned()), "{sets:?}: {:?}", blamed(&house, NAME, sets));
    }
    house.write("vgg.safetensors", "");
    let lpips = "loss.lpips={weights=\"vgg.safetensors\"}";
    let weights = format!("loss.lpips.weights=\"{}\"", house.root().join("vgg.safetensors").display());
    assert_eq!(blamed(&house, NAME, &[lpips, &weights]), Vec::<String>::new());
    let small = ["data.source.size=8", "loss.discriminator.network.n_layers=1", lpips, &weights];
    assert_eq!(blamed(&house, NAME, &small), ["loss.lpips"]);
    let lpips = format!("validation.lpips={{weights=\"{}\"}}", house.root().join("vgg.safetensors").display());
    assert_eq!(blamed(&house, NAME, &[&lpips, "validation.source.size=8"]), ["validation.lpips"]);
    assert_eq!(blamed(&house, NAME, &["validation.source.size=66"]), ["validation.source.size"]);
    assert_eq!(blamed(&house, NAME, &[&lpips]), Vec::<String>::new());
}
