//! How faults look to people.

use super::{CLASSES, House, ORBIT};

fn with(replacements: &[(&str, &str)]) -> String {
    let mut text = ORBIT.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from:?} is not in the text");
        text = text.replacen(from, to, 1);
    }
    let house = House::new();
    house.write("configs/orbit.toml", &text);
    house.complaint("configs/orbit.toml", &[])
}

#[test]
fn all_faults_at_once() {
    let complaint = with(&[
        ("seed = 23", "seed = \"23\""),
        ("device = \"auto\"", "device = \"gpu\""),
        ("batch_size = 2", "batch_size = 0"),
        ("kind = \"mesh-orbit\"", "kind = \"mesh_orbit\""),
        ("model_channels = 32", "model_chanels = 32"),
        ("num_classes = \"sequential\"", "num_classes = \"sequental\""),
        ("scaling = { kind", "scalling = { kind"),
        ("[train]\nsteps = 600", "[train]\nclip_fps = 3"),
        ("num_steps = 20", "num_steps = 20.0"),
        ("sampler = { plugin = \"euler-edm\" }", "sampler = \"euler-edm\""),
    ]);
    insta::assert_snapshot!(complaint, @r#"
    configs/orbit.toml:4:8: run.seed: expected an integer, at least 0, got the string "23"
    help: take the quotes off: 23. Seed of every random stream.

    configs/orbit.toml:5:10: run.device: "gpu" is not allowed
    help: did you mean `cpu`? It takes `auto`, `cpu`, `cuda` or `cuda:1`. Where the network runs: `auto` (CUDA if there is any), `cpu`, `cuda` or `cuda:N`.

    configs/orbit.toml:12:14: data.batch_size: 0 is below 1
    help: give an integer from 1 to 65536. Scenes (images, clips, orbits) in one batch.

    configs/orbit.toml:18:8: data.source.kind: unknown kind "mesh_orbit"
    help: did you mean `mesh-orbit`? It takes `emoji`, `idx`, `cifar10`, `mesh-orbit`, `frames-dir`, `webdataset`, `video-dir`, `video-list` or `multiview-dir`. The source of samples.

    configs/orbit.toml:38:1: model.network.model_chanels: unknown key
    help: did you mean `model_channels`?

    configs/orbit.toml:43:15: model.network.num_classes: unknown value "sequental"
    help: did you mean `sequential`? It takes `sequential`, `continuous` or `timestep`. Numbers, embedded by a network.

    configs/orbit.toml:54:1: model.denoiser.scalling: unknown key
    help: did you mean `scaling`?

    configs/orbit.toml:99:1: train.steps: is missing
    help: add `steps = ..`, an integer, at least 1. Optimizer steps of the whole run.

    configs/orbit.toml:100:1: train.clip_fps: unknown key
    help: `clip_fps` belongs in [logging]

    configs/orbit.toml:105:13: sampling.num_steps: expected an integer from 1 to 10000, got the float 20.0
    help: write 20. Steps of the sampler.

    configs/orbit.toml:106:11: sampling.sampler: expected a table, got the string "euler-edm"
    help: write sampler = { plugin = "euler-edm" }. The solver.
    "#);
}

#[test]
fn settings_that_do_not_fit_each_other() {
    let complaint = with(&[
        ("elevation_deg = [-5.0, 35.0]", "elevation_deg = [35.0, -5.0]"),
        ("size = 32 ", "size = 30 "),
        ("\"num_video_frames\", \"image_only_indicator\"", "\"image_only\""),
        ("out_channels = 3", "out_channels = 4"),
        ("num_head_channels = 32", "num_head_channels = 48"),
        ("n_copies = 8", "n_copies = 7"),
        ("input_key = \"polar_rad\"", "input_kye = \"polar_rad\""),
        ("weight_decay = 0.01", "betas = [0.9, 1.0]"),
        ("num_steps = 20", "num_steps = 20\nforce_uc_zero = [\"cond_images\"]"),
        ("dirs = [\"../target/plugins\"]", "require = { \"acme.karras\" = \"1..2\" }"),
    ]);
    insta::assert_snapshot!(complaint, @r#"
    configs/orbit.toml:9:29: plugins.require."acme.karras": "1..2" is no version requirement: unexpected character '.' while parsing minor version number
    help: write it as Cargo does: "^1.2", "=1.2.3", ">=1, <3"

    configs/orbit.toml:20:8: data.source.size: the network halves its input until 4 pixels are one, and 30 is no multiple
    help: use 28 or 32, or take a level out of `channel_mult`

    configs/orbit.toml:23:17: data.source.elevation_deg: the range starts at 35, above its end -5
    help: write [-5.0, 35.0]

    configs/orbit.toml:29:16: model.extra_inputs: a video network needs the number of frames
    help: add "num_video_frames" to it

    configs/orbit.toml:29:17: model.extra_inputs.0: "image_only" is no argument of a network
    help: it takes `num_video_frames`, `image_only_indicator` or `time_context`

    configs/orbit.toml:37:16: model.network.out_channels: is 4, but images have 3 channels
    help: write 3: the identity first stage makes pixels the latents

    configs/orbit.toml:42:21: model.network.num_head_channels: 48 channels a head do not divide the 64 channels of level 1
    help: choose a divisor of the channels of every level with attention

    configs/orbit.toml:60:12: model.embedders.0.n_copies: is 7, but a scene of the data has 8 frames
    help: write 8

    configs/orbit.toml:67:13: model.embedders.1.input_kye: `input_key` is missing
    help: did you mean `input_key` by `input_kye`?

    configs/orbit.toml:93:15: optimizer.betas.1: 1 is no decay rate
    help: give a number from 0 to below 1

    configs/orbit.toml:106:18: sampling.force_uc_zero.0: no embedder takes "cond_images"
    help: did you mean `cond_image`? It takes `cond_image`, `azimuth_rad` or `animation`
    "#);
}

#[test]
fn what_does_not_fit_is_found_in_held_out_scenes_too() {
    let source = "source = { kind = \"mesh-orbit\", path = \"../target/data/fox/Fox.gltf\", size = 30, num_views = 7, \
                  elevation_deg = [50.0, 40.0] }";
    let complaint = with(&[("[sampling]", &format!("[validation]\nevery_steps = 5\n{source}\n\n[sampling]"))]);
    insta::assert_snapshot!(complaint, @r#"
    configs/orbit.toml:106:10: validation.source: a scene has 7 frames, but model.embedders.0.n_copies is 8
    help: give it as many frames as the scenes that are trained on have

    configs/orbit.toml:106:78: validation.source.size: the network halves its input until 4 pixels are one, and 30 is no multiple
    help: use 28 or 32, or take a level out of `channel_mult`

    configs/orbit.toml:106:113: validation.source.elevation_deg: the range starts at 50, above its end 40
    help: write [40.0, 50.0]
    "#);
    let classes = "source = { kind = \"emoji\", size = 32, classes = [{ name = \"faces\", words = [\"face\"] }] }";
    let house = House::new();
    let text = CLASSES.replace("[sampling]", &format!("[validation]\nevery_steps = 5\n{classes}\n\n[sampling]"));
    house.write("configs/a.toml", &text);
    insta::assert_snapshot!(house.complaint("configs/a.toml", &[]), @r#"
    configs/a.toml:89:49: validation.source.classes: has 1, but model.embedders.0.n_classes is 5
    help: give it the classes that are trained on
    "#);
}

#[test]
fn no_toml() {
    let house = House::new();
    house.write("configs/a.toml", "[run]\ndir = runs/a\nseed =\n[run]\nx = [1, 2\n");
    insta::assert_snapshot!(house.complaint("configs/a.toml", &[]), @r#"
    configs/a.toml:2:7: run.dir: not TOML: string values must be quoted
    help: put texts in quotes: key = "text"

    configs/a.toml:3:7: run.seed: not TOML: there is no value
    help: write a value after the `=`

    configs/a.toml:4:2: run: not TOML: duplicate key
    help: remove one of the two; a table may be opened once

    configs/a.toml:5:10: run.x: not TOML: unclosed array, expected `]`
    help: write `key = value`, `[table]` or `[[array of tables]]`, each on a line of its own; texts in quotes
    "#);
}

#[test]
fn values_that_no_setting_has() {
    let complaint = with(&[
        ("seed = 23", "seed = 9007199254740993"),
        ("learning_rate = 1e-3", "learning_rate = nan"),
        ("weight_decay = 0.01", "weight_decay = inf"),
        ("p_std = 1.4", "p_std = 1979-05-27"),
    ]);
    insta::assert_snapshot!(complaint, @r#"
    configs/orbit.toml:4:8: run.seed: 9007199254740993 does not fit: integers go to 2^53
    help: give an integer from -9007199254740992 to 9007199254740992

    configs/orbit.toml:87:58: loss.sigma_sampling.p_std: 1979-05-27 is a date or time, which no setting is
    help: quote it: "1979-05-27"

    configs/orbit.toml:92:17: optimizer.learning_rate: nan is not finite
    help: give a finite number

    configs/orbit.toml:93:16: optimizer.weight_decay: inf is not finite
    help: give a finite number
    "#);
}

#[test]
fn no_file() {
    let house = House::new();
    insta::assert_snapshot!(house.complaint("configs/obrit.toml", &[]), @r#"
    configs/obrit.toml: there is no such file
    help: did you mean configs/orbit.toml?
    "#);
    insta::assert_snapshot!(house.complaint("configs/velocity.toml", &[]), @r#"
    configs/velocity.toml: there is no such file
    help: configs has classes.toml, demo.toml, emoji.toml, orbit.toml
    "#);
    insta::assert_snapshot!(house.complaint("configs", &[]), @r#"
    configs: a folder, not a config file
    help: name a TOML file in it
    "#);
}

#[test]
fn no_section() {
    let house = House::new();
    house.write("configs/a.toml", "[run]\ndir = \"a\"\n");
    insta::assert_snapshot!(house.complaint("configs/a.toml", &[]), @r#"
    configs/a.toml:1:1: data: is missing
    help: add the table [data]. Where batches come from.

    configs/a.toml:1:1: model: is missing
    help: add the table [model]. What is trained.

    configs/a.toml:1:1: loss: is missing
    help: add the table [loss]. The objective.

    configs/a.toml:1:1: optimizer: is missing
    help: add the table [optimizer]. The optimizer and its learning-rate schedule.

    configs/a.toml:1:1: train: is missing
    help: add the table [train]. How long to train, and when to save.

    configs/a.toml:1:1: sampling: is missing
    help: add the table [sampling]. How samples are made, in previews and by `anneal sample`.
    "#);
}
