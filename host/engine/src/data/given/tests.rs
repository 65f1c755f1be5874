//! Given pictures in the form of scenes, beside what the sources themselves give.

use std::f64::consts::FRAC_PI_2;
use std::path::Path;

use anneal_torch::random::Stream;
use image::{Rgb, RgbImage, Rgba, RgbaImage};

use super::super::{MultiviewDir, Sample, Source, Values, Videos, animation};
use super::*;
use crate::config::{BadSample, FfmpegConfig, MultiviewDirConfig, SourceConfig};

fn floats<'a>(sample: &'a Sample, name: &str) -> &'a [f32] {
    let Values::F32(values) = &sample.tensors[name].values else { panic!("{name} is of floats") };
    values
}

fn shapes(sample: &Sample) -> Vec<(&str, &[i64])> {
    sample.tensors.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice())).collect()
}

fn layout(toml: &str) -> Layout {
    Layout::of(&toml::from_str::<SourceConfig>(toml).unwrap()).unwrap()
}

fn views(toml: &str) -> ViewsLayout {
    match layout(toml).form {
        Form::Views(views) => views,
        Form::Clip(_) => panic!("views"),
    }
}

fn degrees(views: &ViewsLayout) -> Vec<[i64; 2]> {
    let whole = |angle: f64| angle.to_degrees().round() as i64;
    views.places.iter().map(|place| [whole(place.azimuth), whole(place.elevation)]).collect()
}

const ORBIT: &str = "kind = \"multiview-dir\"\npath = \"x\"\nsize = 8\nnum_views = 4\n";
const APART: &str =
    "kind = \"multiview-dir\"\npath = \"x\"\nsize = 8\nnum_views = 2\nnum_frames = 3\ncond_view = \"apart\"\n";

/// An object of four views at three times, each of a grey of its own.
fn write_object(root: &Path) {
    let folder = root.join("cup");
    let cameras: Vec<_> = (0..4_u8)
        .map(|view| {
            std::fs::create_dir_all(folder.join(format!("v{view}"))).unwrap();
            for time in 0..3_u8 {
                let image = RgbImage::from_pixel(8, 8, Rgb([50 * view + 10 * time; 3]));
                image.save(folder.join(format!("v{view}/{time}.png"))).unwrap();
            }
            serde_json::json!({ "name": format!("v{view}"), "azimuth_deg": 90 * u32::from(view), "elevation_deg": 10 })
        })
        .collect();
    std::fs::write(folder.join("cameras.json"), serde_json::json!({ "views": cameras }).to_string()).unwrap();
}

#[test]
fn an_orbit_of_a_picture_has_what_the_source_gives() {
    let root = tempfile::tempdir().unwrap();
    write_object(root.path());
    let toml = format!("path = {:?}\nsize = 8\nnum_views = 4\nrandom_start = false", root.path());
    let config: MultiviewDirConfig = toml::from_str(&toml).unwrap();
    let source = MultiviewDir::open(&config, BadSample::Fail).unwrap();
    let trained = source.sample(0, &mut Stream::new(1, "augment", 0, 0)).unwrap();

    let picture = read_picture(&root.path().join("cup/v0/0.png"), Framing::new([8, 8], None).unwrap()).unwrap();
    let given = views_scene([8, 8], planes_of(&[picture]), None, &views(ORBIT));
    assert_eq!(shapes(&given), shapes(&trained));
    assert_eq!((given.frames, &given.integers), (trained.frames, &trained.integers));
    for entry in ["cond_image", "azimuth_rad", "polar_rad", "image_only_indicator"] {
        assert_eq!(given.tensors[entry], trained.tensors[entry], "{entry}");
    }
}

#[test]
fn views_of_a_video_have_what_the_source_gives() {
    let root = tempfile::tempdir().unwrap();
    write_object(root.path());
    let toml = format!(
        "path = {:?}\nsize = 8\nnum_views = 3\nnum_frames = 3\nrandom_start = false\ncond_view = \"apart\"",
        root.path()
    );
    let source = MultiviewDir::open(&toml::from_str(&toml).unwrap(), BadSample::Fail).unwrap();
    let trained = source.sample(0, &mut Stream::new(1, "augment", 0, 0)).unwrap();
    let layout = views(&APART.replace("num_views = 2", "num_views = 3"));
    let framing = Framing::new([8, 8], None).unwrap();
    let video = read_video(&root.path().join("cup/v0"), framing, 1, None, &FfmpegConfig::default()).unwrap();
    let told = floats(&trained, "cond_view").to_vec();
    let given = views_scene([8, 8], planes_of(&video), Some(&told), &layout);
    assert_eq!(shapes(&given), shapes(&trained));
    for entry in ["cond_image", "cond_frames", "cond_view", "azimuth_rad", "polar_rad"] {
        assert_eq!(given.tensors[entry], trained.tensors[entry], "{entry}");
    }
}

#[test]
fn a_clip_from_a_picture_has_what_the_source_gives() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("a.gif"), animation::tests::gif(4)).unwrap();
    let source = format!("kind = \"video-dir\"\npath = {:?}\nsize = [8, 8]\n[clip]\nnum_frames = 3\n", root.path());
    let Ok(SourceConfig::VideoDir(config)) = toml::from_str(&source) else { panic!("{source}") };
    let trained = Videos::in_folder(&config, BadSample::Fail).unwrap();
    let trained = trained.sample(0, &mut Stream::new(1, "augment", 0, 0)).unwrap();

    let Layout { size, form: Form::Clip(clip) } = layout(&source) else { panic!("a clip") };
    let picture = RgbImage::from_pixel(size[1], size[0], Rgb([255; 3]));
    let given = clip_scene(&picture, &clip);
    assert_eq!(shapes(&given), shapes(&trained));
    assert_eq!(given.integers, trained.integers);
    assert_eq!((floats(&given, "fps_id"), floats(&given, "motion_bucket_id")), (&[6.0; 3][..], &[127.0; 3][..]));
    assert!(floats(&given, "cond_image").iter().all(|value| *value == 1.0));
}

#[test]
fn a_scene_of_no_picture_has_what_the_source_gives_but_for_pictures() {
    let blank = |toml: &str, size| Blank::of(&toml::from_str(toml).unwrap(), size);
    let clips = "kind = \"video-dir\"\npath = \"x\"\nsize = [8, 16]\n[clip]\nnum_frames = 3\nmotion_bucket_id = 9\n";
    let of_clips = blank(clips, None).unwrap();
    let given = of_clips.entries();
    let Layout { form: Form::Clip(clip), .. } = layout(clips) else { panic!("a clip") };
    let pictured = clip_scene(&RgbImage::new(16, 8), &clip);
    for entry in ["fps_id", "motion_bucket_id", "image_only_indicator"] {
        assert_eq!(given.tensors[entry], pictured.tensors[entry], "{entry}");
    }
    assert_eq!((given.frames, &given.integers), (pictured.frames, &pictured.integers));
    assert!(!given.tensors.contains_key("image") && !given.tensors.contains_key("cond_image"));
    assert_eq!(of_clips.pictures().shape, pictured.tensors["image"].shape);

    let shards = "kind = \"webdataset\"\nshards = [\"x.tar\"]\n";
    let given = blank(shards, Some([8, 24])).unwrap();
    assert_eq!(floats(&given.entries(), "original_size_as_tuple"), [8.0, 24.0]);
    assert_eq!(floats(&given.entries(), "crop_coords_top_left"), [0.0, 0.0]);
    assert_eq!((given.entries().frames, given.pictures().shape), (1, vec![1, 3, 8, 24]));
    let digits = "kind = \"idx\"\nimages = \"/nowhere/images\"\n";
    assert_eq!(blank(digits, Some([8, 8])).unwrap().pictures().shape, [1, 1, 8, 8]);
    let refused = |toml: &str| blank(toml, None).unwrap_err().to_string();
    assert!(refused(shards).contains("give --size ROWSxCOLUMNS") && refused(digits).contains("give --size"));
    assert!(refused(ORBIT).ends_with("orbits of 4 views from a picture; give a picture by --image"));
    assert!(refused(APART).ends_with("give a video by --video"));
}

#[test]
fn sources_say_what_their_scenes_are() {
    assert_eq!(degrees(&views(ORBIT)), [[90, 10], [180, 10], [270, 10], [0, 10]]);
    assert_eq!(degrees(&views(APART)), [[120, 10], [240, 10]]);
    let mesh = "kind = \"mesh-orbit\"\npath = \"x\"\nsize = 16\nnum_views = 3\nelevation_deg = [0.0, 20.0]\n";
    let fox = views(&format!("{mesh}azimuths_deg = [100.0, 200.0, 30.0]"));
    assert_eq!((degrees(&fox), fox.has_rays), (vec![[70, 10], [170, 10], [0, 10]], true), "from the last");
    assert_eq!(degrees(&views(&format!("{mesh}cond_view = \"first\""))), [[0, 10], [120, 10], [240, 10]]);
    let frames = layout("kind = \"frames-dir\"\npath = \"x\"\nsize = [8, 16]\nnum_frames = 5\nstride = 2\nfps = 12.0");
    assert_eq!(frames.form, Form::Clip(ClipLayout { num_frames: 5, fps: 6.0, motion_bucket: 127 }));
    assert_eq!(frames.makes(), "clips of 5 frames from a picture");
    assert_eq!(layout(APART).makes(), "2 views of 3 frames of a video at once");
    let none = |toml: &str| Layout::of(&toml::from_str(toml).unwrap()).unwrap_err().to_string();
    let emoji = none("kind = \"emoji\"\nsize = 8\nclasses = [{ name = \"a\", words = [\"cat\"] }]");
    assert!(emoji.contains("`emoji` cannot be made from pictures: it conditions on classes"), "{emoji}");
    assert!(none("kind = \"webdataset\"\nshards = [\"a.tar\"]").contains("they need `size` and `clip`"));
}

#[test]
fn a_scene_says_what_others_of_its_source_are() {
    for toml in [ORBIT, APART] {
        let layout = views(toml);
        let frames = vec![0.0; layout.num_times * 192];
        let of = Layout::of_sample("webdataset", &views_scene([8, 8], frames.clone(), None, &layout)).unwrap();
        let Form::Views(seen) = of.form else { panic!("views") };
        assert_eq!((of.size, seen.num_times, seen.cond_idx), ([8, 8], layout.num_times, layout.cond_idx));
        let (again, first) =
            (views_scene([8, 8], frames.clone(), None, &seen), views_scene([8, 8], frames, None, &layout));
        assert_eq!(again.tensors["azimuth_rad"], first.tensors["azimuth_rad"]);
        let apart = floats(&again, "polar_rad").iter().zip(floats(&first, "polar_rad")).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-6);
    }
    let clip = ClipLayout { num_frames: 3, fps: 12.0, motion_bucket: 127 };
    let sample = clip_scene(&RgbImage::new(8, 8), &clip);
    assert_eq!(Layout::of_sample("webdataset", &sample).unwrap().form, Form::Clip(clip));
    let image = clip_scene(&RgbImage::new(8, 8), &ClipLayout { num_frames: 1, fps: 7.0, motion_bucket: 127 });
    assert!(Layout::of_sample("webdataset", &image).unwrap_err().to_string().ends_with("they are single images"));
}

#[test]
fn cameras_are_where_they_are_said_to_be() {
    let orbit = views(ORBIT);
    let seen = orbit.clone().seen_from(Some(&[5.0, 10.0, 15.0, 20.0]), Some(&[-80.0, 190.0, 280.0, 10.0])).unwrap();
    assert_eq!(degrees(&seen), [[270, 5], [180, 10], [270, 15], [0, 20]], "from the last view, the input's");
    assert!((seen.cond_place.elevation - 20_f64.to_radians()).abs() < 1e-12);
    let one = orbit.clone().seen_from(Some(&[-30.0]), None).unwrap();
    assert_eq!(degrees(&one), [[90, -30], [180, -30], [270, -30], [0, -30]]);

    let apart = views(&format!("{APART}polar = \"relative\""));
    let seen = apart.clone().seen_from(Some(&[10.0, 20.0, 40.0]), Some(&[60.0, 300.0])).unwrap();
    assert_eq!(degrees(&seen), [[60, 20], [300, 40]]);
    let sample = views_scene([2, 2], vec![0.0; 36], None, &seen);
    let polar: Vec<f64> = floats(&sample, "polar_rad")[..2].iter().map(|angle| f64::from(*angle) - FRAC_PI_2).collect();
    assert!((polar[0] + 10_f64.to_radians()).abs() < 1e-6 && (polar[1] + 30_f64.to_radians()).abs() < 1e-6);

    let wrong = |views: &ViewsLayout, elevations: &[f64], azimuths: &[f64]| {
        let some = |list: &'_ [f64]| (!list.is_empty()).then(|| list.to_vec());
        let (elevations, azimuths) = (some(elevations), some(azimuths));
        views.clone().seen_from(elevations.as_deref(), azimuths.as_deref()).unwrap_err().to_string()
    };
    assert_eq!(wrong(&orbit, &[], &[1.0, 2.0, 3.0]), "3 azimuths are given, and the model has 4 views");
    assert_eq!(wrong(&orbit, &[1.0; 5], &[]), "5 elevations are given, and the model has 4 views");
    assert!(wrong(&apart, &[1.0; 4], &[]).ends_with("2 views; one for all, one a view, or the input's and one a view"));
    assert_eq!(wrong(&orbit, &[90.0], &[]), "an elevation is 90, which is not between -90 and 90 degrees");
    assert!(wrong(&orbit, &[], &[f64::NAN, 0.0, 0.0, 0.0]).contains("not an angle"));
    let nearest = |degrees: f64| orbit.nearest(super::super::Place { azimuth: degrees.to_radians(), elevation: 0.0 });
    assert_eq!([80.0, 140.0, 350.0, 300.0].map(nearest), [0, 1, 3, 2]);
}

#[test]
fn objects_fill_the_share_that_is_asked_for() {
    // A dark box of 10x4 pixels, off the middle of a transparent picture.
    let folder = tempfile::tempdir().unwrap();
    let mut picture = RgbaImage::from_pixel(60, 40, Rgba([0, 0, 0, 0]));
    for (x, y) in (0..10).flat_map(|x| (0..4).map(move |y| (x, y))) {
        picture.put_pixel(45 + x, 30 + y, Rgba([30, 30, 30, 255]));
    }
    let path = folder.path().join("box.png");
    picture.save(&path).unwrap();
    let inked = |ratio: Option<f64>| {
        let picture = read_picture(&path, Framing::new([20, 20], ratio).unwrap()).unwrap();
        assert_eq!(picture.dimensions(), (20, 20));
        let dark = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] < 128);
        let dark: Vec<[u32; 2]> = dark.map(|(x, y, _)| [x, y]).collect();
        let bounds = |axis: usize| {
            let values = dark.iter().map(|at| at[axis]);
            [values.clone().min().unwrap_or(0), values.max().unwrap_or(0)]
        };
        (bounds(0), bounds(1))
    };
    assert_eq!(inked(Some(0.5)), ([5, 14], [8, 11]), "half of the side, in the middle");
    assert_eq!(inked(Some(1.0)), ([0, 19], [6, 13]));
    assert_ne!(inked(None), inked(Some(0.5)));
    for wrong in [0.0, 1.5, f64::NAN] {
        let error = Framing::new([8, 8], Some(wrong)).unwrap_err().to_string();
        assert!(error.contains("above 0 and at most 1"), "{error}");
    }
    // All white has no object; it is scaled as it is.
    let white = Framing::new([8, 8], Some(0.5)).unwrap().apply(vec![RgbImage::from_pixel(9, 5, Rgb([255; 3]))]);
    assert!(white[0].dimensions() == (8, 8) && white[0].pixels().all(|pixel| pixel.0 == [255; 3]));
}

#[test]
fn frames_of_a_video_are_framed_alike_and_chosen_by_number() {
    let folder = tempfile::tempdir().unwrap();
    // A box that moves by three pixels a frame: its place in the picture must move, too.
    for time in 0..5 {
        let mut picture = RgbImage::from_pixel(40, 40, Rgb([255; 3]));
        for (x, y) in (0..8).flat_map(|x| (0..8).map(move |y| (x, y))) {
            picture.put_pixel(3 + 3 * time + x, 16 + y, Rgb([20; 3]));
        }
        picture.save(folder.path().join(format!("f{time}.png"))).unwrap();
    }
    let left = |picture: &RgbImage| picture.enumerate_pixels().find(|(_, _, pixel)| pixel.0[0] < 128).unwrap().0;
    let read = |ratio, stride, max| {
        let framing = Framing::new([20, 20], ratio).unwrap();
        read_video(folder.path(), framing, stride, max, &FfmpegConfig::default()).unwrap()
    };
    let framed = read(Some(1.0), 1, None);
    assert_eq!(framed.iter().map(left).collect::<Vec<_>>(), [0, 3, 6, 9, 12]);
    assert_eq!(read(None, 2, None).iter().map(left).collect::<Vec<_>>(), [2, 5, 8]);
    assert_eq!(read(None, 1, Some(2)).len(), 2);
    let error = picture_paths(&folder.path().join("none"))
        .map(|paths| read_picture(&paths[0], Framing { size: [8, 8], fill_ratio: None }));
    assert!(error.unwrap().unwrap_err().to_string().contains("none: cannot be read"));
    let empty = tempfile::tempdir().unwrap();
    assert!(picture_paths(empty.path()).unwrap_err().to_string().ends_with("no images in it"));
    assert_eq!(picture_paths(folder.path()).unwrap().len(), 5);
}

#[test]
fn a_very_long_picture_is_framed_without_a_square_of_its_side() {
    let mut tower = RgbImage::from_pixel(200, 60_000, Rgb([255; 3]));
    for (_, _, pixel) in tower.enumerate_pixels_mut().filter(|(_, row, _)| (10..59_990).contains(row)) {
        *pixel = Rgb([0; 3]);
    }
    let framed = Framing::new([64, 64], Some(0.9)).unwrap().apply(vec![tower]);
    assert_eq!(framed[0].dimensions(), (64, 64));
    let grey = |x: u32, y: u32| framed[0].get_pixel(x, y).0[0];
    assert!(grey(32, 32) < 240 && grey(2, 32) == 255 && grey(32, 1) == 255, "{} {}", grey(32, 32), grey(32, 1));
}
