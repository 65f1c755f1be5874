//! The `multiview-dir` source: objects seen from known cameras, at rest or moving.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anneal_torch::random::Stream;
use serde::Deserialize;

use super::clip::Cut;
use super::draw::pick;
use super::footage::{Fit, Footage, ImageFiles};
use super::frames_dir::{ENDINGS, entries, numbered};
use super::views::{Place, Views, cond_idx};
use super::{DataError, Sample, SampleError, Source, pixels};
use crate::bounded::{self, LIST_MAX};
use crate::config::{BadSample, MultiviewDirConfig};

/// The file with an object's cameras.
const CAMERAS: &str = "cameras.json";

/// Folders of objects, each with its views and a `cameras.json`. docs/data.md has the format.
///
/// A sample is a scene of an object, with the entries of [`Views::into_sample`] and the text `object`, the folder's
/// name.
pub struct MultiviewDir {
    config: MultiviewDirConfig,
    objects: Vec<Object>,
}

/// An object and its views in the order of the orbit.
struct Object {
    name: String,
    views: Vec<View>,
    num_frames: usize,
}

struct View {
    place: Place,
    frames: Vec<PathBuf>,
}

/// `cameras.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cameras {
    views: Vec<Camera>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Camera {
    /// The view's folder, or its image without the ending.
    name: String,
    azimuth_deg: f64,
    elevation_deg: f64,
}

impl MultiviewDir {
    /// Lists the objects, their cameras and their images.
    ///
    /// With `skip`, objects that are not whole are named in the log and left out.
    ///
    /// # Errors
    /// When a folder cannot be read, there is no object, or (with `fail`) an object is not whole or the images of the
    /// first cannot be read.
    pub fn open(config: &MultiviewDirConfig, on_bad: BadSample) -> Result<Self, DataError> {
        let [least, most] = config.stride;
        if least == 0 || least > most {
            let reason = format!("[{least}, {most}] is no range of strides");
            return Err(DataError::Setting { key: "stride", reason });
        }
        if config.num_views == 0 || config.num_frames == 0 {
            return Err(DataError::Setting { key: "num_views", reason: "a scene of nothing".to_owned() });
        }
        let mut objects = Vec::new();
        for folder in entries(&config.path)?.into_iter().filter(|path| path.join(CAMERAS).is_file()) {
            match object(&folder, config) {
                Ok(object) => objects.push(object),
                Err(error) if on_bad == BadSample::Skip => tracing::warn!("{error}; it is left out"),
                Err(error) => return Err(error),
            }
        }
        let source = Self { config: config.clone(), objects };
        if source.objects.is_empty() {
            let wanted = format!("no folder with a {CAMERAS} in it");
            return Err(DataError::Empty { path: config.path.clone(), wanted });
        }
        if on_bad == BadSample::Fail {
            source.sample(0, &mut Stream::new(0, "augment", 0, 0))?;
        }
        Ok(source)
    }

    /// The frames of a view, `[t, 3, h, w]`.
    fn planes(&self, view: &View, cut: Cut) -> Result<Vec<f32>, SampleError> {
        let fit = Fit { size: [self.config.size; 2], resize: self.config.resize };
        let numbers: Vec<usize> = cut.numbers().collect();
        let mut images = ImageFiles { paths: &view.frames, fps: 1.0, fit }.frames(&numbers)?;
        if cut.reversed {
            images.reverse();
        }
        let mut planes = Vec::with_capacity(images.iter().map(|image| image.as_raw().len()).sum());
        for image in &images {
            pixels::append_planes(image, &mut planes);
        }
        Ok(planes)
    }
}

impl Source for MultiviewDir {
    fn kind(&self) -> &'static str {
        "multiview-dir"
    }

    fn name(&self, index: usize) -> String {
        self.objects[index].name.clone()
    }

    fn contents(&self) -> Vec<(String, u64)> {
        self.objects
            .iter()
            .map(|object| (object.name.clone(), (object.views.len() * object.num_frames) as u64))
            .collect()
    }

    fn num_samples(&self) -> usize {
        self.objects.len()
    }

    fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        let (config, object) = (&self.config, &self.objects[index]);
        let start = pick(draw.uniform(), object.views.len());
        let start = if config.random_start { start } else { 0 };
        let (chosen, cond) = choose(object.views.len(), start, config);
        let times = config.num_frames as usize;
        let cut = Cut::draw(times, config.stride, config.reverse_rate, 0..object.num_frames, draw);
        let cut = cut.map_err(|needed| SampleError::Unusable {
            place: object.name.clone(),
            reason: format!("the views have {} frames, {needed} are needed", object.num_frames),
        })?;
        let of_views =
            chosen.iter().map(|&view| self.planes(&object.views[view], cut)).collect::<Result<Vec<_>, _>>()?;
        let cond_image = match chosen.iter().position(|&view| view == cond) {
            Some(view) => of_views[view].clone(),
            None => self.planes(&object.views[cond], cut)?,
        };
        let frame = cond_image.len() / times;
        // [v, t, ...] -> [t*v, ...]
        let mut image = Vec::with_capacity(of_views.len() * cond_image.len());
        for time in 0..times {
            of_views.iter().for_each(|planes| image.extend_from_slice(&planes[time * frame..(time + 1) * frame]));
        }
        let views = Views {
            size: [config.size; 2],
            image,
            cond_image,
            places: chosen.iter().map(|&view| object.views[view].place).collect(),
            cond_place: object.views[cond].place,
            polar: config.polar,
        };
        let mut sample = views.into_sample();
        sample.texts.insert("object".to_owned(), object.name.clone());
        Ok(sample)
    }
}

/// The views of a scene, spread over the `available` ones from `start` on, and the conditioning one.
fn choose(available: usize, start: usize, config: &MultiviewDirConfig) -> (Vec<usize>, usize) {
    let wanted = config.num_views as usize;
    let at = |step: usize, of: usize| (start + step * available / of) % available;
    match cond_idx(config.cond_view, wanted) {
        // The conditioning view is where the orbit starts.
        Some(cond) => ((0..wanted).map(|view| at((view + wanted - cond) % wanted, wanted)).collect(), start),
        None => ((1..=wanted).map(|view| at(view, wanted + 1)).collect(), start),
    }
}

/// Reads what there is of an object, its images aside.
fn object(folder: &Path, config: &MultiviewDirConfig) -> Result<Object, DataError> {
    let path = folder.join(CAMERAS);
    let wrong = |reason: String| DataError::Unusable { place: path.display().to_string(), reason };
    let text = bounded::read_text(&path, LIST_MAX).map_err(|source| DataError::Read { path: path.clone(), source })?;
    let cameras: Cameras = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let apart = usize::from(cond_idx(config.cond_view, 1).is_none());
    let needed = config.num_views as usize + apart;
    if cameras.views.len() < needed {
        return Err(wrong(format!("it has {} views, {needed} are needed", cameras.views.len())));
    }
    let names: BTreeSet<&str> = cameras.views.iter().map(|camera| camera.name.as_str()).collect();
    if names.len() < cameras.views.len() {
        return Err(wrong("two views have one name".to_owned()));
    }
    let mut views = Vec::new();
    for camera in &cameras.views {
        if !camera.azimuth_deg.is_finite() || camera.elevation_deg.abs() > 90.0 || camera.elevation_deg.is_nan() {
            return Err(wrong(format!("view {:?} has an elevation past the poles", camera.name)));
        }
        if Path::new(&camera.name).components().count() != 1 || camera.name.contains("..") {
            return Err(wrong(format!("view {:?} is no name of a file beside it", camera.name)));
        }
        let frames = frames(folder, &camera.name)?;
        if frames.is_empty() {
            let wanted = format!("neither a folder {0:?} of images nor an image {0:?}", camera.name);
            return Err(DataError::Empty { path: folder.to_owned(), wanted });
        }
        let place = Place { azimuth: camera.azimuth_deg.to_radians(), elevation: camera.elevation_deg.to_radians() };
        views.push(View { place, frames });
    }
    let num_frames = views[0].frames.len();
    if let Some(other) = views.iter().position(|view| view.frames.len() != num_frames) {
        let (first, got) = (&cameras.views[0].name, views[other].frames.len());
        let name = &cameras.views[other].name;
        return Err(wrong(format!("view {name:?} has {got} frames, but view {first:?} {num_frames}")));
    }
    let needed = (config.num_frames as usize - 1) * config.stride[0] as usize + 1;
    if num_frames < needed {
        return Err(DataError::ClipTooShort { path: folder.to_owned(), needed, got: num_frames });
    }
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Object { name, views, num_frames })
}

/// The images of a view: those in its folder, or the one that has its name.
fn frames(folder: &Path, name: &str) -> Result<Vec<PathBuf>, DataError> {
    let inner = folder.join(name);
    if inner.is_dir() {
        return numbered(&inner);
    }
    Ok(ENDINGS
        .iter()
        .map(|ending| folder.join(format!("{name}.{ending}")))
        .find(|path| path.is_file())
        .into_iter()
        .collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{Rgb, RgbImage};

    use super::super::Values;
    use super::*;

    /// Views a turn apart by 60 degrees at rising elevations; frame `t` of view `v` is of grey `40 * v + 10 * t`.
    fn write_object(root: &Path, name: &str, frames: u8) {
        let folder = root.join(name);
        let views: Vec<_> = (0..6_u8)
            .map(|v| {
                let view = format!("view-{v}");
                fs::create_dir_all(folder.join(&view)).unwrap();
                for t in 0..frames {
                    let image = RgbImage::from_pixel(8, 8, Rgb([40 * v + 10 * t; 3]));
                    image.save(folder.join(&view).join(format!("{t:04}.png"))).unwrap();
                }
                serde_json::json!({ "name": view, "azimuth_deg": 60 * u32::from(v), "elevation_deg": 10 * v })
            })
            .collect();
        fs::write(folder.join(CAMERAS), serde_json::json!({ "views": views }).to_string()).unwrap();
    }

    fn config(root: &Path, rest: &str) -> MultiviewDirConfig {
        toml::from_str(&format!("path = {root:?}\nsize = 8\n{rest}")).unwrap()
    }

    fn greys(sample: &Sample, entry: &str) -> Vec<u32> {
        let Values::F32(values) = &sample.tensors[entry].values else { panic!("images are floats") };
        values.chunks(3 * 64).map(|frame| ((frame[0] + 1.0) * 127.5).round() as u32).collect()
    }

    fn degrees(sample: &Sample, entry: &str) -> Vec<i32> {
        let Values::F32(values) = &sample.tensors[entry].values else { panic!("angles are floats") };
        values.iter().map(|angle| angle.to_degrees().round() as i32).collect()
    }

    fn sample(root: &Path, rest: &str, id: u64) -> Sample {
        let source = MultiviewDir::open(&config(root, rest), BadSample::Fail).unwrap();
        source.sample(0, &mut Stream::new(3, "augment", id, 0)).unwrap()
    }

    #[test]
    fn an_orbit_ends_or_starts_at_its_conditioning_view() {
        let root = tempfile::tempdir().unwrap();
        write_object(root.path(), "cup", 1);
        let last = sample(root.path(), "num_views = 3\nrandom_start = false", 0);
        assert_eq!(greys(&last, "image"), [80, 160, 0], "views 2, 4, 0");
        assert_eq!(greys(&last, "cond_image"), [0]);
        assert_eq!(degrees(&last, "azimuth_rad"), [120, 240, 0]);
        assert_eq!(degrees(&last, "polar_rad"), [70, 50, 90]);
        assert_eq!((last.integers["num_video_frames"], last.integers["num_views"]), (3, 3));
        assert_eq!(last.texts["object"], "cup");
        assert!(!last.tensors.contains_key("cond_view"));
        let first = sample(root.path(), "num_views = 6\nrandom_start = false\ncond_view = \"first\"", 0);
        assert_eq!(greys(&first, "image"), [0, 40, 80, 120, 160, 200]);

        let starts: BTreeSet<Vec<i32>> = (0..60)
            .map(|id| {
                let sample = sample(root.path(), "num_views = 2\ncond_view = \"first\"\npolar = \"relative\"", id);
                assert_eq!(degrees(&sample, "azimuth_rad"), [0, 180]);
                assert_eq!(greys(&sample, "image")[0], greys(&sample, "cond_image")[0]);
                degrees(&sample, "polar_rad")
            })
            .collect();
        assert_eq!(starts, [[90, 60], [90, 120]].map(Vec::from).into());
    }

    #[test]
    fn a_moving_object_gives_the_rows_of_sv4d() {
        let root = tempfile::tempdir().unwrap();
        write_object(root.path(), "fan", 4);
        let rest = "num_views = 2\nnum_frames = 2\nstride = [1, 3]\nreverse_rate = 0.5\nrandom_start = false\ncond_view = \"apart\"";
        let mut cuts = BTreeSet::new();
        for id in 0..240 {
            let sample = sample(root.path(), rest, id);
            let cond = greys(&sample, "cond_image");
            assert_eq!(degrees(&sample, "azimuth_rad"), [120, 240, 120, 240]);
            let expected: Vec<u32> = cond.iter().flat_map(|grey| [80 + grey, 160 + grey]).collect();
            assert_eq!(greys(&sample, "image"), expected, "views 2 and 4 at the condition's times");
            assert_eq!(greys(&sample, "cond_view"), expected[..2]);
            assert_eq!(greys(&sample, "cond_frames"), [cond[0], cond[0], cond[1], cond[1]]);
            cuts.insert(cond);
        }
        assert_eq!(cuts.len(), 12, "each pair of times in both directions: {cuts:?}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let open =
            |rest: &str| MultiviewDir::open(&config(root.path(), rest), BadSample::Fail).err().unwrap().to_string();
        assert!(open("num_views = 2").contains("no folder with a cameras.json in it"));
        write_object(root.path(), "cup", 2);
        assert!(open("num_views = 6\ncond_view = \"apart\"").ends_with("cameras.json: it has 6 views, 7 are needed"));
        assert!(open("num_views = 2\nnum_frames = 3").contains("cup: the clip has 2 frames, 3 are needed"));
        fs::remove_file(root.path().join("cup/view-3/0001.png")).unwrap();
        let uneven = open("num_views = 2");
        assert!(uneven.ends_with("view \"view-3\" has 1 frames, but view \"view-0\" 2"), "{uneven}");
        fs::write(
            root.path().join("cup").join(CAMERAS),
            r#"{ "views": [{ "name": "../x", "azimuth_deg": 0, "elevation_deg": 0 }] }"#,
        )
        .unwrap();
        assert!(open("num_views = 1").contains("\"../x\" is no name of a file beside it"));
        fs::write(root.path().join("cup").join(CAMERAS), r#"{ "views": [{ "name": "x", "azimuth": 0 }] }"#).unwrap();
        assert!(open("num_views = 1").contains("unknown field `azimuth`"));
    }

    #[test]
    fn a_view_may_be_one_image() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("cup");
        fs::create_dir_all(&folder).unwrap();
        RgbImage::from_pixel(8, 8, Rgb([50; 3])).save(folder.join("front.png")).unwrap();
        fs::write(folder.join(CAMERAS), r#"{ "views": [{ "name": "front", "azimuth_deg": 0, "elevation_deg": 5 }] }"#)
            .unwrap();
        assert_eq!(greys(&sample(root.path(), "num_views = 1", 0), "image"), [50]);
    }
}
