//! The image recipes, made small, on data written here.

use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use crate::autoencoder::lpips_file;
use crate::run::{Ran, anneal, metrics, path};

/// Runs a shipped config for two steps on small batches.
fn train(config: &str, dir: &Path, sets: &[String]) -> Ran {
    let own = [format!("run.dir={}", dir.display()), "run.device=cpu".to_owned(), "run.threads=1".to_owned()];
    let short = ["train.steps=2", "data.batch_size=2", "data.workers=0", "logging.preview_every_steps=2"];
    let mut args = vec!["train".to_owned(), path(config), "--quiet".to_owned()];
    for set in own.into_iter().chain(short.map(str::to_owned)).chain(sets.iter().cloned()) {
        args.extend(["--set".to_owned(), set]);
    }
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn finishes(config: &str, sets: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    let few = ["sampling.num_steps=2", "logging.preview_scenes=2"].map(str::to_owned);
    train(config, dir.path(), &[&few[..], sets].concat()).succeeds();
    let lines = metrics(dir.path());
    assert!(lines.iter().all(|line| line["loss"].as_f64().unwrap().is_finite()), "{config}: {lines:?}");
    assert!(dir.path().join("previews/step-00000002/sheet.png").exists(), "{config}");
}

/// An IDX file of bytes.
pub fn idx(shape: &[u32], values: impl Iterator<Item = u8>) -> Vec<u8> {
    let lengths = shape.iter().flat_map(|length| length.to_be_bytes());
    [0, 0, 8, shape.len() as u8].into_iter().chain(lengths).chain(values).collect()
}

#[test]
fn the_toy_models_of_mnist_and_cifar_train() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name).display().to_string();
    std::fs::write(file("images"), idx(&[4, 28, 28], (0..4 * 28 * 28).map(|i| (i % 251) as u8))).unwrap();
    std::fs::write(file("labels"), idx(&[4], [7, 0, 9, 3].into_iter())).unwrap();
    let digits = [format!("data.source.images={}", file("images")), format!("data.source.labels={}", file("labels"))];
    for config in ["mnist", "mnist_cond", "mnist_cond_ema", "mnist_cond_l1_loss", "mnist_cond_discrete_eps"] {
        finishes(&format!("configs/{config}.toml"), &digits);
    }
    let records = (0..3u8).flat_map(|class| std::iter::once(class).chain((0..3072).map(|i| (i % 256) as u8)));
    std::fs::write(file("data_batch_1.bin"), records.collect::<Vec<u8>>()).unwrap();
    finishes("configs/cifar10_cond.toml", &[format!("data.source.files=[\"{}\"]", file("data_batch_1.bin"))]);

    // What is no such file is told before anything is built.
    let dir = tempfile::tempdir().unwrap();
    let swapped = [format!("data.source.images={}", file("labels")), format!("data.source.labels={}", file("images"))];
    train("configs/mnist_cond.toml", dir.path(), &swapped).fails(5, &["labels", "an array of 1 axes"]);
}

/// Writes a shard `a.tar` of four pictures of 48x32 pixels with what `beside` says of each, as names and bytes.
pub fn shard_of<const N: usize>(folder: &Path, beside: impl Fn(u8) -> [(String, Vec<u8>); N]) {
    let mut builder = tar::Builder::new(std::fs::File::create(folder.join("a.tar")).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    for i in 0..4u8 {
        let mut png = std::io::Cursor::new(Vec::new());
        let picture = RgbImage::from_fn(48, 32, |x, y| Rgb([x as u8 * 5, y as u8 * 7, i * 60]));
        picture.write_to(&mut png, ImageFormat::Png).unwrap();
        add(&format!("{i}.png"), png.get_ref());
        beside(i).iter().for_each(|(name, bytes)| add(name, bytes));
    }
    builder.finish().unwrap();
}

/// Such a shard with classes, as a setting.
fn shard(folder: &Path) -> String {
    shard_of(folder, |i| [(format!("{i}.cls"), i.to_string().into_bytes())]);
    format!("data.source.shards=[\"{}\"]", folder.join("*.tar").display())
}

#[test]
fn an_autoencoder_and_a_model_of_classes_on_it_train_from_shards() {
    let (data, stage) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shards = shard(data.path());
    let sized = ["data.source.size=[32,32]".to_owned(), shards];
    let coder = |at: &str| {
        vec![format!("{at}.embed_dim=4"), format!("{at}.ddconfig.z_channels=4"), format!("{at}.ddconfig.ch=32")]
    };
    let lpips = [
        format!("loss.lpips.weights={}", lpips_file(data.path())),
        "loss.lpips.prefix=loss.perceptual_loss.".to_owned(),
        "loss.discriminator.start_step=1".to_owned(),
    ];
    let sets = [&sized[..], &coder("autoencoder.network"), &lpips].concat();
    train("configs/autoencoder_kl.toml", stage.path(), &sets).succeeds();
    assert!(metrics(stage.path())[1]["disc"].is_f64());

    let small = [
        format!("model.first_stage.weights={}", stage.path().display()),
        "model.network.model_channels=32".to_owned(),
        "model.network.channel_mult=[1,1]".to_owned(),
        "model.network.attention_resolutions=[1,2]".to_owned(),
        "model.network.num_head_channels=16".to_owned(),
        "model.network.num_res_blocks=1".to_owned(),
    ];
    finishes("configs/imagenet-f8_cond.toml", &[&sized[..], &coder("model.first_stage"), &small].concat());
}
