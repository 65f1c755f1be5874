//! Training of an autoencoder, from its config to a first stage.

use std::collections::HashMap;
use std::path::Path;

use anneal::weights::{self, Named};
use anneal_nn::{Lpips, Params};
use tch::Device;

use crate::run::{Ran, anneal, checkpoint_file, metrics, path, train};

/// The shipped config made small enough to train in a second, with an adversary that starts at the third step.
const SMALL: [&str; 13] = [
    "data.source.size=16",
    "data.source.num_views=4",
    "data.workers=1",
    "autoencoder.network.ddconfig.ch_mult=[1,1]",
    "loss.discriminator.network={ndf=8,n_layers=1}",
    "loss.discriminator.start_step=2",
    "run.device=cpu",
    "run.threads=1",
    "train.steps=4",
    "train.checkpoint_every_steps=1000",
    "logging.metrics_every_steps=1",
    "logging.preview_every_steps=1000",
    "logging.preview_scenes=1",
];

fn train_small(dir: &Path, sets: &[&str], flags: &[&str]) -> Ran {
    let mut args = vec!["train".to_owned(), path("configs/autoencoder_tiny.toml"), "--quiet".to_owned()];
    let run_dir = format!("run.dir={}", dir.display());
    for set in SMALL.iter().copied().chain([run_dir.as_str()]).chain(sets.iter().copied()) {
        args.extend(["--set".to_owned(), set.to_owned()]);
    }
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn tensors(dir: &Path, step: u64, file: &str) -> HashMap<String, tch::Tensor> {
    weights::read(&dir.join(format!("checkpoints/step-{step:08}")).join(file)).unwrap().into_iter().collect()
}

/// The networks of the perceptual distance as they start, in a file.
pub fn lpips_file(dir: &Path) -> String {
    let params = Params::new(Device::Cpu, 1);
    Lpips::new(&params.root());
    let named: Vec<Named> =
        params.into_entries().into_iter().map(|p| (format!("loss.perceptual_loss.{}", p.path), p.tensor)).collect();
    let path = dir.join("lpips.safetensors");
    weights::write(&path, &named, HashMap::new()).unwrap();
    path.display().to_string()
}

#[test]
fn a_resumed_run_is_the_unbroken_one_adversary_and_all() {
    let (straight, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train_small(straight.path(), &["train.steps=6"], &[]).succeeds();
    train_small(broken.path(), &["train.steps=3"], &[]).succeeds();
    train_small(broken.path(), &["train.steps=6"], &["--resume"]).succeeds();
    for file in ["model.safetensors", "ema.safetensors", "optimizer.safetensors"] {
        assert!(checkpoint_file(straight.path(), 6, file) == checkpoint_file(broken.path(), 6, file), "{file} differs");
    }
    let keys = |file: &str| tensors(straight.path(), 6, file).into_keys().collect::<Vec<_>>();
    for key in ["decoder.conv_out.weight", "loss.logvar", "loss.discriminator.main.3.running_mean"] {
        assert!(keys("model.safetensors").iter().any(|k| k == key), "{key}");
    }
    assert!(keys("optimizer.safetensors").iter().any(|k| k == "adversary.exp_avg.loss.discriminator.main.0.weight"));
    assert!(!keys("ema.safetensors").iter().any(|k| k.starts_with("loss.")));
    // The curve tells the terms, and when the adversary came in.
    let lines = metrics(straight.path());
    let has = |term: &str| lines.iter().map(|line| line.get(term).is_some()).collect::<Vec<_>>();
    assert_eq!(has("kl_loss"), [true; 6]);
    assert!(lines[5]["latent_std"].as_f64().unwrap() > 0.0);
    assert_eq!(has("d_weight"), [false, false, true, true, true, true]);
    assert!(straight.path().join("previews/step-00000006/sheet.png").exists());
}

#[test]
fn every_setting_of_the_objective_has_an_effect() {
    let last = |sets: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        train_small(dir.path(), sets, &[]).succeeds();
        metrics(dir.path()).pop().unwrap()
    };
    let plain = last(&[]);
    let folder = tempfile::tempdir().unwrap();
    let lpips = format!("loss.lpips={{weights=\"{}\",prefix=\"loss.perceptual_loss.\"}}", lpips_file(folder.path()));
    for (sets, term) in [
        (&["loss.distance=l2"][..], "loss"),
        (&["loss.logvar_init=0.5"], "loss"),
        (&["loss.learn_logvar=true"], "logvar"),
        (&["loss.regularization_weights={kl_loss=0.1}"], "kl_loss"),
        (&["loss.discriminator.loss=vanilla"], "disc"),
        (&["loss.discriminator.weight=2.0"], "d_weight"),
        (&["loss.discriminator.start_step=1"], "disc"),
        (&["loss.discriminator.network={ndf=8,n_layers=1,use_actnorm=true}"], "disc"),
        (&["loss.discriminator.optimizer.learning_rate=0.1"], "disc"),
        (&["loss.discriminator.optimizer.schedule={plugin=\"constant\",warm_up_steps=100}"], "disc"),
        (&["train.accumulate_batches=2"], "loss"),
        (&["run.precision=bf16"], "loss"),
        (&[&lpips], "rec"),
        (&[&lpips, "loss.perceptual_weight=3.0"], "rec"),
    ] {
        let line = last(sets);
        let value = line[term].as_f64().unwrap_or_else(|| panic!("{sets:?}: no {term} in {line}"));
        assert!(value.is_finite() && line[term] != plain[term], "{sets:?}: {line}");
    }
}

#[test]
fn reconstructions_are_validated() {
    let (dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lpips =
        format!("validation.lpips={{weights=\"{}\",prefix=\"loss.perceptual_loss.\"}}", lpips_file(folder.path()));
    let fox = path("target/data/fox/Fox.gltf");
    let held_out = format!("validation.source={{kind=\"mesh-orbit\",path=\"{fox}\",size=16,num_views=2}}");
    let encoder = path("host/engine/src/evaluation/testdata/flagged.pt");
    let frechet = format!("validation.frechet={{encoder=\"{encoder}\",flags=[false,true],over=[\"views\"]}}");
    let sets = ["validation.every_steps=2", "validation.scenes=2", &lpips, &held_out, &frechet];
    let trained = train_small(dir.path(), &sets, &["--log", "info"]).succeeds();
    assert!(trained.err.contains("3 features of flagged.pt"), "{}", trained.err);
    let text = std::fs::read_to_string(dir.path().join("validation.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for name in ["psnr", "ssim", "lpips", "rec", "kl_loss", "frechet_views"] {
        assert!(lines[1][name].is_f64() && lines[0][name] != lines[1][name], "{name}: {lines:?}");
    }
}

#[test]
fn an_autoencoder_with_a_table_of_codes_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let coder = "{double_z=false,ch=32,out_ch=3,ch_mult=[1,1],num_res_blocks=1,attn_resolutions=[],in_channels=3,\
                 resolution=64,z_channels=4}";
    let network =
        format!("autoencoder.network={{kind=\"autoencoder-legacy-vq\",embed_dim=4,n_embed=16,ddconfig={coder}}}");
    // Tables merge, so the other regularizer's weight has to be taken out.
    let config = std::fs::read_to_string(path("configs/autoencoder_tiny.toml")).unwrap();
    let config = config.replace("kl_loss = 1e-6", "\"loss/vq\" = 1.0").replace("../target", &path("target"));
    let file = dir.path().join("vq.toml");
    std::fs::write(&file, config).unwrap();
    let run = dir.path().join("run");
    let mut args = vec!["train".to_owned(), file.display().to_string(), "--quiet".to_owned()];
    for set in SMALL.iter().map(|&set| set.to_owned()).chain([format!("run.dir={}", run.display()), network]) {
        args.extend(["--set".to_owned(), set]);
    }
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>()).succeeds();
    let last = metrics(&run).pop().unwrap();
    let (loss, nll) = (last["loss"].as_f64().unwrap(), last["nll"].as_f64().unwrap());
    let [codes, g, weight] = ["loss/vq", "g", "d_weight"].map(|name| last[name].as_f64().unwrap());
    assert!((loss - (nll + codes + g * weight)).abs() < 1e-3 * loss.abs(), "{last}");
}

#[test]
fn only_what_is_chosen_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let decoder = "autoencoder.trainable=[\"decoder.*\"]";
    train_small(dir.path(), &[decoder, "train.checkpoint_every_steps=1", "train.keep_last=4"], &[]).succeeds();
    let (first, last) = (tensors(dir.path(), 1, "model.safetensors"), tensors(dir.path(), 4, "model.safetensors"));
    let moved = |name: &String| !first[name].equal(&last[name]);
    for name in first.keys().filter(|name| !name.starts_with("decoder.") && !name.contains("discriminator")) {
        assert!(!moved(name), "{name}");
    }
    for name in ["decoder.conv_in.weight", "decoder.conv_out.bias", "loss.discriminator.main.0.weight"] {
        assert!(moved(&name.to_owned()), "{name}");
    }
}

#[test]
fn a_run_is_a_first_stage_and_no_more() {
    let (dir, video) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The demo's rays are of pixels, so nothing is halved.
    let whole = "autoencoder.network.ddconfig.ch_mult=[1]";
    train_small(dir.path(), &[whole], &[]).succeeds();
    let coder =
        "{ch=32,out_ch=3,ch_mult=[1],num_res_blocks=1,attn_resolutions=[],in_channels=3,resolution=64,z_channels=4}";
    let first_stage = format!(
        "model.first_stage={{kind=\"autoencoder-kl\",embed_dim=4,weights=\"{}\",ddconfig={coder}}}",
        dir.path().display()
    );
    // Latents of four channels beside the rays and the picture of the condition.
    let sets = [&first_stage, "model.network.in_channels=49", "model.network.out_channels=4"];
    train(video.path(), &sets, &[]).succeeds();
    let own = tensors(dir.path(), 4, "ema.safetensors");
    let used = tensors(video.path(), 4, "model.safetensors");
    assert!(own["decoder.conv_in.weight"].equal(&used["first_stage_model.decoder.conv_in.weight"]));

    let run = dir.path().display().to_string();
    anneal(&["sample", &run]).fails(6, &["an autoencoder was trained", "previews"]);
    let evaluated = anneal(&["evaluate", &run, "--scenes", "2"]).succeeds();
    assert!(evaluated.out.contains("psnr ") && evaluated.out.contains("kl_loss "), "{}", evaluated.out);
    // It starts another run, in whole or in part.
    let again = tempfile::tempdir().unwrap();
    let from = format!("train.init_from={run}");
    train_small(again.path(), &[whole, &from, "train.steps=1"], &[]).succeeds();
    let from = format!("autoencoder.network.weights={run}");
    let other = tempfile::tempdir().unwrap();
    train_small(other.path(), &[whole, &from, "train.steps=1"], &[]).succeeds();
}

#[test]
fn what_only_shows_when_it_is_built_is_told_before_the_first_step() {
    let fails = |sets: &[&str], texts: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        train_small(dir.path(), sets, &[]).fails(3, texts);
        assert!(!dir.path().join("checkpoints").exists());
    };
    fails(&["autoencoder.trainable=[\"decodr.*\"]"], &["autoencoder.trainable", "matches no parameter"]);
    fails(&["autoencoder.trainable=[\"encoder.*\"]"], &["loss.discriminator", "which is not trained"]);
    // Latents of half the size do not go with rays of every pixel.
    let coder =
        "{ch=32,out_ch=3,ch_mult=[1,1],num_res_blocks=1,attn_resolutions=[],in_channels=3,resolution=64,z_channels=4}";
    let halved = format!("model.first_stage={{kind=\"autoencoder-kl\",embed_dim=4,ddconfig={coder}}}");
    let dir = tempfile::tempdir().unwrap();
    let sets = [&halved, "model.network.in_channels=49", "model.network.out_channels=4"];
    train(dir.path(), &sets, &[]).fails(3, &["model.embedders", "have [16, 16] rows and columns, the latents [8, 8]"]);

    let folder = tempfile::tempdir().unwrap();
    let lpips = format!("loss.lpips={{weights=\"{}\"}}", lpips_file(folder.path()));
    let dir = tempfile::tempdir().unwrap();
    train_small(dir.path(), &[&lpips], &[])
        .fails(6, &["the perceptual distance are missing", "prefix = \"loss.perceptual_loss.\""]);
}

#[test]
fn samples_are_compared_by_lpips_too() {
    let (dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lpips =
        format!("validation.lpips={{weights=\"{}\",prefix=\"loss.perceptual_loss.\"}}", lpips_file(folder.path()));
    let few =
        ["validation.every_steps=4", "validation.scenes=1", "validation.mean_scenes=3", "validation.sigmas=[1.0]"];
    train(dir.path(), &[&few[..], &[&lpips]].concat(), &[]).succeeds();
    let text = std::fs::read_to_string(dir.path().join("validation.jsonl")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&text).unwrap();
    for name in ["lpips", "lpips_copy", "lpips_mean"] {
        assert!(scores[name].as_f64().unwrap() > 0.0, "{name}: {scores}");
    }
}

/// A step of a shipped config.
fn one_step(config: &str, dir: &Path, sets: &[String]) {
    let short = ["train.steps=1", "train.checkpoint_every_steps=1", "logging.preview_every_steps=1000"];
    let own = [format!("run.dir={}", dir.display()), "run.device=cpu".to_owned(), "run.threads=1".to_owned()];
    let mut args = vec!["train".to_owned(), path(config), "--quiet".to_owned()];
    for set in short.iter().map(|set| (*set).to_owned()).chain(own).chain(sets.iter().cloned()) {
        args.extend(["--set".to_owned(), set]);
    }
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>()).succeeds();
}

/// What makes the autoencoder in `stage` the one of the first stage and of some embedders, and validation short.
fn on_stage(stage: &Path, embedders: &[usize]) -> Vec<String> {
    let keys = embedders.iter().map(|idx| format!("model.embedders.{idx}.weights"));
    let weights = keys.chain(["model.first_stage.weights".to_owned()]);
    let short = ["validation.scenes=1", "validation.mean_scenes=1", "sampling.num_steps=1"].map(str::to_owned);
    weights.map(|key| format!("{key}={}", stage.display())).chain(short).collect()
}

fn has_baselines(dir: &Path) {
    let text = std::fs::read_to_string(dir.join("validation.jsonl")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&text).unwrap();
    for name in ["psnr", "psnr_copy", "psnr_mean"] {
        assert!(scores[name].is_f64(), "{name}: {scores}");
    }
}

/// Small twins in a chain: the first stage that the others name in their configs, and each of them on it.
#[test]
fn the_tiny_twins_train_on_the_tiny_autoencoder() {
    let stage = tempfile::tempdir().unwrap();
    one_step("configs/autoencoder_tiny.toml", stage.path(), &[]);
    for (name, with_weights) in [("sv3d_tiny", &[0][..]), ("sv4d_tiny", &[1, 5]), ("sv4d2_tiny", &[1, 5])] {
        let dir = tempfile::tempdir().unwrap();
        let sets = on_stage(stage.path(), with_weights);
        one_step(&format!("configs/{name}.toml"), dir.path(), &sets);
        has_baselines(dir.path());
        if name == "sv3d_tiny" {
            trains_on_kept_moments(dir.path(), &sets);
        }
    }
}

/// The same for video clips, here folders of pictures in place of the fetched ones.
#[test]
fn the_tiny_twin_of_svd_trains_on_its_autoencoder() {
    let (data, stage, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(data.path().join("clip")).unwrap();
    for frame in 0..48u8 {
        let picture = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 3, y as u8 * 3, frame * 5]));
        picture.save(data.path().join(format!("clip/{frame:04}.png"))).unwrap();
    }
    let list = data.path().join("clips.jsonl");
    std::fs::write(&list, "{ \"path\": \"clip\", \"fps\": 24 }\n").unwrap();
    let listed = ["data.source.path", "validation.source.path"].map(|key| format!("{key}={}", list.display()));
    one_step("configs/autoencoder_tiny_clips.toml", stage.path(), &listed);
    one_step("configs/svd_tiny.toml", dir.path(), &[&on_stage(stage.path(), &[3]), &listed[..]].concat());
    has_baselines(dir.path());
}

/// As the run in `dir`, from a cache: what it loses is the same.
fn trains_on_kept_moments(dir: &Path, sets: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let cache = format!("model.cache={}", folder.path().join("kept").display());
    let own = [format!("run.dir={}", folder.path().join("run").display()), cache];
    let fixed = ["run.device=cpu", "run.threads=1", "train.steps=1", "validation.sample=false"].map(str::to_owned);
    let config = path("configs/sv3d_tiny.toml");
    let with = |verb: &[&str], more: &[String]| {
        let mut args: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        args.extend([config.clone(), "--quiet".to_owned()]);
        args.extend(fixed.iter().chain(&own).chain(sets).chain(more).flat_map(|set| ["--set".to_owned(), set.clone()]));
        anneal(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // An embedder of frames draws noise, which is marked; eight views have moments.
    let filled = with(&["data", "cache", "--batches", "1"], &[]).succeeds();
    assert_eq!(filled.out, "9 entries written, 0 were there\n");
    let again = with(&["data", "cache", "--batches", "1"], &[]).succeeds();
    assert_eq!(again.out, "0 entries written, 8 were there\n");
    let trained = with(&["train"], &[]).succeeds();
    let line = trained.out.lines().find(|line| line.starts_with("cache: ")).unwrap();
    assert!(line.starts_with("cache: 8 of "), "{line}");
    let loss = |dir: &Path| metrics(dir).pop().unwrap()["loss"].as_f64().unwrap();
    let (plain, kept) = (loss(dir), loss(&folder.path().join("run")));
    assert!((plain - kept).abs() < 1e-5 * plain, "{plain} {kept}");
    // What the first stage computes in is another: nothing fits.
    let dir = format!("run.dir={}", folder.path().join("other").display());
    let other = with(&["train"], &[dir, "model.disable_first_stage_autocast=true".to_owned()]).succeeds();
    assert!(other.out.contains("cache: 0 of "), "{other:?}");
    with(&["data", "cache"], &["model.cache=/proc/none".to_owned()]).fails(8, &["cannot be written"]);
}

#[test]
fn the_perceptual_distance_trains_a_diffusion_model_of_pixels() {
    let last = |sets: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        train(dir.path(), sets, &[]).succeeds();
        metrics(dir.path()).pop().unwrap()["loss"].as_f64().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let lpips = format!("loss.lpips={{weights=\"{}\",prefix=\"loss.perceptual_loss.\"}}", lpips_file(folder.path()));
    let weighted = last(&["loss.distance=lpips", &lpips]);
    let as_upstream = last(&["loss.distance=lpips", &lpips, "loss.weighted_lpips=false"]);
    assert!(weighted.is_finite() && as_upstream.is_finite() && weighted != as_upstream, "{weighted} {as_upstream}");
}
