//! Two frozen embedders that start from one file hold one copy of it, as long as their weights are the same.

use std::collections::HashMap;
use std::path::Path;

use anneal::assemble::{Project, SampleSettings, SavedRun};
use anneal::config::Environment;
use anneal::weights::{self, Named};
use tch::{Device, Kind, Tensor};

use super::{open, repository, train};

const KEYS: [&str; 2] = ["conditioner.embedders.0.embedding.weight", "conditioner.embedders.1.embedding.weight"];

/// A small model of emoji under two embedders of the class, both from the file `table`.
fn project(dir: &Path, table: &Path, second: &str, sets: &[&str]) -> Project {
    let embedder = |more: &str| {
        format!(
            "{{plugin=\"class\",input_key=\"class\",n_classes=5,dim=32,weights={:?}{more}}}",
            table.display().to_string()
        )
    };
    let mut all = vec![format!("model.embedders=[{},{}]", embedder(""), embedder(second))];
    let small = [
        "data.source.size=16",
        "data.batch_size=2",
        "data.workers=0",
        "model.network.channel_mult=[1,1]",
        "model.network.attention_resolutions=[2]",
        "train.steps=1",
        "sampling.num_steps=2",
        "logging.preview_scenes=1",
    ];
    all.extend(small.iter().chain(sets).map(|set| (*set).to_owned()));
    open(&repository("configs/emoji.toml"), dir, &all)
}

fn table(dir: &Path) -> (std::path::PathBuf, Tensor) {
    let path = dir.join("table.safetensors");
    let values = Tensor::randn([5, 32], (Kind::Float, Device::Cpu));
    weights::write(&path, &[("embedding.weight".to_owned(), values.shallow_clone())], HashMap::new()).unwrap();
    (path, values)
}

fn of_keys(named: &[Named]) -> [Tensor; 2] {
    KEYS.map(|key| named.iter().find(|(name, _)| name == key).unwrap().1.shallow_clone())
}

fn is_one(tensors: &[Tensor; 2]) -> bool {
    tensors[0].data_ptr() == tensors[1].data_ptr()
}

#[test]
fn frozen_weights_of_one_file_are_held_once_and_saved_under_both_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (path, values) = table(dir.path());
    let run = dir.path().join("run");
    let trainer = train(&mut project(&run, &path, "", &[]), false);
    let held = of_keys(&trainer.state.weights);
    assert!(is_one(&held) && held[0].equal(&values));

    let saved = weights::read(&run.join("checkpoints/step-00000001/model.safetensors")).unwrap();
    assert!(of_keys(&saved).iter().all(|tensor| tensor.equal(&values)));
    let resumed = train(&mut project(&run, &path, "", &["train.steps=2"]), true);
    let held = of_keys(&resumed.state.weights);
    assert!(is_one(&held) && held[0].equal(&values));
    // The file has done its work. What the embedders are called with is one, too.
    std::fs::write(&path, "").unwrap();
    let plugins = [repository("target/plugins")];
    let saved = SavedRun::open(&run, &SampleSettings::default(), &plugins, &Environment::default()).unwrap();
    let sampled = saved.build().unwrap();
    let used = [0, 1].map(|i| sampled.model.conditioner.uses()[i].params[0].shallow_clone());
    assert!(is_one(&used) && used[0].equal(&values));
}

#[test]
fn weights_that_are_trained_are_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let (path, values) = table(dir.path());
    let trainer = train(&mut project(&dir.path().join("run"), &path, ",is_trainable=true", &[]), false);
    let [frozen, trained] = of_keys(&trainer.state.weights);
    assert!(frozen.equal(&values) && !trained.equal(&values));
}

#[test]
fn weights_from_elsewhere_may_part_them() {
    let dir = tempfile::tempdir().unwrap();
    let (path, values) = table(dir.path());
    let trainer = train(&mut project(&dir.path().join("run"), &path, "", &[]), false);
    // A published model in which the second embedder's table is another.
    let other = &values + 1.0;
    let mut given: Vec<Named> =
        trainer.state.weights.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect();
    given.iter_mut().filter(|(name, _)| name == KEYS[1]).for_each(|(_, tensor)| *tensor = other.shallow_clone());
    let published = dir.path().join("published.safetensors");
    weights::write(&published, &given, HashMap::new()).unwrap();

    let init_from = format!("train.init_from={}", published.display());
    let run = dir.path().join("other");
    let trainer = train(&mut project(&run, &path, "", &[&init_from]), false);
    let [first, second] = of_keys(&trainer.state.weights);
    assert!(first.equal(&values) && second.equal(&other));
    let resumed = train(&mut project(&run, &path, "", &[&init_from, "train.steps=2"]), true);
    let [first, second] = of_keys(&resumed.state.weights);
    assert!(first.equal(&values) && second.equal(&other));
}
