//! Videos from the outside: what is found, which frames come, what is said when they cannot.

use std::collections::BTreeSet;

use image::{Rgb, RgbImage};

use super::super::Values;
use super::*;

/// A folder of `count` frames of 8x8 pixels; frame `n` is of grey `10 * n`.
fn write_frames(folder: &Path, count: u8) {
    fs::create_dir_all(folder).unwrap();
    for n in 0..count {
        RgbImage::from_pixel(8, 8, Rgb([10 * n; 3])).save(folder.join(format!("{n}.png"))).unwrap();
    }
}

fn folder_config(path: &Path, rest: &str) -> VideoDirConfig {
    toml::from_str(&format!("path = {path:?}\nsize = [8, 8]\nclip = {{ num_frames = 2 }}\n{rest}")).unwrap()
}

fn greys(sample: &Sample) -> Vec<u32> {
    let Values::F32(values) = &sample.tensors["image"].values else { panic!("images are floats") };
    values.chunks(3 * 64).map(|frame| ((frame[0] + 1.0) * 12.75).round() as u32).collect()
}

fn draw(id: u64) -> Stream {
    Stream::new(7, "augment", id, 0)
}

#[test]
fn folders_of_images_and_animations_are_found_below_the_folder() {
    let root = tempfile::tempdir().unwrap();
    write_frames(&root.path().join("deep/er/walk"), 4);
    write_frames(&root.path().join("run"), 3);
    fs::write(root.path().join("deep/spin.gif"), animation::tests::gif(3)).unwrap();
    fs::write(root.path().join("notes.md"), "no video").unwrap();
    let source = Videos::in_folder(&folder_config(root.path(), "images_fps = 24.0"), BadSample::Fail).unwrap();
    assert_eq!((source.kind(), source.num_samples()), ("video-dir", 3));
    let samples: Vec<Sample> = (0..3).map(|index| source.sample(index, &mut draw(0)).unwrap()).collect();
    assert_eq!(
        samples.iter().map(|s| s.texts["clip"].as_str()).collect::<Vec<_>>(),
        ["deep/er/walk", "deep/spin.gif", "run"]
    );
    assert_eq!(samples[2].tensors["fps_id"].values, Values::F32(vec![23.0; 2]));
    let rate = &samples[1].tensors["fps_id"].values;
    assert!(matches!(rate, Values::F32(rates) if (rates[0] - 7.0).abs() < 0.5), "{rate:?}");
    let starts: BTreeSet<Vec<u32>> = (0..60).map(|id| greys(&source.sample(0, &mut draw(id)).unwrap())).collect();
    assert_eq!(starts, [[0, 1], [1, 2], [2, 3]].map(Vec::from).into());
    assert_eq!(source.sample(0, &mut draw(4)).unwrap(), source.sample(0, &mut draw(4)).unwrap());
}

#[test]
fn captions_stand_beside_the_videos() {
    let root = tempfile::tempdir().unwrap();
    write_frames(&root.path().join("run"), 3);
    let config = folder_config(root.path(), "captions = true");
    let missing = Videos::in_folder(&config, BadSample::Fail).err().unwrap().to_string();
    assert!(missing.contains("run.txt: cannot be read"), "{missing}");
    fs::write(root.path().join("run.txt"), "a fox\n runs \n").unwrap();
    let sample = Videos::in_folder(&config, BadSample::Fail).unwrap().sample(0, &mut draw(0)).unwrap();
    assert_eq!(sample.texts["caption"], "a fox runs");
}

#[test]
fn a_list_cuts_and_describes_its_videos() {
    let root = tempfile::tempdir().unwrap();
    write_frames(&root.path().join("data/run"), 8);
    write_frames(&root.path().join("data/walk"), 2);
    let list = root.path().join("list.jsonl");
    let config: VideoListConfig =
        toml::from_str(&format!("path = {list:?}\nsize = [8, 8]\nclip = {{ num_frames = 2 }}")).unwrap();
    let open = |text: &str| {
        fs::write(&list, text).unwrap();
        Videos::in_list(&config, BadSample::Fail).map_err(|error| error.to_string())
    };
    let line =
        r#"{ "path": "data/run", "caption": "runs", "fps": 4, "start_s": 0.5, "end_s": 1.25, "motion_bucket_id": 9 }"#;
    let source = open(&format!("{line}\n\n{}\n", r#"{ "path": "data/walk", "caption": "walks" }"#)).unwrap();
    assert_eq!(source.num_samples(), 2);
    let cuts: BTreeSet<Vec<u32>> = (0..40).map(|id| greys(&source.sample(0, &mut draw(id)).unwrap())).collect();
    assert_eq!(cuts, [[2, 3], [3, 4]].map(Vec::from).into());
    let sample = source.sample(0, &mut draw(0)).unwrap();
    assert_eq!((sample.texts["caption"].as_str(), sample.texts["clip"].as_str()), ("runs", "data/run"));
    assert_eq!(sample.tensors["motion_bucket_id"].values, Values::F32(vec![9.0; 2]));
    assert_eq!(sample.tensors["fps_id"].values, Values::F32(vec![3.0; 2]));

    assert!(!open("data/walk\ndata/run").unwrap().sample(0, &mut draw(0)).unwrap().texts.contains_key("caption"));
    let failed = |text: &str| open(text).err().unwrap();
    assert!(failed("data/run\ndata/fly").contains("list.jsonl:2: ") && failed("data/fly").contains("cannot be read"));
    assert!(failed(r#"{ "path": "data/run", "captoin": "x" }"#).contains("list.jsonl:1: unknown field `captoin`"));
    assert!(failed(r#"{ "path": "data/run", "start_s": 3, "end_s": 1 }"#).contains("`start_s` is not before `end_s`"));
    assert!(failed(&format!("{line}\ndata/walk")).contains("data/walk has no `caption`"));
    assert!(failed("\n").contains("the list names no video"));
    let (own, fetched) = (failed("data/fly.mp4"), failed("data/clips/fly.mp4"));
    assert!(!own.contains("cargo xtask data") && fetched.contains("run `cargo xtask data`"), "{own} {fetched}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let root = tempfile::tempdir().unwrap();
    let open =
        |rest: &str| Videos::in_folder(&folder_config(root.path(), rest), BadSample::Fail).err().unwrap().to_string();
    assert!(open("").contains("no video (mp4,"));
    fs::write(root.path().join("clip.mkv"), "no video").unwrap();
    let missing = open("ffmpeg = { program = \"/nowhere/ffmpeg\" }");
    assert!(missing.contains("clip.mkv: decoding it needs the program /nowhere/ffmpeg"), "{missing}");
    fs::remove_file(root.path().join("clip.mkv")).unwrap();
    write_frames(&root.path().join("short"), 1);
    assert!(open("").contains("short: the video has 1 frames to cut from"), "{}", open(""));
}

#[test]
fn videos_take_the_size_of_the_nearest_shape() {
    let root = tempfile::tempdir().unwrap();
    write_frames(&root.path().join("square"), 2);
    fs::write(root.path().join("wide.gif"), animation::tests::gif(3)).unwrap();
    let config = folder_config(root.path(), "sizes = [[8, 12]]");
    let source = Videos::in_folder(&config, BadSample::Fail).unwrap();
    assert_eq!(source.buckets(), Some(&[0, 1][..]));
    assert_eq!(source.sample(1, &mut draw(0)).unwrap().tensors["image"].shape, [2, 3, 8, 12]);
    fs::write(root.path().join("broken.gif"), "GIF89a").unwrap();
    assert!(Videos::in_folder(&config, BadSample::Fail).err().unwrap().to_string().contains("broken.gif"));
    assert_eq!(Videos::in_folder(&config, BadSample::Skip).unwrap().buckets(), Some(&[0, 0, 1][..]));
}

#[test]
fn videos_are_visited_at_every_length_that_they_have_frames_for() {
    let root = tempfile::tempdir().unwrap();
    write_frames(&root.path().join("long"), 5);
    write_frames(&root.path().join("short"), 3);
    fs::write(root.path().join("spin.gif"), animation::tests::gif(4)).unwrap();
    let config = |rest: &str| {
        let clip = format!(
            "path = {:?}\nsize = [8, 8]\nclip = {{ num_frames = 2, lengths = [5, 3, 2] }}\n{rest}",
            root.path()
        );
        toml::from_str::<VideoDirConfig>(&clip).unwrap()
    };
    let source = Videos::in_folder(&config(""), BadSample::Fail).unwrap();
    assert_eq!((source.num_samples(), source.buckets()), (7, Some(&[0, 1, 2, 0, 2, 0, 2][..])));
    let samples: Vec<Sample> = (0..7).map(|index| source.sample(index, &mut draw(0)).unwrap()).collect();
    let of = |sample: &Sample| (sample.texts["clip"].clone(), sample.integers["num_video_frames"], sample.frames);
    let all: Vec<(String, i64, i64)> = samples.iter().map(of).collect();
    let lengths = [("long", 2), ("long", 5), ("long", 3), ("short", 2), ("short", 3), ("spin.gif", 2), ("spin.gif", 3)];
    assert_eq!(all, lengths.map(|(name, frames)| (name.to_owned(), frames, frames)));
    assert_eq!(greys(&samples[1]), [0, 1, 2, 3, 4]);
    assert!(samples.iter().all(|sample| sample.tensors["cond_image"].shape == [1, 3, 8, 8]));

    // With sizes, a bucket is of one size and one length.
    let both = Videos::in_folder(&config("sizes = [[8, 12]]"), BadSample::Fail).unwrap();
    assert_eq!(both.buckets(), Some(&[0, 1, 2, 0, 2, 3, 5][..]));
    assert_eq!(both.sample(6, &mut draw(0)).unwrap().tensors["image"].shape, [3, 3, 8, 12]);

    // What is too short for any is missed when its turn comes, and so is what cannot be read.
    write_frames(&root.path().join("still"), 1);
    fs::write(root.path().join("broken.gif"), "GIF89a").unwrap();
    assert!(Videos::in_folder(&config(""), BadSample::Fail).err().unwrap().to_string().contains("broken.gif"));
    let source = Videos::in_folder(&config(""), BadSample::Skip).unwrap();
    assert_eq!((source.num_samples(), source.buckets().unwrap()[0]), (9, 0));
    let missed: Vec<usize> = (0..9).filter(|&index| source.sample(index, &mut draw(0)).is_err()).collect();
    assert_eq!(missed, [0, 8]);
}

#[test]
fn a_lists_cuts_say_how_long_a_video_is() {
    let root = tempfile::tempdir().unwrap();
    write_frames(&root.path().join("run"), 8);
    let list = root.path().join("list.jsonl");
    let clip = "clip = { num_frames = 2, lengths = [4] }";
    let config: VideoListConfig = toml::from_str(&format!("path = {list:?}\nsize = [8, 8]\n{clip}")).unwrap();
    let buckets = |line: &str| {
        fs::write(&list, line).unwrap();
        Videos::in_list(&config, BadSample::Fail).unwrap().buckets().unwrap().to_vec()
    };
    assert_eq!(buckets(r#"{ "path": "run", "fps": 4, "end_s": 1.0 }"#), [0, 1]);
    assert_eq!(buckets(r#"{ "path": "run", "fps": 4, "start_s": 0.25, "end_s": 1.0 }"#), [0]);
}
