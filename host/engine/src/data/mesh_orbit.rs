//! The `mesh-orbit` source: a glTF model seen from cameras around it, at times of its animations.

use std::f64::consts::{FRAC_PI_2, TAU};

use anneal_torch::random::Stream;
use glam::Vec3;

use super::mesh::{self, Camera, Canvas, Model, Pose};
use super::{DataError, Entry, Sample, SampleError, Source};
use crate::config::{CondView, MeshOrbitConfig};

/// Times a second at which the model is measured for its frame.
const MEASURES_A_SECOND: f32 = 12.0;

/// Orbits around an animated model, rendered when asked for.
///
/// A sample is a scene of `t = num_times * num_views` frames, the views of a time together:
/// - `image` `[t, 3, h, w]` in `[-1, 1]`, over white
/// - `cond_image` `[num_times, 3, h, w]`, the conditioning view at each time
/// - `polar_rad` `[t]`, a right angle less the elevation; `azimuth_rad` `[t]` in `[0, 2 pi)`, from the conditioning
///   view, which is at 0 (as SV3D)
/// - `camera` `[t, 6, h, w]`, the ray through each pixel in Pluecker coordinates, turned so that the conditioning view is at
///   azimuth 0; in radii of the ball that holds the model
/// - `animation` `[1]` i64, and its name as the text `animation_name`
/// - `clip_time` `[t]`, seconds into the animation
/// - `image_only_indicator` `[1, t]`; the integers `num_video_frames` = t and `num_views`
///
/// With more than one time there is `cond_view` `[num_views, 3, h, w]` too: all views at the first time (as SV4D).
pub struct MeshOrbit {
    config: MeshOrbitConfig,
    model: Model,
    /// The animations in use: index in the model (none for a model at rest), name, seconds.
    clips: Vec<(Option<usize>, String, f64)>,
    /// A ball that holds the model in every pose.
    centre: Vec3,
    radius: f32,
}

impl MeshOrbit {
    /// Loads the model, finds its animations, and measures it over all of them.
    ///
    /// # Errors
    /// When the file cannot be read or drawn, has no animation of a configured name, or the elevations are no range.
    pub fn open(config: &MeshOrbitConfig) -> Result<Self, DataError> {
        let [low, high] = config.elevation_deg;
        if !(low <= high && low > -90.0 && high < 90.0) {
            let reason = format!("[{low}, {high}] is not a range between -90 and 90 degrees, both left out");
            return Err(DataError::Setting { key: "elevation_deg", reason });
        }
        let model = mesh::load(&config.path)?;
        let clips = clips(config, &model)?;
        let (centre, radius) = measure(&model, &clips);
        if !(radius.is_finite() && radius > 0.0) {
            let reason = "the model has no size, or one that is not finite".to_owned();
            return Err(DataError::UnusableModel { path: config.path.clone(), reason });
        }
        Ok(Self { config: config.clone(), model, clips, centre, radius })
    }

    /// The conditioning view's place among the views.
    fn cond_view(&self) -> usize {
        match self.config.cond_view {
            CondView::Last => self.config.num_views as usize - 1,
            CondView::First => 0,
        }
    }

    /// Azimuths of the views from the conditioning view, evenly spaced.
    fn azimuths(&self) -> Vec<f64> {
        let views = self.config.num_views as usize;
        let step = |view: usize| (view + views - self.cond_view()) % views;
        (0..views).map(|view| step(view) as f64 * TAU / views as f64).collect()
    }
}

impl Source for MeshOrbit {
    fn kind(&self) -> &'static str {
        "mesh-orbit"
    }

    fn num_samples(&self) -> usize {
        self.config.scenes_per_epoch
    }

    fn sample(&self, _index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        let config = &self.config;
        let clip = ((draw.uniform() * self.clips.len() as f64) as usize).min(self.clips.len() - 1);
        let (animation, name, duration) = &self.clips[clip];
        let start = draw.uniform() * duration;
        let [low, high] = config.elevation_deg;
        let elevation = (low + (high - low) * draw.uniform()).to_radians();
        let turn = if config.random_azimuth { draw.uniform() * TAU } else { 0.0 };

        let azimuths = self.azimuths();
        let (mut planes, mut clip_times) = (Vec::new(), Vec::new());
        for time in 0..config.num_times {
            let seconds = start + f64::from(time) * config.seconds_per_time;
            let seconds = if *duration > 0.0 { seconds % duration } else { 0.0 };
            let pose = Pose::new(&self.model, *animation, seconds as f32);
            for azimuth in &azimuths {
                let camera = Camera::on_orbit(self.centre, self.radius, (turn + azimuth) as f32, elevation as f32);
                let mut canvas = Canvas::new(config.size);
                canvas.draw(&self.model, &pose, &camera);
                canvas.append_planes(&mut planes);
                clip_times.push(seconds as f32);
            }
        }

        let mut rays = Vec::new();
        for azimuth in &azimuths {
            let camera = Camera::on_orbit(self.centre, self.radius, *azimuth as f32, elevation as f32);
            camera.append_rays(config.size, &mut rays);
        }

        let (times, views, side) = (config.num_times as usize, config.num_views as usize, i64::from(config.size));
        let frames = (times * views) as i64;
        let frame =
            |i: usize| planes[i * planes.len() / (times * views)..(i + 1) * planes.len() / (times * views)].to_vec();
        let cond: Vec<f32> = (0..times).flat_map(|time| frame(time * views + self.cond_view())).collect();
        let first: Vec<f32> = (0..views).flat_map(frame).collect();
        let azimuth_rows: Vec<f32> = azimuths.iter().map(|&azimuth| azimuth as f32).collect();
        let mut sample = Sample::default();
        sample.put("cond_image", Entry::f32(&[times as i64, 3, side, side], cond));
        if times > 1 {
            sample.put("cond_view", Entry::f32(&[views as i64, 3, side, side], first));
        }
        sample.put("polar_rad", Entry::f32(&[frames], vec![(FRAC_PI_2 - elevation) as f32; times * views]));
        sample.put("azimuth_rad", Entry::f32(&[frames], azimuth_rows.repeat(times)));
        sample.put("camera", Entry::f32(&[frames, 6, side, side], rays.repeat(times)));
        sample.put("clip_time", Entry::f32(&[frames], clip_times));
        sample.put("animation", Entry::class(clip));
        sample.put_frames(Entry::f32(&[frames, 3, side, side], planes));
        sample.integers.insert("num_views".to_owned(), views as i64);
        sample.texts.insert("animation_name".to_owned(), name.clone());
        Ok(sample)
    }
}

/// The configured animations in the config's order, or all of the file, or the model at rest.
fn clips(config: &MeshOrbitConfig, model: &Model) -> Result<Vec<(Option<usize>, String, f64)>, DataError> {
    let available = model.animation_names();
    let wanted = if config.animations.is_empty() { &available } else { &config.animations };
    if wanted.is_empty() {
        return Ok(vec![(None, "rest".to_owned(), 0.0)]);
    }
    let find = |name: &String| match available.iter().position(|known| known == name) {
        Some(animation) => Ok((Some(animation), name.clone(), f64::from(model.duration(animation)))),
        None => Err(DataError::UnknownAnimation {
            path: config.path.clone(),
            name: name.clone(),
            available: available.clone(),
        }),
    };
    wanted.iter().map(find).collect()
}

/// Middle and radius of a ball around the model in all poses of its clips.
fn measure(model: &Model, clips: &[(Option<usize>, String, f64)]) -> (Vec3, f32) {
    let mut points: Vec<Vec3> = Vec::new();
    for (animation, _, duration) in clips {
        let measures = (*duration as f32 * MEASURES_A_SECOND).ceil() as usize;
        for i in 0..=measures {
            let pose = Pose::new(model, *animation, i as f32 / MEASURES_A_SECOND);
            points.extend(pose.points());
        }
    }
    let (low, high) = points
        .iter()
        .fold((Vec3::INFINITY, Vec3::NEG_INFINITY), |(low, high), &point| (low.min(point), high.max(point)));
    let centre = (low + high) / 2.0;
    let radius = points.iter().map(|point| point.distance(centre)).fold(0.0, f32::max);
    (centre, radius)
}

#[cfg(test)]
mod tests {
    use std::f32::consts::{FRAC_PI_2, PI};
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};

    use super::super::Values;
    use super::*;

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
            let corners = [-right - up, right - up, right + up, -right - up, right + up, -right + up]
                .map(|c| (c + axis).to_array());
            let bounds = json!({ "min": [-1, -1, -1], "max": [1, 1, 1] });
            let positions = add(&corners.concat(), "VEC3", &mut accessors, bounds);
            primitives.push(json!({ "attributes": { "POSITION": positions }, "material": materials.len() }));
            materials
                .push(json!({ "pbrMetallicRoughness": { "baseColorFactor": [color[0], color[1], color[2], 1.0] } }));
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
        toml::from_str(&format!(
            "path = {path:?}\nsize = 16\nnum_views = 4\nrandom_azimuth = false\ncond_view = \"first\""
        ))
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
}
