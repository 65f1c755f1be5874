//! Samples and pictures on disk.

use image::{AnimationDecoder, GenericImageView};

use crate::run::{SMALL, anneal, path, train};

#[test]
fn a_run_is_sampled_to_png_and_gif_and_the_seed_decides() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=2"], &[]).succeeds();
    let run = dir.path().to_str().unwrap();
    let out = |name: &str| dir.path().join(name);
    let sample = |name: &str, more: &[&str]| {
        let target = out(name);
        let mut args = vec!["sample", run, "--num", "2", "--out", target.to_str().unwrap()];
        args.extend(more);
        anneal(&args).succeeds();
        std::fs::read(target.join("samples.png")).unwrap()
    };
    let first = sample("a", &[]);
    assert!(first == sample("b", &[]), "the same seed gives the same picture");
    assert!(first != sample("c", &["--seed", "99"]), "another seed gives another picture");
    assert!(first != sample("d", &["--sampler", "heun-edm", "--steps", "3"]), "another solver gives another picture");

    let sheet = image::open(out("a/sheet.png")).unwrap();
    assert!(sheet.width() > 4 * 16 && sheet.height() > 2 * 3 * 16);
    let gif = std::io::BufReader::new(std::fs::File::open(out("a/sample-0.gif")).unwrap());
    assert_eq!(image::codecs::gif::GifDecoder::new(gif).unwrap().into_frames().count(), 4);

    anneal(&["sample", run, "--checkpoint", "77"]).fails(6, &["no checkpoint of step 77"]);
    anneal(&["sample", run, "--sampler", "heun"]).fails(3, &["heun-edm"]);
}

#[test]
fn previews_are_drawn_while_training() {
    let dir = tempfile::tempdir().unwrap();
    train(
        dir.path(),
        &["train.steps=3", "logging.preview_every_steps=2", "logging.clip_format=webp", "ema.decay=0.9"],
        &[],
    )
    .succeeds();
    for step in ["00000002", "00000003"] {
        let folder = dir.path().join(format!("previews/step-{step}"));
        assert!(image::open(folder.join("sheet.png")).unwrap().dimensions().0 > 64);
        let webp = std::io::BufReader::new(std::fs::File::open(folder.join("clip.webp")).unwrap());
        let decoder = image::codecs::webp::WebPDecoder::new(webp).unwrap();
        assert_eq!(decoder.into_frames().count(), 4);
    }
}

#[test]
fn batches_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("batch.png");
    let demo = path("configs/demo.toml");
    let mut args = vec!["data", "preview", &demo, "--out", out.to_str().unwrap()];
    for set in SMALL {
        args.extend(["--set", set]);
    }
    let ran = anneal(&args).succeeds();
    assert!(ran.out.contains("batch.png"));
    let picture = image::open(&out).unwrap();
    let first = picture.get_pixel(0, 0);
    assert!(picture.pixels().any(|(_, _, pixel)| pixel != first), "the picture is not empty");
}
