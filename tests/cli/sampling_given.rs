//! Samples of pictures and videos that people give.

use std::path::{Path, PathBuf};

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Rgb, RgbImage, Rgba, RgbaImage};

use crate::run::{Ran, anneal, path, train};

/// Image to video in pixel space: three frames of 16x16.
pub const CLIP: &str = r#"
[run]
dir = "run"
device = "cpu"
threads = 1

[plugins]
dirs = ["PLUGINS"]

[data]
batch_size = 1
workers = 0
source = { kind = "video-dir", path = "clips", size = [16, 16], clip = { num_frames = 3 } }

[model]
input_key = "image"
extra_inputs = ["num_video_frames", "image_only_indicator"]
first_stage = { kind = "identity" }

[model.network]
kind = "video-unet"
in_channels = 6
out_channels = 3
model_channels = 32
channel_mult = [1, 1]
num_res_blocks = 1
attention_resolutions = [2]
num_head_channels = 32
num_classes = "sequential"
adm_in_channels = 16
context_dim = 8
use_linear_in_transformer = true
use_spatial_context = true
use_scale_shift_norm = true
merge_strategy = "learned_with_images"
video_kernel_size = [3, 1, 1]

[model.denoiser]
kind = "continuous"
scaling = { kind = "v-edm-cnoise" }

[[model.embedders]]
plugin = "open-clip-image-prediction"
input_key = "cond_image"
n_copies = 3
vision = { embed_dim = 8, width = 8, head_width = 8, layers = 1, patch_size = 56 }

[[model.embedders]]
plugin = "frames-concat"
input_key = "cond_image"
n_copies = 3

[[model.embedders]]
plugin = "scalar"
input_key = "fps_id"
dim = 8

[[model.embedders]]
plugin = "scalar"
input_key = "motion_bucket_id"
dim = 8

[loss]
distance = "l2"
sigma_per = "clip"
sigma_sampling = { plugin = "edm", p_mean = 0.0, p_std = 1.0 }
weighting = { plugin = "v" }

[optimizer]
kind = "adamw"
learning_rate = 1e-2

[train]
steps = 12

[sampling]
num_steps = 2
sampler = { plugin = "euler-edm" }
discretization = { plugin = "edm", sigma_min = 0.02, sigma_max = 20.0 }
"#;

/// The same made one of views over time: three views of two times, the input's camera apart.
const VIEWS: [(&str, &str); 7] = [
    (
        "source = { kind = \"video-dir\", path = \"clips\", size = [16, 16], clip = { num_frames = 3 } }",
        "source = { kind = \"mesh-orbit\", path = \"FOX\", size = 16, num_views = 3, num_times = 2, cond_view = \"apart\" }",
    ),
    (
        "kind = \"video-unet\"\nin_channels = 6",
        "kind = \"spatial-unet-with-time\"\nin_channels = 21\nmotion_context_dim = 3",
    ),
    ("merge_strategy = \"learned_with_images\"\nvideo_kernel_size = [3, 1, 1]", MERGE),
    ("n_copies = 3\nvision", "n_cond_frames = 2\nvision"),
    (
        "plugin = \"frames-concat\"\ninput_key = \"cond_image\"\nn_copies = 3",
        "plugin = \"identity\"\ninput_key = \"cond_view\"\nucg_rate = 0.1",
    ),
    (
        "input_key = \"fps_id\"\ndim = 8",
        "input_key = \"polar_rad\"\ndim = 8\n\n[[model.embedders]]\nplugin = \"fourier\"\ninput_key = \"camera\"\noctaves = 1",
    ),
    ("input_key = \"motion_bucket_id\"", "input_key = \"azimuth_rad\""),
];

const MERGE: &str = "time_block_merge_strategy = \"learned_with_images\"\ntime_kernel_size = [3, 1, 1]\n\
    time_mix_legacy = false\nuse_motion_attention = true\nuse_spatial_transformer = true";

/// Trains a config for as many steps as it takes for its conditions to be seen in the pictures.
pub fn trained(dir: &Path, config: &str) -> PathBuf {
    let config = config.replace("PLUGINS", &path("target/plugins")).replace("FOX", &path("target/data/fox/Fox.gltf"));
    let file = dir.join("config.toml");
    std::fs::write(&file, config).unwrap();
    anneal(&["train", file.to_str().unwrap(), "--quiet"]).succeeds();
    dir.join("run")
}

/// `anneal sample` of `run` into `out`.
pub fn sample(run: &Path, out: &Path, args: &[&str]) -> Ran {
    let mut all = vec!["sample", run.to_str().unwrap(), "--out", out.to_str().unwrap()];
    all.extend(args);
    anneal(&all)
}

pub fn opened(path: &Path) -> RgbImage {
    image::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_rgb8()
}

pub fn num_frames(path: &Path) -> usize {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    match path.extension().unwrap().to_str().unwrap() {
        "gif" => GifDecoder::new(file).unwrap().into_frames().count(),
        _ => WebPDecoder::new(file).unwrap().into_frames().count(),
    }
}

/// A folder of `count` frames of 16x16, each of another colour.
pub fn write_frames(folder: &Path, count: u8) -> String {
    std::fs::create_dir_all(folder).unwrap();
    for n in 0..count {
        RgbImage::from_pixel(16, 16, Rgb([30 * n, 200, 90])).save(folder.join(format!("{n:02}.png"))).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

#[test]
fn an_orbit_is_made_of_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["train.steps=12", "optimizer.learning_rate=1e-2", "ema.decay=0.5"], &[]).succeeds();
    let picture = dir.path().join("cup.png");
    let mut cup = RgbaImage::from_pixel(32, 24, Rgba([0, 0, 0, 0]));
    (0..100).for_each(|i| cup.put_pixel(10 + i % 10, 6 + i / 10, Rgba([200, 40, 40, 255])));
    cup.save(&picture).unwrap();
    let cup = picture.to_str().unwrap();
    let out = |name: &str| dir.path().join(name);
    let first = |name: &str, more: &[&str]| {
        let args = [&["--image", cup, "--format", "png", "--seed", "3"], more].concat();
        sample(&run, &out(name), &args).succeeds();
        opened(&out(name).join("sample-0/0000.png"))
    };
    let made = first("a", &["--format", "webp", "--elevations", "10", "--azimuths", "90,180,270,0"]);
    assert_eq!((made.dimensions(), num_frames(&out("a/sample-0.webp"))), ((16, 16), 4));
    assert!(out("a/sheet.png").is_file() && out("a/samples.png").is_file());
    let last = opened(&out("a/sample-0/0003.png"));
    assert_eq!(last.get_pixel(0, 0).0, [255; 3], "the last view is the given one, on white");
    assert!(last.pixels().any(|pixel| pixel.0[0] > 150 && pixel.0[1] < 80));
    let filled = |name: &str| opened(&out(name).join("sample-0/0003.png")).pixels().filter(|p| p.0[1] < 100).count();
    first("filled", &["--fill-ratio", "1"]);
    assert!(filled("filled") > 3 * filled("a") && filled("filled") > 200);

    let angles = ["--elevations", "10", "--azimuths", "90,180,270,0"];
    assert!(made == first("b", &angles), "the same request gives the same picture");
    for (name, more) in [
        ("c", vec!["--azimuths", "10,20,30,0"]),
        ("d", vec!["--azimuths", "90,180,270,0", "--elevations", "-20,10,10,10"]),
        ("e", [&angles[..], &["--condition", "animation=2"]].concat()),
        ("f", [&angles[..], &["--cond-aug", "0.7"]].concat()),
        ("g", [&angles[..], &["--no-ema"]].concat()),
    ] {
        assert!(made != first(name, &more), "{more:?} changes the sample");
    }
    assert!(made == first("h", &[&angles[..], &["--ema", "--decode-at-a-time", "1"]].concat()));

    let folder = write_frames(&dir.path().join("pictures"), 2);
    sample(&run, &out("two"), &["--image", &folder, "--image", cup, "--num", "2"]).succeeds();
    assert!(out("two/sample-5.gif").is_file() && !out("two/sample-6.gif").exists(), "two of each of three pictures");

    let fails = |args: &[&str], code, texts: &[&str]| sample(&run, &out("x"), args).fails(code, texts);
    fails(&["--image", cup, "--azimuths", "1,2,3"], 2, &["3 azimuths are given, and the model has 4 views"]);
    fails(&["--image", cup, "--elevations", "1,2"], 2, &["2 elevations are given, and the model has 4 views"]);
    let reads = "it reads animation, azimuth_rad, camera, cond_image, polar_rad";
    fails(&["--image", cup, "--frames-per-second", "7"], 2, &["no entry `fps_id`", reads]);
    fails(&["--image", cup, "--condition", "animation=fox"], 2, &["\"fox\" is no class"]);
    fails(&["--image", cup, "--condition", "animation"], 2, &["it has no `=`"]);
    fails(&["--video", &folder], 2, &["the model makes orbits of 4 views from a picture; give a picture by --image"]);
    fails(&["--image", &out("none.png").display().to_string()], 5, &["none.png: cannot be read"]);
    fails(&["--elevations", "3"], 2, &["--elevations is for --image and --video"]);
    fails(
        &["--format", "mp4", "--ffmpeg", "/nowhere/ffmpeg"],
        8,
        &["/nowhere/ffmpeg, which is not there; install ffmpeg"],
    );
    fails(&["--format", "avi"], 2, &["possible values: png, gif, webp, mp4"]);
}

#[test]
fn a_clip_is_made_of_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let frames = write_frames(&dir.path().join("clips/one"), 4);
    let run = trained(dir.path(), CLIP);
    let picture = format!("{frames}/02.png");
    let out = |name: &str| dir.path().join(name);
    let last = |name: &str, more: &[&str]| {
        let args = [&["--image", &picture, "--format", "png", "--format", "gif"], more].concat();
        sample(&run, &out(name), &args).succeeds();
        assert_eq!(num_frames(&out(name).join("sample-0.gif")), 3);
        assert_eq!(std::fs::read_dir(out(name).join("sample-0")).unwrap().count(), 3);
        opened(&out(name).join("sample-0/0002.png"))
    };
    let made = last("a", &[]);
    assert!(made == last("b", &["--frames-per-second", "7", "--motion-bucket", "127"]), "SVD's are the defaults");
    assert!(made != last("c", &["--frames-per-second", "30"]) && made != last("d", &["--motion-bucket", "250"]));
    let fails = |args: &[&str], texts: &[&str]| {
        let args = [&["--image", &picture], args].concat();
        sample(&run, &out("x"), &args).fails(2, texts);
    };
    fails(&["--cond-aug", "0.1"], &["no entry `cond_aug`; it reads cond_image"]);
    fails(&["--azimuths", "1,2,3"], &["the model makes clips of 3 frames from a picture; it has no --elevations"]);
    fails(&["--motion-bucket", "256"], &["256 is not in 0..=255"]);
    let args = ["--image", &picture, "--ema"];
    sample(&run, &out("x"), &args).fails(6, &["keeps no moving average"]);
}

#[test]
fn views_are_made_of_all_frames_of_a_video() {
    let dir = tempfile::tempdir().unwrap();
    let run = trained(
        dir.path(),
        &VIEWS.iter().fold(CLIP.to_owned(), |config, (from, to)| {
            assert!(config.contains(from), "{from}");
            config.replace(from, to)
        }),
    );
    let video = write_frames(&dir.path().join("video"), 5);
    let views = write_frames(&dir.path().join("views"), 3);
    let out = |name: &str| dir.path().join(name);
    let made = |name: &str, more: &[&str]| {
        let args = [&["--video", &video, "--format", "png", "--format", "gif"], more].concat();
        sample(&run, &out(name), &args).succeeds();
        let frame =
            |view: usize, time: usize| opened(&out(name).join(format!("sample-0-view-{view:02}/{time:04}.png")));
        [frame(0, 0), frame(2, 4), frame(1, 2)]
    };
    let rolling = made("a", &[]);
    assert_eq!(num_frames(&out("a/sample-0-view-02.gif")), 5);
    assert_eq!(num_frames(&out("a/sample-0-grid.gif")), 5);
    let grid = opened(&out("a/sample-0-grid.png"));
    assert!(grid.width() > 5 * 96 && grid.height() > 3 * 96);
    assert!(rolling == made("b", &["--decode-at-a-time", "4"]), "chunks of decoding change nothing");
    assert!(rolling[1] != made("c", &["--azimuths", "10,20,30"])[1]);

    let anchored = made("d", &["--reference-views", &views]);
    assert_eq!(anchored[0], opened(&dir.path().join("views/00.png")), "what is given is kept");
    assert!(anchored[1] != made("e", &["--reference-views", &views, "--windows", "rolling"])[1]);
    sample(&run, &out("f"), &["--video", &video, "--video-stride", "2", "--format", "webp"]).succeeds();
    assert_eq!(num_frames(&out("f/sample-0-grid.webp")), 3);

    let orbit = dir.path().join("orbit");
    train(&orbit, &["train.steps=1"], &[]).succeeds();
    let from_orbit = made("g", &["--orbit-run", orbit.to_str().unwrap()]);
    let first = format!("{video}/00.png");
    let args = ["--image", &first, "--elevations", "0", "--seed", "0", "--format", "png"];
    sample(&orbit, &out("h"), &args).succeeds();
    // Both have a view at 90 degrees as their first.
    assert_eq!(from_orbit[0], opened(&out("h/sample-0/0000.png")), "what the orbit's run makes of the first frame");

    let fails = |args: &[&str], code, texts: &[&str]| sample(&run, &out("x"), args).fails(code, texts);
    fails(&["--video", &video, "--reference-views", &video], 2, &["5 reference views are given", "3 views"]);
    fails(&["--video", &video, "--video-frames", "1"], 5, &["the video has 1 frames, and the model makes 2 at once"]);
    fails(&["--image", &format!("{video}/00.png")], 2, &["3 views of 2 frames of a video at once; give a video"]);
    fails(
        &["--video", &video, "--orbit-run", run.to_str().unwrap()],
        2,
        &["name the run of a model that makes orbits"],
    );
    fails(&["--reference-views", &views], 2, &["--video"]);
}
