//! Clips of several lengths in one run, a batch of one.

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::run::{anneal, checkpoint_file, metrics};
use crate::sampling_given::{CLIP, trained};

/// A folder of `count` frames.
fn write_frames(folder: &Path, count: u8) {
    std::fs::create_dir_all(folder).unwrap();
    for n in 0..count {
        RgbImage::from_pixel(16, 16, Rgb([30 * n, 90, 200 - 30 * n])).save(folder.join(format!("{n}.png"))).unwrap();
    }
}

/// Clips of three and of five frames, two a batch; embedders count the frames.
fn config() -> String {
    CLIP.replace("clip = { num_frames = 3 }", "clip = { num_frames = 3, lengths = [5] }")
        .replace("n_copies = 3", "n_copies = 0")
        .replace("batch_size = 1", "batch_size = 2")
        .replace("steps = 12", "steps = 4")
}

#[test]
fn clips_of_several_lengths_train_one_model() {
    let house = tempfile::tempdir().unwrap();
    for (name, count) in [("a", 6), ("b", 4), ("c", 5)] {
        write_frames(&house.path().join("clips").join(name), count);
    }
    // Three videos of three frames and two of five: three batches an epoch.
    let run = trained(house.path(), &config());
    assert!(metrics(&run).iter().all(|line| line["loss"].as_f64().unwrap().is_finite()));
    let file = house.path().join("config.toml").display().to_string();
    let [once, broken] = ["once", "broken"].map(|name| house.path().join(name));
    let train = |dir: &Path, steps: &str, flags: &[&str]| {
        let dir = format!("run.dir={}", dir.display());
        anneal(&[&["train", &file, "--quiet", "--set", &dir, "--set", steps], flags].concat()).succeeds();
    };
    train(&once, "train.steps=5", &[]);
    train(&broken, "train.steps=2", &[]);
    train(&broken, "train.steps=5", &["--resume"]);
    assert!(checkpoint_file(&once, 5, "model.safetensors") == checkpoint_file(&broken, 5, "model.safetensors"));
    // Samples have `num_frames`.
    let out = house.path().join("samples").display().to_string();
    let sample = ["sample", run.to_str().unwrap(), "--out", &out, "--format", "png"];
    let made = anneal(&sample).succeeds();
    assert!(made.out.contains("samples"), "{}", made.out);
    let tar = house.path().join("packed").display().to_string();
    let packed = anneal(&["data", "pack", &file, "--out", &tar]).succeeds();
    assert!(packed.out.contains("5 samples"), "{}", packed.out);
}

#[test]
fn copies_of_a_fixed_number_do_not_follow_the_length() {
    let house = tempfile::tempdir().unwrap();
    write_frames(&house.path().join("clips/a"), 6);
    let file = house.path().join("config.toml");
    std::fs::write(&file, config().replacen("n_copies = 0", "n_copies = 3", 1)).unwrap();
    let checked =
        anneal(&["config", "check", file.to_str().unwrap(), "--plugin-dir", &crate::run::path("target/plugins")]);
    checked.fails(3, &["model.embedders.0.n_copies: is 3, but a scene of the data has 5 frames", "write 0"]);
}
