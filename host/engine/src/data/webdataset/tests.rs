//! Shards as other tools write them, from the outside.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use super::super::{Entry, Values};
use super::*;

fn png(size: [u32; 2], grey: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(size[1], size[0], Rgb([grey; 3])).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn write(path: &Path, members: &[(&str, Vec<u8>)]) {
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.finish().unwrap();
}

fn config(folder: &Path, rest: &str) -> WebdatasetConfig {
    toml::from_str(&format!("shards = [{:?}]\n{rest}", folder.join("*.tar"))).unwrap()
}

fn open(folder: &Path, rest: &str) -> Result<Webdataset, String> {
    Webdataset::open(&config(folder, rest), BadSample::Fail)
        .map_err(|error| error.to_string().replace(&format!("{}/", folder.display()), ""))
}

fn read(source: &Webdataset, index: usize, id: u64) -> Sample {
    source.sample(index, &mut Stream::new(2, "augment", id, 0)).unwrap()
}

fn greys(sample: &Sample, entry: &str) -> Vec<u32> {
    let Values::F32(values) = &sample.tensors[entry].values else { panic!("images are floats") };
    let frame = values.len() / sample.tensors[entry].shape[0] as usize;
    values.chunks(frame).map(|frame| ((frame[0] + 1.0) * 127.5).round() as u32).collect()
}

#[test]
fn images_with_captions_classes_and_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let about = br#"{ "label": 7, "score": 0.5, "box": [1, 2.5], "title": "a cat", "exif": {"x": 1}, "none": null }"#;
    let members = [
        ("README", b"about".to_vec()),
        ("d/1.png", png([8, 8], 10)),
        ("d/1.txt", b"one cat".to_vec()),
        ("d/1.json", about.to_vec()),
        ("d/1.cls", b"3\n".to_vec()),
        ("d/1.pth", b"left alone".to_vec()),
    ];
    write(&folder.path().join("a.tar"), &members);
    let source = open(folder.path(), "classes = [\"label\"]").unwrap();
    assert_eq!(source.num_samples(), 1);
    let sample = read(&source, 0, 0);
    assert_eq!(sample.tensors.keys().collect::<Vec<_>>(), ["box", "class", "image", "label", "score"]);
    assert_eq!(sample.tensors["image"].shape, [1, 3, 8, 8]);
    assert_eq!(greys(&sample, "image"), [10]);
    assert_eq!(sample.tensors["label"], Entry::class(7));
    assert_eq!(sample.tensors["class"], Entry::class(3));
    assert_eq!(sample.tensors["box"], Entry::f32(&[2], vec![1.0, 2.5]));
    assert_eq!((sample.texts["caption"].as_str(), sample.texts["title"].as_str()), ("one cat", "a cat"));
    assert!(sample.integers.is_empty() && sample.frames == 1);

    let chosen = open(folder.path(), "entries = [\"image\", \"title\"]").unwrap();
    let sample = read(&chosen, 0, 0);
    assert_eq!((sample.tensors.len(), sample.texts.len()), (1, 1));
    let missing = open(folder.path(), "entries = [\"image\", \"depth\"]").err().unwrap();
    assert_eq!(missing, "a.tar: d/1: the sample has no \"depth\"");
    let nested = open(folder.path(), "entries = [\"exif\"]").err().unwrap();
    assert_eq!(nested, "a.tar: d/1.json: \"exif\" is neither a text nor numbers");
}

#[test]
fn numbered_pictures_are_frames_and_clips_are_cut_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut members: Vec<(String, Vec<u8>)> =
        (0..6).map(|n| (format!("c.{:04}.png", 5 - n), png([8, 8], 50 - 10 * n))).collect();
    members.push(("c.json".to_owned(), br#"{"fps": 16}"#.to_vec()));
    let members: Vec<(&str, Vec<u8>)> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    write(&folder.path().join("a.tar"), &members);

    let whole = read(&open(folder.path(), "").unwrap(), 0, 0);
    assert_eq!(greys(&whole, "image"), [0, 10, 20, 30, 40, 50], "by number, not by place");
    assert_eq!((whole.frames, whole.integers["num_video_frames"]), (6, 6));
    assert_eq!(whole.tensors["image_only_indicator"].shape, [1, 6]);

    let source = open(folder.path(), "clip = { num_frames = 3, stride = [2, 2] }\nentries = [\"image\"]").unwrap();
    let cuts: BTreeSet<Vec<u32>> = (0..40).map(|id| greys(&read(&source, 0, id), "image")).collect();
    assert_eq!(cuts, [[0, 20, 40], [10, 30, 50]].map(Vec::from).into());
    let sample = read(&source, 0, 0);
    assert_eq!(sample.tensors["fps_id"], Entry::f32(&[3], vec![7.0; 3]));
    assert_eq!(sample.tensors["cond_image"].shape, [1, 3, 8, 8]);
}

#[test]
fn pictures_are_cut_to_every_length_that_they_are_enough_for() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = |key: &str, count: u8| (0..count).map(|n| (format!("{key}.{n}.png"), png([8, 8], 10 * n))).collect();
    let mut members: Vec<(String, Vec<u8>)> = pictures("long", 5);
    members.extend::<Vec<_>>(pictures("short", 3));
    members.push(("short.json".to_owned(), br#"{"fps": 2}"#.to_vec()));
    members.push(("spin.gif".to_owned(), crate::data::animation::tests::gif(5)));
    let members: Vec<(&str, Vec<u8>)> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    write(&folder.path().join("a.tar"), &members);
    let buckets = |clip: &str| {
        let source = open(folder.path(), &format!("clip = {clip}\nsize = [8, 8]\nresize = true")).unwrap();
        (0..source.num_samples()).map(|index| read(&source, index, 0).frames).collect::<Vec<_>>()
    };
    // A video is not counted.
    assert_eq!(buckets("{ num_frames = 2, lengths = [4] }"), [2, 4, 2, 2]);
    // At four frames a second the three pictures of a second and a half are six.
    assert_eq!(buckets("{ num_frames = 2, lengths = [4], fps = 4.0 }"), [2, 2, 4, 2]);
}

#[test]
fn pictures_are_scaled_or_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.tar"), &[("1.png", png([8, 16], 10)), ("2.png", png([8, 8], 20))]);
    let scaled = open(folder.path(), "size = [8, 8]\nresize = true").unwrap();
    let sample = read(&scaled, 0, 0);
    assert_eq!(sample.tensors["image"].shape, [1, 3, 8, 8]);
    assert_eq!(sample.tensors["original_size_as_tuple"], Entry::f32(&[1, 2], vec![8.0, 16.0]));
    assert_eq!(sample.tensors["crop_coords_top_left"], Entry::f32(&[1, 2], vec![0.0, 4.0]));
    assert_eq!(sample.tensors["target_size_as_tuple"], Entry::f32(&[1, 2], vec![8.0, 8.0]));
    let chosen = open(folder.path(), "size = [4, 4]\nresize = true\nentries = [\"image\", \"crop_coords_top_left\"]");
    let sample = read(&chosen.unwrap(), 0, 0);
    assert_eq!(sample.tensors["crop_coords_top_left"], Entry::f32(&[1, 2], vec![0.0, 2.0]));
    assert!(!sample.tensors.contains_key("original_size_as_tuple"));
    let told = [("1.png", png([8, 16], 10)), ("1.json", br#"{ "original_size_as_tuple": [80, 160] }"#.to_vec())];
    write(&folder.path().join("b.tar"), &told);
    let both = open(folder.path(), "size = [8, 8]\nresize = true").unwrap();
    let own = Entry::f32(&[1, 2], vec![80.0, 160.0]);
    assert!((0..3).any(|i| read(&both, i, 0).tensors["original_size_as_tuple"] == own), "the sample's own word");
    fs::remove_file(folder.path().join("b.tar")).unwrap();
    let refused = open(folder.path(), "size = [8, 8]").err().unwrap();
    assert!(refused.starts_with("a.tar: 1.png: the image is 8x16 pixels"), "{refused}");
    assert!(open(folder.path(), "resize = true").err().unwrap().starts_with("data.source.resize: there is no `size`"));
}

#[test]
fn pictures_take_the_size_of_the_nearest_shape() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = [("1.png", [8, 16]), ("2.png", [9, 9]), ("3.png", [32, 16]), ("4.png", [10, 21])];
    let mut members: Vec<(&str, Vec<u8>)> = pictures.iter().map(|(name, size)| (*name, png(*size, 10))).collect();
    members.push(("5.txt", b"no picture".to_vec()));
    write(&folder.path().join("a.tar"), &members);
    let source = open(folder.path(), "size = [8, 8]\nsizes = [[8, 16], [16, 8]]\nresize = true").unwrap();
    assert_eq!(source.buckets(), Some(&[1, 0, 2, 1, 0][..]));
    let shapes: Vec<Vec<i64>> = (0..3).map(|index| read(&source, index, 0).tensors["image"].shape.clone()).collect();
    assert_eq!(shapes, [[1, 3, 8, 16], [1, 3, 8, 8], [1, 3, 16, 8]]);
    let unscaled = open(folder.path(), "size = [8, 8]\nsizes = [[8, 16]]").err().unwrap();
    assert!(unscaled.starts_with("data.source.sizes: pictures are scaled"), "{unscaled}");
}

#[test]
fn a_hostile_member_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = br#"{"a": "#.repeat(1000);
    let members = [
        ("1.png", png([8, 8], 10)),
        ("2.png", b"no picture".to_vec()),
        ("3.x.npy", b"\x93NUMPY\x01\x00".to_vec()),
        ("4.json", bomb),
        ("5.cls", b"many".to_vec()),
        ("6.txt", vec![0xff, 0xfe]),
        ("7.mp4", b"no video".to_vec()),
    ];
    write(&folder.path().join("a.tar"), &members);
    let source = open(folder.path(), "size = [8, 8]\nffmpeg = { program = \"/nowhere/ffmpeg\" }").unwrap();
    let wrong = |index: usize| match source.sample(index, &mut Stream::new(2, "augment", 0, 0)) {
        Ok(_) => panic!("sample {index} is read"),
        Err(error) => error.to_string(),
    };
    assert_eq!(greys(&read(&source, 0, 0), "image"), [10]);
    let expected = [
        "2.png: not a readable image",
        "3.x.npy: no readable .npy file",
        "4.json: no JSON object",
        "5.cls: the class is no whole number",
        "6.txt: the text is no UTF-8",
        "7.mp4: ",
    ];
    for (index, text) in (1..).zip(expected) {
        let error = wrong(index);
        assert!(error.contains(&format!("a.tar: {text}")), "{error}");
    }
}

#[test]
fn samples_of_all_shards_are_there_once() {
    let folder = tempfile::tempdir().unwrap();
    for shard in 0..3 {
        let names: Vec<String> = (0..4).map(|n| format!("{}.txt", 4 * shard + n)).collect();
        let members: Vec<(&str, Vec<u8>)> =
            names.iter().map(|name| (name.as_str(), name.clone().into_bytes())).collect();
        write(&folder.path().join(format!("s-{shard}.tar")), &members);
    }
    let source = open(folder.path(), "").unwrap();
    let texts: Vec<String> = (0..12).map(|index| read(&source, index, 0).texts["caption"].clone()).collect();
    assert_eq!(texts, (0..12).map(|n| format!("{n}.txt")).collect::<Vec<_>>());
}

#[test]
fn nothing_to_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(open(folder.path(), "").err().unwrap().contains("no file is called"));
    write(&folder.path().join("a.tar"), &[("1.pth", b"weights".to_vec())]);
    assert!(open(folder.path(), "").err().unwrap().contains("a.tar: the dataset is empty"));
}

#[test]
fn a_number_of_frames_past_all_bounds_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for count in ["9000000000000000000", "-1", "0"] {
        let integers = format!("{{\"num_video_frames\": {count}}}");
        let members =
            [("a.0.png", png([8, 8], 1)), ("a.1.png", png([8, 8], 2)), ("a.integers.json", integers.into_bytes())];
        write(&folder.path().join("s.tar"), &members);
        let refused = open(folder.path(), "").err().unwrap();
        assert_eq!(refused, format!("s.tar: a: num_video_frames is {count}, and at most 65536 are read"));
    }
}
