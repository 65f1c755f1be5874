//! Samples of classes, texts and numbers alone, without the data that a run was trained on.

use std::path::Path;

use image::RgbImage;

use crate::recipes::{idx, shard_of};
use crate::run::{Ran, anneal, path};
use crate::sampling_given::{CLIP, num_frames, opened, sample, trained, write_frames};

/// `CLIP` made one of a text, in place of a picture.
const OF_TEXT: [(&str, &str); 5] = [
    ("clip = { num_frames = 3 } }", "captions = true, clip = { num_frames = 3 } }"),
    ("in_channels = 6", "in_channels = 3"),
    (
        "plugin = \"open-clip-image-prediction\"\ninput_key = \"cond_image\"\nn_copies = 3\n\
         vision = { embed_dim = 8, width = 8, head_width = 8, layers = 1, patch_size = 56 }",
        TEXT,
    ),
    ("[[model.embedders]]\nplugin = \"frames-concat\"\ninput_key = \"cond_image\"\nn_copies = 3\n", ""),
    ("batch_size = 1", "batch_size = 2"),
];

/// An encoder of texts without a tokenizer's file.
const TEXT: &str = "plugin = \"byt5\"\ninput_key = \"caption\"\nmax_length = 12\nucg_rate = 0.1\n\
    text = { vocab_size = 384, width = 8, head_width = 8, heads = 1, hidden = 8, layers = 1 }";

/// Pictures of a text, told of their size.
const PICTURE: [(&str, &str); 5] = [
    (
        "source = { kind = \"video-dir\", path = \"clips\", size = [16, 16], clip = { num_frames = 3 } }",
        "source = { kind = \"webdataset\", shards = [\"a.tar\"], size = [16, 16], resize = true }",
    ),
    ("extra_inputs = [\"num_video_frames\", \"image_only_indicator\"]\n", ""),
    ("kind = \"video-unet\"\nin_channels = 6", "kind = \"unet\"\nin_channels = 3"),
    (
        "use_spatial_context = true\nuse_scale_shift_norm = true\n\
         merge_strategy = \"learned_with_images\"\nvideo_kernel_size = [3, 1, 1]\n",
        "use_scale_shift_norm = true\n",
    ),
    ("sigma_per = \"clip\"\n", ""),
];

/// `CLIP` with parts of it replaced.
fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(CLIP.to_owned(), |config, (from, to)| {
        assert!(config.contains(from), "{from}");
        config.replace(from, to)
    })
}

fn first(run: &Path, out: &Path, args: &[&str]) -> RgbImage {
    sample(run, out, args).succeeds();
    opened(&out.join("sample-0.png"))
}

#[test]
fn digits_of_a_class_are_made_without_the_digits() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(file("images"), idx(&[4, 12, 16], (0..4 * 12 * 16).map(|i| (i % 251) as u8))).unwrap();
    std::fs::write(file("labels"), idx(&[4], [7, 0, 9, 3].into_iter())).unwrap();
    let sets = [
        format!("run.dir={}", file("run")),
        format!("data.source.images={}", file("images")),
        format!("data.source.labels={}", file("labels")),
        "run.device=cpu".to_owned(),
        "run.threads=1".to_owned(),
        "data.batch_size=3".to_owned(),
        "data.workers=0".to_owned(),
        // A group norm over single channels would take the class out again.
        "model.network.channel_mult=[1,2]".to_owned(),
        "model.network.num_res_blocks=1".to_owned(),
        "optimizer.learning_rate=1e-2".to_owned(),
        "train.steps=12".to_owned(),
        "sampling.num_steps=2".to_owned(),
        "logging.preview_every_steps=100".to_owned(),
        "logging.preview_scenes=1".to_owned(),
    ];
    let mut args = vec!["train".to_owned(), path("configs/mnist_cond.toml"), "--quiet".to_owned()];
    args.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>()).succeeds();

    let (run, out) = (dir.path().join("run"), |name: &str| dir.path().join(name));
    let three = first(&run, &out("a"), &["--condition", "class=3", "--num", "4"]);
    assert_eq!(three.dimensions(), (16, 12), "as the images say");
    assert!(out("a/sample-3.png").is_file() && !out("a/sample-4.png").exists() && out("a/sheet.png").is_file());
    assert!(three != opened(&out("a/sample-3.png")), "each has noise of its own");

    std::fs::remove_file(file("images")).unwrap();
    std::fs::remove_file(file("labels")).unwrap();
    let made = |name: &str, args: &[&str]| first(&run, &out(name), &[&["--size", "8x8"], args].concat());
    let three = made("b", &["--condition", "class=3"]);
    assert_eq!(three.dimensions(), (8, 8));
    assert!(three == made("c", &["--condition", "class=3"]), "the same request gives the same picture");
    assert!(three != made("d", &["--condition", "class=4"]) && three != made("e", &[]), "the class is seen");

    let fails = |args: &[&str], texts: &[&str]| sample(&run, &out("x"), args).fails(2, texts);
    fails(&["--condition", "class=3"], &["nothing says of what size", "give --size ROWSxCOLUMNS"]);
    fails(&["--size", "8x9"], &["multiples of 2 pixels, not of 8x9"]);
    fails(&["--size", "8"], &["it is not two numbers from 1 to 4096"]);
    fails(&["--size", "8x8", "--image", "a.png"], &["cannot be used with"]);
    fails(&["--size", "8x8", "--condition", "class=fox"], &["\"fox\" is no class"]);
    fails(&["--condition", "class=3", "--condition", "class=4"], &["--condition class=.. is given more than once"]);
    fails(&["--size", "8x8", "--condition", "caption=a fox"], &["no entry `caption`; it reads class"]);
    let args = ["--size", "8x8", "--condition", "class=12"];
    let ran: Ran = sample(&run, &out("x"), &args);
    assert!(ran.err.contains("labels reach from 12 to 12, classes from 0 to 9"), "{ran:?}");
}

#[test]
fn pictures_of_a_text_are_told_their_own_size() {
    let dir = tempfile::tempdir().unwrap();
    shard_of(dir.path(), |i| [(format!("{i}.txt"), format!("picture {i}").into_bytes())]);
    let sizes = "plugin = \"scalar\"\ninput_key = \"original_size_as_tuple\"\ndim = 4";
    let crops = "plugin = \"scalar\"\ninput_key = \"crop_coords_top_left\"\ndim = 4";
    let embedders = [
        ("plugin = \"scalar\"\ninput_key = \"fps_id\"\ndim = 8", sizes),
        ("plugin = \"scalar\"\ninput_key = \"motion_bucket_id\"\ndim = 8", crops),
    ];
    let run = trained(dir.path(), &changed(&[&PICTURE[..], &OF_TEXT[2..], &embedders].concat()));
    std::fs::remove_file(dir.path().join("a.tar")).unwrap();
    let made = |name: &str, args: &[&str]| first(&run, &dir.path().join(name), args);
    let fox = made("a", &["--condition", "caption=a fox"]);
    assert_eq!(fox.dimensions(), (16, 16));
    let told = |size: &str, crop: &str| {
        let [size, crop] = [format!("original_size_as_tuple={size}"), format!("crop_coords_top_left={crop}")];
        made("b", &["--condition", "caption=a fox", "--condition", &size, "--condition", &crop])
    };
    assert!(fox == told("16,16", "0,0"), "the sample's own size, nothing cut off");
    assert!(fox != told("640,480", "0,0") && fox != told("16,16", "0,90"));
    assert!(fox != made("c", &["--condition", "caption=a cat"]));
    let wide = made("d", &["--size", "16x32"]);
    assert_eq!(wide.dimensions(), (32, 16), "a text that was dropped in training may be left out");
    let args = ["--condition", "original_size_as_tuple=16"];
    sample(&run, &dir.path().join("x"), &args).fails(2, &["\"16\" is no pair `ROWS,COLUMNS`"]);
}

#[test]
fn clips_of_a_text_are_made_without_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let clips = dir.path().join("clips");
    write_frames(&clips.join("one"), 4);
    std::fs::write(clips.join("one.txt"), "a fox").unwrap();
    let run = trained(dir.path(), &changed(&OF_TEXT));
    std::fs::remove_dir_all(&clips).unwrap();
    let made = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let args = [&["--condition", "caption=a fox", "--format", "png", "--format", "gif"], more].concat();
        sample(&run, &out, &args).succeeds();
        assert_eq!(num_frames(&out.join("sample-0.gif")), 3);
        opened(&out.join("sample-0/0002.png"))
    };
    let fox = made("a", &["--num", "2"]);
    assert!(dir.path().join("a/sample-1.gif").is_file());
    assert!(fox == made("b", &["--frames-per-second", "7", "--motion-bucket", "127", "--num", "2"]));
    assert!(fox != made("c", &["--motion-bucket", "250", "--num", "2"]));

    // What takes a picture says so.
    write_frames(&clips.join("one"), 4);
    let run = trained(dir.path(), &CLIP.replace("dir = \"run\"", "dir = \"of_picture\""));
    let run = run.with_file_name("of_picture");
    let fails = |args: &[&str], texts: &[&str]| sample(&run, &dir.path().join("x"), args).fails(2, texts);
    fails(&["--condition", "fps_id=6"], &["reads the entry `cond_image`", "give a picture by --image"]);
    fails(&["--condition", "cond_image=1"], &["a picture is given by --image"]);
}
