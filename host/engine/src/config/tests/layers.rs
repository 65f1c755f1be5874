//! What a file extends, and `--set` on top.

use std::path::Path;

use super::{House, loads};
use crate::config::{NetworkConfig, RunConfig, SourceConfig};

fn with_sets(sets: &[&str]) -> RunConfig {
    let house = House::new();
    house.load("configs/orbit.toml", sets).unwrap_or_else(|problems| panic!("{sets:?}:\n{problems}")).config
}

#[test]
fn a_file_wins_over_what_it_extends_and_a_later_base_over_an_earlier() {
    let house = House::new();
    house.write("configs/long.toml", "[train]\nsteps = 9\nkeep_last = 2\n");
    house.write("configs/short.toml", "[train]\nsteps = 3\n");
    house.write("configs/run.toml", "extends = [\"orbit.toml\", \"long.toml\", \"short.toml\"]\n[ema]\ndecay = 0.5\n");
    let config = loads(&house, "configs/run.toml").config;
    assert_eq!((config.train.steps, config.train.keep_last), (3, Some(2)));
    assert_eq!(config.ema.unwrap().decay, 0.5);
    assert_eq!(config.data.batch_size, 2, "what nobody overrides is the base's");
}

#[test]
fn extends_reach_through_several_files_and_may_share_a_base() {
    let house = House::new();
    house.write("configs/a.toml", "extends = \"orbit.toml\"\n[train]\nsteps = 5\n");
    house.write("configs/b.toml", "extends = \"orbit.toml\"\n[data]\nbatch_size = 7\n");
    house.write("configs/run.toml", "extends = [\"a.toml\", \"b.toml\"]\n");
    let config = loads(&house, "configs/run.toml").config;
    assert_eq!(config.data.batch_size, 7);
    assert_eq!(config.train.steps, 600, "the base comes again with the later file");
}

#[test]
fn another_component_drops_the_settings_of_the_one_beneath() {
    let house = House::new();
    let text = "extends = \"orbit.toml\"\n[sampling]\nguidance = { plugin = \"linear\", max_scale = 3.0 }\n";
    house.write("configs/run.toml", text);
    let guidance = loads(&house, "configs/run.toml").config.sampling.guidance.unwrap();
    assert_eq!(guidance.plugin, "linear");
    assert_eq!(guidance.params.keys().collect::<Vec<_>>(), ["max_scale"]);

    house.write("configs/run.toml", &text.replace("linear", "triangle"));
    let guidance = loads(&house, "configs/run.toml").config.sampling.guidance.unwrap();
    assert_eq!(guidance.params.keys().collect::<Vec<_>>(), ["min_scale", "max_scale"], "the same one is merged");
}

#[test]
fn paths_are_relative_to_the_file_that_writes_them() {
    let house = House::new();
    std::fs::create_dir_all(house.root().join("mine/deep")).unwrap();
    house.write("mine/deep/run.toml", "extends = \"../../configs/orbit.toml\"\n[run]\ndir = \"out\"\n");
    let config = loads(&house, "mine/deep/run.toml").config;
    assert_eq!(config.run.dir, house.root().join("mine/deep/out"));
    assert_eq!(config.plugins.dirs, [house.root().join("target/plugins")]);
    let SourceConfig::MeshOrbit(orbit) = config.data.source else { panic!("another source") };
    assert_eq!(orbit.path, house.root().join("target/data/fox/Fox.gltf"));
}

#[test]
fn sets_are_toml_values_or_bare_words() {
    let config = with_sets(&[
        "train.steps=7",
        "optimizer.learning_rate = 1e-4",
        "data.on_bad_sample=skip",
        "run.device=cuda:1",
        "run.threads=2",
        "optimizer.betas=[0.5, 0.9]",
        "plugins.require.\"acme.karras\"=^1.2",
        "model.network.use_checkpoint=true",
        "model.embedders.3.ucg_rate=0.25",
        "model.embedders.1.dim=32",
        "data.source.animations=[\"Run\"]",
    ]);
    assert_eq!(config.train.steps, 7);
    assert_eq!(config.run.device, "cuda:1");
    assert_eq!(config.plugins.require["acme.karras"], "^1.2");
    assert_eq!(config.model.embedders[3].ucg_rate, 0.25);
    assert_eq!(config.model.embedders[1].params["dim"], 32);
    let NetworkConfig::VideoUnet(unet) = config.model.network else { panic!("another network") };
    assert!(unet.use_checkpoint);
}

#[test]
fn set_paths_are_relative_to_the_current_folder() {
    let config = with_sets(&["run.dir=some/run"]);
    let cwd = std::env::current_dir().unwrap();
    assert_eq!(config.run.dir, cwd.join("some/run"));
    assert_eq!(with_sets(&["run.dir=/abs"]).run.dir, Path::new("/abs"));
}

#[test]
fn sets_choose_components_before_their_settings() {
    let config = with_sets(&["sampling.sampler.s_churn=2.0", "sampling.sampler.plugin=heun-edm"]);
    assert_eq!(config.sampling.sampler.plugin, "heun-edm");
    assert_eq!(config.sampling.sampler.params["s_churn"], 2.0);

    let config = with_sets(&["model.embedders.1.plugin=mine"]);
    let embedder = &config.model.embedders[1];
    assert_eq!((embedder.plugin.as_str(), embedder.input_key.as_deref()), ("mine", Some("polar_rad")));
    assert!(embedder.params.is_empty(), "the settings were the other plugin's");
}

#[test]
fn sets_make_the_tables_they_need() {
    let house = House::new();
    house.write("configs/orbit.toml", &super::ORBIT.replace("[ema]\ndecay = 0.995\n", ""));
    assert_eq!(loads(&house, "configs/orbit.toml").config.ema, None);
    let config =
        house.load("configs/orbit.toml", &["ema.decay=0.9", "loss.weighting={plugin=\"unit\"}"]).unwrap().config;
    assert_eq!(config.ema.unwrap().decay, 0.9);
    assert_eq!(config.loss.weighting.plugin, "unit");
}

#[test]
fn rings_are_refused() {
    let house = House::new();
    house.write("configs/a.toml", "extends = \"b.toml\"\n");
    house.write("configs/b.toml", "# not in the first line\nextends = [\"orbit.toml\", \"a.toml\"]\n");
    insta::assert_snapshot!(house.complaint("configs/a.toml", &[]), @r#"
    configs/b.toml:2:26: extends: files extend each other in a ring: a.toml -> b.toml -> a.toml
    help: take `extends` out of one of them
    "#);
    house.write("configs/self.toml", "extends = \"./self.toml\"\n");
    insta::assert_snapshot!(house.complaint("configs/self.toml", &[]), @r#"
    configs/self.toml:1:11: extends: files extend each other in a ring: self.toml -> self.toml
    help: take `extends` out of one of them
    "#);
}

#[test]
fn bases_that_cannot_be_read_are_named_where_they_are_extended() {
    let house = House::new();
    house.write("configs/run.toml", "extends = [\"clases.toml\", 3]\n");
    insta::assert_snapshot!(house.complaint("configs/run.toml", &[]), @r#"
    configs/run.toml:1:12: extends: configs/clases.toml: there is no such file
    help: did you mean configs/classes.toml?

    configs/run.toml:1:27: extends: expected the path of a config file
    help: write extends = "base.toml" or extends = ["a.toml", "b.toml"]
    "#);
    house.write("configs/bad.toml", "[train\nsteps = 3\n");
    house.write("configs/run.toml", "extends = \"bad.toml\"\n");
    insta::assert_snapshot!(house.complaint("configs/run.toml", &[]), @r#"
    configs/bad.toml:1:7: train: not TOML: unclosed table, expected `]`
    help: write `key = value`, `[table]` or `[[array of tables]]`, each on a line of its own; texts in quotes
    "#);
}

#[test]
fn faults_of_a_base_are_shown_in_the_base() {
    let house = House::new();
    house.write("configs/base.toml", "extends = \"orbit.toml\"\n\n[train]\nstep = 3\n");
    house.write("configs/run.toml", "extends = \"base.toml\"\n[logging]\nclip_fps = 0\n");
    insta::assert_snapshot!(house.complaint("configs/run.toml", &["data.batch_size=0"]), @r#"
    --set: data.batch_size: 0 is below 1
    help: give an integer from 1 to 65536. Scenes (images, clips, orbits) in one batch.

    configs/base.toml:4:1: train.step: unknown key
    help: did you mean `steps`?

    configs/run.toml:3:12: logging.clip_fps: 0 is below 1.0
    help: give a number from 1.0 to 60.0. Frames a second of written clips.
    "#);
}

#[test]
fn faults_of_a_base_that_is_extended_twice_are_shown_once() {
    let house = House::new();
    house.write("configs/base.toml", "extends = \"orbit.toml\"\n[run]\nseed = nan\n");
    house.write("configs/a.toml", "extends = \"base.toml\"\n");
    house.write("configs/run.toml", "extends = [\"a.toml\", \"base.toml\"]\n");
    let problems = house.load("configs/run.toml", &[]).unwrap_err().0;
    assert_eq!(problems.len(), 1, "{problems:#?}");
}

#[test]
fn sets_that_lead_nowhere_are_refused() {
    let house = House::new();
    let sets = [
        "train.steps",
        "=3",
        "train.steps=",
        "model.embedders.9.dim=3",
        "model.embedders.last.dim=3",
        "train.steps.x=3",
        "optimizer.betas=[0.9",
        "run.seed=2020-01-01",
    ];
    insta::assert_snapshot!(house.complaint("configs/orbit.toml", &sets), @r#"
    --set: "train.steps" has no `=`
    help: write --set key.path=value, such as --set train.steps=100

    --set: "" is no key
    help: write --set key.path=value, such as --set train.steps=100

    --set: train.steps: has no value
    help: for an empty text write key='""'

    --set: model.embedders.9.dim: `model.embedders` is an array of 4, and "9" is no index of it
    help: give 0 to 3, or set the whole array: --set model.embedders='[..]'

    --set: model.embedders.last.dim: `model.embedders` is an array of 4, and "last" is no index of it
    help: give 0 to 3, or set the whole array: --set model.embedders='[..]'

    --set: train.steps.x: `train.steps` is a single value, so it has no "x"
    help: set it as a whole: --set train.steps=..

    --set: optimizer.betas: "[0.9" is no TOML value: unclosed array, expected `]`
    help: quote the whole argument for the shell: --set 'key = [1, 2]'

    --set: run.seed: 2020-01-01 is a date or time, which no setting is
    help: quote it: "2020-01-01"
    "#);
}

#[test]
fn files_that_extend_each_other_again_and_again_and_devices_are_refused() {
    let house = House::new();
    for i in 0..30 {
        let next = i + 1;
        house.write(&format!("configs/{i}.toml"), &format!("extends = [\"{next}.toml\", \"{next}.toml\"]\n"));
    }
    house.write("configs/30.toml", "");
    let problems = house.load("configs/0.toml", &[]).unwrap_err();
    assert!(problems.to_string().contains("more than 64 files are read for one config"), "{problems}");
    house.write("configs/zero.toml", "extends = \"/dev/zero\"\n");
    let problems = house.load("configs/zero.toml", &[]).unwrap_err();
    assert!(problems.to_string().contains("extends: /dev/zero: longer than 1048576 bytes"), "{problems}");
}
