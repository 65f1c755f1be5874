//! Orbits around a cube with a colour on each face.

use std::f32::consts::{FRAC_PI_2, PI};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::Values;
use super::*;
use crate::config::{CondView, Polar};

/// Faces of the cube: the axis out of it, and its colour. The front is red, what the x axis points at green.
const FACES: [(Vec3, [f32; 3]); 6] = [
    (Vec3::Z, [1.0, 0.0, 0.0]),
    (Vec3::X, [0.0, 1.0, 0.0]),
    (Vec3::NEG_Z, [0.0, 0.0, 1.0]),
    (Vec3::NEG_X, [1.0, 1.0, 0.0]),
    (Vec3::Y, [0.0, 1.0, 1.0]),
    (Vec3::NEG_Y, [1.0, 0.0, 1.0]),
];

/// Writes a cube with a face of each colour, and an animation `turn` that brings the green face to the front in
/// one second. `change` may spoil the file.
fn write_cube(folder: &Path, change: impl Fn(&mut Value)) -> PathBuf {
    let mut bytes: Vec<u8> = Vec::new();
    let (mut views, mut accessors, mut primitives, mut materials) = (vec![], vec![], vec![], vec![]);
    let mut add = |values: &[f32], kind: &str, accessors: &mut Vec<Value>, bounds: Value| {
        views.push(json!({ "buffer": 0, "byteOffset": bytes.len(), "byteLength": 4 * values.len() }));
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let width = match kind {
            "SCALAR" => 1,
            "VEC3" => 3,
            _ => 4,
        };
        let mut accessor = json!({ "bufferView": views.len() - 1, "componentType": 5126, "type": kind, "count": values.len() / width });
        accessor.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
        accessors.push(accessor);
        accessors.len() - 1
    };
    for (axis, color) in FACES {
        // Counter-clockwise seen from outside.
        let right = if axis.y == 0.0 { Vec3::Y.cross(axis) } else { Vec3::X };
        let up = axis.cross(right);
        let corners =
            [-right - up, right - up, right + up, -right - up, right + up, -right + up].map(|c| (c + axis).to_array());
        let bounds = json!({ "min": [-1, -1, -1], "max": [1, 1, 1] });
        let positions = add(&corners.concat(), "VEC3", &mut accessors, bounds);
        primitives.push(json!({ "attributes": { "POSITION": positions }, "material": materials.len() }));
        materials.push(json!({ "pbrMetallicRoughness": { "baseColorFactor": [color[0], color[1], color[2], 1.0] } }));
    }
    let turn = glam::Quat::from_rotation_y(-FRAC_PI_2).to_array();
    let times = add(&[0.0, 1.0], "SCALAR", &mut accessors, json!({ "min": [0], "max": [1] }));
    let turns = add(&[[0.0, 0.0, 0.0, 1.0], turn].concat(), "VEC4", &mut accessors, json!({}));
    let mut document = json!({
        "asset": { "version": "2.0" },
        "scene": 0,
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0 }],
        "meshes": [{ "primitives": primitives }],
        "materials": materials,
        "animations": [{
            "name": "turn",
            "channels": [{ "sampler": 0, "target": { "node": 0, "path": "rotation" } }],
            "samplers": [{ "input": times, "output": turns }],
        }],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{ "uri": "cube.bin", "byteLength": bytes.len() }],
    });
    change(&mut document);
    fs::write(folder.join("cube.bin"), bytes).unwrap();
    fs::write(folder.join("cube.gltf"), document.to_string()).unwrap();
    folder.join("cube.gltf")
}

fn config(path: PathBuf) -> MeshOrbitConfig {
    toml::from_str(&format!("path = {path:?}\nsize = 16\nnum_views = 4\nrandom_azimuth = false\ncond_view = \"first\""))
        .unwrap()
}

fn floats<'a>(sample: &'a Sample, name: &str) -> &'a [f32] {
    let Values::F32(values) = &sample.tensors[name].values else { panic!("{name} is of floats") };
    values
}

/// The face in the middle of a frame, as an index of `FACES`; none when an edge is there.
fn face(sample: &Sample, entry: &str, frame: usize) -> Option<usize> {
    let bright = |column: usize, c: usize| floats(sample, entry)[(3 * frame + c) * 256 + 8 * 16 + column] > 0.0;
    let [left, right] = [7, 8].map(|column| [0, 1, 2].map(|c| f32::from(u8::from(bright(column, c)))));
    if left != right {
        return None;
    }
    FACES.iter().position(|(_, color)| *color == left)
}

fn draw(id: u64) -> Stream {
    Stream::new(5, "augment", id, 0)
}

#[test]
fn each_azimuth_sees_its_face() {
    let folder = tempfile::tempdir().unwrap();
    let first = config(write_cube(folder.path(), |_| ()));
    let still = |config: &MeshOrbitConfig| {
        let mut source = MeshOrbit::open(config).unwrap();
        source.clips = vec![(None, "rest".to_owned(), 0.0)];
        source.sample(0, &mut draw(0)).unwrap()
    };
    let sample = still(&first);
    let faces: Vec<_> = (0..4).map(|view| face(&sample, "image", view)).collect();
    assert_eq!(faces, [Some(0), Some(1), Some(2), Some(3)], "front, x axis, back, other side");
    assert_eq!(floats(&sample, "azimuth_rad"), [0.0, FRAC_PI_2, PI, 3.0 * FRAC_PI_2]);
    assert_eq!(sample.tensors["camera"].shape, [4, 6, 16, 16]);
    // The second camera is on the x axis and looks back along it.
    assert!(floats(&sample, "camera")[6 * 256] < -0.9);
    assert_eq!(face(&sample, "cond_image", 0), Some(0));
    assert!(floats(&sample, "image")[0] > 0.999_999, "the background is white");

    let last = still(&MeshOrbitConfig { cond_view: CondView::Last, ..first.clone() });
    let faces: Vec<_> = (0..4).map(|view| face(&last, "image", view)).collect();
    assert_eq!(faces, [Some(1), Some(2), Some(3), Some(0)]);
    assert_eq!(floats(&last, "azimuth_rad"), [FRAC_PI_2, PI, 3.0 * FRAC_PI_2, 0.0]);
    assert_eq!(face(&last, "cond_image", 0), Some(0));

    for (elevation, seen) in [(80.0, 4), (-80.0, 5)] {
        let steep = still(&MeshOrbitConfig { elevation_deg: [elevation; 2], ..first.clone() });
        assert_eq!(face(&steep, "image", 0), Some(seen));
        let polar = (90.0 - elevation as f32).to_radians();
        assert!(floats(&steep, "polar_rad").iter().all(|rad| (rad - polar).abs() < 1e-6));
    }
}

#[test]
fn random_turns_keep_the_azimuths_between_the_views() {
    let folder = tempfile::tempdir().unwrap();
    let config = MeshOrbitConfig { random_azimuth: true, ..config(write_cube(folder.path(), |_| ())) };
    let source = MeshOrbit::open(&config).unwrap();
    let mut fronts = std::collections::BTreeSet::new();
    for id in 0..20 {
        let sample = source.sample(0, &mut draw(id)).unwrap();
        assert_eq!(sample, source.sample(1, &mut draw(id)).unwrap(), "the stream alone says what is drawn");
        assert_eq!(floats(&sample, "azimuth_rad"), [0.0, FRAC_PI_2, PI, 3.0 * FRAC_PI_2]);
        // Turned by about 45 degrees, an edge is in the middle of each view.
        let faces: Vec<_> = (0..4).filter_map(|view| face(&sample, "image", view)).collect();
        if faces.len() == 4 {
            assert!(faces.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 4), "{faces:?}");
            fronts.insert(faces[0]);
        }
    }
    assert_eq!(fronts.len(), 4, "the conditioning view comes from everywhere");
}

#[test]
fn times_follow_each_other_and_repeat_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_cube(folder.path(), |_| ());
    let config = MeshOrbitConfig { num_times: 3, seconds_per_time: 0.25, num_views: 2, ..config(path) };
    let source = MeshOrbit::open(&config).unwrap();
    let mut seen = 0;
    for id in 0..20 {
        let sample = source.sample(0, &mut draw(id)).unwrap();
        assert_eq!(sample.tensors["image"].shape, [6, 3, 16, 16]);
        assert_eq!(sample.tensors["cond_image"].shape, [3, 3, 16, 16]);
        assert_eq!(sample.tensors["cond_view"].shape, [2, 3, 16, 16]);
        assert_eq!(floats(&sample, "azimuth_rad"), [0.0, PI, 0.0, PI, 0.0, PI], "views of a time stand together");
        assert_eq!((sample.integers["num_video_frames"], sample.integers["num_views"]), (6, 2));
        let times = floats(&sample, "clip_time");
        for time in 0..3 {
            let expected = (times[0] + 0.25 * time as f32) % 1.0;
            assert!((times[2 * time] - expected).abs() < 1e-5 && times[2 * time] == times[2 * time + 1]);
            // At 45 degrees the edge is in the middle, so times near half a second say nothing.
            if (times[2 * time] - 0.5).abs() > 0.1 {
                let turned = times[2 * time] > 0.5;
                assert_eq!(face(&sample, "image", 2 * time), Some(usize::from(turned)));
                assert_eq!(face(&sample, "cond_image", time), Some(usize::from(turned)));
                seen |= 1 << u32::from(turned);
            }
        }
        let plane = 3 * 16 * 16;
        assert_eq!(floats(&sample, "cond_view"), &floats(&sample, "image")[..2 * plane]);
    }
    assert_eq!(seen, 3, "both sides of the animation were drawn");
}

#[test]
fn what_is_wrong_with_a_model_is_said_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(write_cube(folder.path(), |_| ()));
    let open = |config: &MeshOrbitConfig| MeshOrbit::open(config).err().unwrap().to_string();
    let missing = open(&MeshOrbitConfig { path: folder.path().join("no.gltf"), ..good.clone() });
    assert!(missing.contains("no.gltf: cannot be read"), "{missing}");
    let unknown = open(&MeshOrbitConfig { animations: vec!["Walk".to_owned()], ..good.clone() });
    assert!(unknown.ends_with("cube.gltf: no animation is called \"Walk\"; the model has: turn"), "{unknown}");
    let upside_down = open(&MeshOrbitConfig { elevation_deg: [30.0, -5.0], ..good.clone() });
    assert!(upside_down.starts_with("data.source.elevation_deg: [30, -5] is not a range"), "{upside_down}");

    let spoilt = |change: fn(&mut Value)| open(&config(write_cube(folder.path(), change)));
    let lines = spoilt(|document| document["meshes"][0]["primitives"][0]["mode"] = json!(1));
    assert!(lines.contains("cube.gltf: mesh of node 0: only triangles are drawn"), "{lines}");
    let empty = spoilt(|document| document["nodes"][0] = json!({}));
    assert!(empty.contains("the scene has no triangles"), "{empty}");
    let short = spoilt(|document| document["animations"][0]["samplers"][0]["output"] = json!(6));
    assert!(short.contains("cube.gltf: the file contradicts itself"), "{short}");
    fs::write(&good.path, "{\"asset\":").unwrap();
    let broken = open(&good);
    assert!(broken.contains("cube.gltf: not a readable glTF model"), "{broken}");
}

#[test]
fn a_view_apart_conditions_the_others_at_their_angles() {
    let folder = tempfile::tempdir().unwrap();
    let config = MeshOrbitConfig {
        cond_view: CondView::Apart,
        num_views: 2,
        num_times: 2,
        seconds_per_time: 1e-3,
        azimuths_deg: vec![90.0, 270.0],
        within: [0.0, 0.01],
        ..config(write_cube(folder.path(), |_| ()))
    };
    let sample = MeshOrbit::open(&config).unwrap().sample(0, &mut draw(0)).unwrap();
    assert_eq!([0, 1].map(|view| face(&sample, "image", view)), [Some(1), Some(3)], "the front is not among them");
    assert_eq!(face(&sample, "cond_image", 1), Some(0));
    assert_eq!((0..4).map(|row| face(&sample, "cond_frames", row)).collect::<Vec<_>>(), [Some(0); 4]);
    assert_eq!([0, 1].map(|view| face(&sample, "cond_view", view)), [Some(1), Some(3)]);
    let expected = [FRAC_PI_2, 3.0 * FRAC_PI_2];
    assert!(floats(&sample, "azimuth_rad").iter().zip(expected.repeat(2)).all(|(a, b)| (a - b).abs() < 1e-6));
    // Given angles count from the conditioning view, wherever it is.
    let last = MeshOrbitConfig { cond_view: CondView::Last, azimuths_deg: vec![10.0, 100.0], ..config };
    let sample = MeshOrbit::open(&last).unwrap().sample(0, &mut draw(0)).unwrap();
    assert_eq!([0, 1].map(|view| face(&sample, "image", view)), [Some(3), Some(0)]);
}

#[test]
fn strided_reversed_and_held_out_times_stay_in_their_part() {
    let folder = tempfile::tempdir().unwrap();
    let config = MeshOrbitConfig {
        num_views: 1,
        num_times: 3,
        seconds_per_time: 0.1,
        time_stride: [1, 4],
        reverse_rate: 0.5,
        within: [0.25, 0.75],
        ..config(write_cube(folder.path(), |_| ()))
    };
    let source = MeshOrbit::open(&config).unwrap();
    let mut steps = std::collections::BTreeSet::new();
    let (mut low, mut high) = (1.0_f32, 0.0_f32);
    for id in 0..60 {
        let sample = source.sample(0, &mut draw(id)).unwrap();
        let times = floats(&sample, "clip_time");
        assert!((times[2] - 2.0 * times[1] + times[0]).abs() < 1e-5, "evenly spaced: {times:?}");
        steps.insert(((times[1] - times[0]) * 10.0).round() as i32);
        low = times.iter().copied().fold(low, f32::min);
        high = times.iter().copied().fold(high, f32::max);
    }
    assert_eq!(steps.into_iter().collect::<Vec<_>>(), [-2, -1, 1, 2], "strides 3 and 4 do not fit");
    assert!((0.25..0.3).contains(&low) && (0.7..=0.750_001).contains(&high), "{low} {high}");
    let long = MeshOrbitConfig { time_stride: [3, 4], ..config };
    let error = MeshOrbit::open(&long).err().unwrap().to_string();
    assert!(error.starts_with("data.source.within: a scene takes 0.600 s, but that part"), "{error}");
}

#[test]
fn turns_and_jitters_stay_in_their_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let config = MeshOrbitConfig {
        random_azimuth: true,
        turn_deg: [80.0, 100.0],
        num_views: 3,
        azimuth_jitter_deg: 10.0,
        elevation_jitter_deg: 5.0,
        polar: Polar::Relative,
        ..config(write_cube(folder.path(), |_| ()))
    };
    let mut source = MeshOrbit::open(&config).unwrap();
    source.clips = vec![(None, "rest".to_owned(), 0.0)];
    let mut seen = std::collections::BTreeSet::new();
    for id in 0..40 {
        let sample = source.sample(0, &mut draw(id)).unwrap();
        assert_eq!(face(&sample, "cond_image", 0), Some(1), "always from the x axis, give or take ten degrees");
        let (azimuths, polars) = (floats(&sample, "azimuth_rad"), floats(&sample, "polar_rad"));
        assert_eq!((azimuths[0], polars[0]), (0.0, FRAC_PI_2), "the conditioning view is exact");
        assert!((azimuths[1].to_degrees() - 120.0).abs() <= 10.01 && (polars[2].to_degrees() - 90.0).abs() <= 5.01);
        seen.insert((azimuths[1].to_degrees() / 4.0) as i32);
    }
    assert!(seen.len() >= 4, "{seen:?}");
    let backwards = MeshOrbitConfig { turn_deg: [100.0, 80.0], ..config.clone() };
    assert!(MeshOrbit::open(&backwards).err().unwrap().to_string().starts_with("data.source.turn_deg"));
    let few = MeshOrbitConfig { azimuths_deg: vec![0.0], ..config };
    assert!(MeshOrbit::open(&few).err().unwrap().to_string().ends_with("1 angles for 3 views"));
}

#[test]
fn hostile_models_take_neither_memory_nor_time() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |change: fn(&mut Value)| MeshOrbit::open(&config(write_cube(folder.path(), change)));
    let refused = |change: fn(&mut Value)| opened(change).err().unwrap().to_string();
    let many = refused(|document| document["accessors"][0]["count"] = json!(4_000_000_000_u32));
    assert!(many.contains("accessor 0 says that it has 4000000000 values"), "{many}");
    let short = folder.path().join("short.glb");
    fs::write(&short, b"glTF\x02\0\0\0\xff\xff\xff\xff\x00\0\0\x7fJSON{}").unwrap();
    assert!(
        MeshOrbit::open(&config(short)).err().unwrap().to_string().contains("short.glb: not a readable glTF model")
    );
    let device = refused(|document| document["buffers"][0]["uri"] = json!("/dev/zero"));
    assert!(device.contains("\"/dev/zero\" is no file"), "{device}");
    let name = refused(|document| document["buffers"][0]["uri"] = json!("%ff"));
    assert!(name.contains("the file contradicts itself"), "{name}");
}
