//! What the scenes of a source are, by its settings.

use std::f64::consts::{FRAC_PI_2, TAU};

use super::super::views::{Place, azimuth_of, cond_idx, turn};
use super::super::{Sample, Values};
use super::GivenError;
use crate::config::{ClipConfig, CondView, MeshOrbitConfig, MultiviewDirConfig, Polar, SourceConfig};

/// Frames a second of a clip of which nothing else is known; SVD's inference code has it so.
const FPS: f64 = 7.0;
/// Motion of a clip of which nothing else is known, as there.
const MOTION_BUCKET: u32 = 127;
/// Elevation of views of which nothing else is known, degrees; SV3D's inference code has it so.
const ELEVATION_DEG: f64 = 10.0;

/// Why pictures of a source of single images make no scenes.
const CLASSES: &str = "it conditions on classes, not on pictures";

/// What a scene is.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Rows and columns of a picture.
    pub size: [u32; 2],
    /// What the pictures are of.
    pub form: Form,
}

/// What the pictures of a scene are of.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// The frames of a clip, the first of which is given.
    Clip(ClipLayout),
    /// Views of an object, at one time or several.
    Views(ViewsLayout),
}

/// A clip.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipLayout {
    /// Frames of a clip.
    pub num_frames: usize,
    /// Frames a second.
    pub fps: f64,
    /// How much moves, 0 to 255.
    pub motion_bucket: u32,
}

/// Views of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewsLayout {
    /// Times of a scene.
    pub num_times: usize,
    /// Where the views are seen from, azimuths from the conditioning view.
    pub places: Vec<Place>,
    /// Where the conditioning view is seen from.
    pub cond_place: Place,
    /// The conditioning view's place among the others; none when it is apart from them.
    pub cond_idx: Option<usize>,
    /// Which angle `polar_rad` is.
    pub polar: Polar,
    /// Whether scenes have the rays through their pixels.
    pub has_rays: bool,
}

impl ClipLayout {
    /// Clips of `num_frames` frames, as much else known of them as is given.
    fn new(num_frames: u32, fps: Option<f64>, motion_bucket: Option<u32>) -> Self {
        Self {
            num_frames: num_frames as usize,
            fps: fps.unwrap_or(FPS),
            motion_bucket: motion_bucket.unwrap_or(MOTION_BUCKET),
        }
    }

    /// The clips that are cut as `cut` says.
    pub fn of_cut(cut: &ClipConfig) -> Self {
        Self::new(cut.num_frames, cut.fps, cut.motion_bucket_id)
    }
}

impl Layout {
    /// The layout of a source's scenes. Views are where the source has them, evenly around the object where it has them
    /// anywhere, and at the middle of its elevations.
    ///
    /// # Errors
    /// When its scenes are not conditioned on a picture, or its settings do not say what they are.
    pub fn of(source: &SourceConfig) -> Result<Self, GivenError> {
        let clip = |size, layout| Self { size, form: Form::Clip(layout) };
        let no_form = |kind, reason: &str| Err(GivenError::NoForm { kind, reason: reason.to_owned() });
        Ok(match source {
            SourceConfig::Emoji(_) => return no_form("emoji", CLASSES),
            SourceConfig::Idx(_) => return no_form("idx", CLASSES),
            SourceConfig::Cifar10(_) => return no_form("cifar10", CLASSES),
            SourceConfig::FramesDir(source) => {
                let fps = source.fps / f64::from(source.stride);
                clip(source.size, ClipLayout::new(source.num_frames, Some(fps), None))
            }
            SourceConfig::VideoDir(source) => clip(source.size, ClipLayout::of_cut(&source.clip)),
            SourceConfig::VideoList(source) => clip(source.size, ClipLayout::of_cut(&source.clip)),
            SourceConfig::Webdataset(source) => match (&source.clip, source.size) {
                (Some(cut), Some(size)) => clip(size, ClipLayout::of_cut(cut)),
                _ => {
                    return no_form(
                        "webdataset",
                        "its settings do not say what a scene is; they need `size` and `clip`",
                    );
                }
            },
            SourceConfig::MeshOrbit(source) => Self { size: [source.size; 2], form: Form::Views(of_mesh(source)) },
            SourceConfig::MultiviewDir(source) => {
                Self { size: [source.size; 2], form: Form::Views(of_folders(source)) }
            }
        })
    }

    /// The layout of scenes like `sample`, for sources whose settings do not say it. Its cameras are taken as they are.
    ///
    /// # Errors
    /// When the sample is one image, or its views have no angles.
    pub fn of_sample(kind: &'static str, sample: &Sample) -> Result<Self, GivenError> {
        let no_form = |reason: &str| Err(GivenError::NoForm { kind, reason: reason.to_owned() });
        let floats = |entry: &str| match sample.tensors.get(entry).map(|entry| &entry.values) {
            Some(Values::F32(values)) => values.as_slice(),
            _ => &[],
        };
        let Some([frames, _, rows, columns]) = sample.tensors.get("image").map(|image| image.shape.as_slice()) else {
            return no_form("they have no entry `image` of pictures");
        };
        let (size, frames) = ([*rows as u32, *columns as u32], *frames as usize);
        let Some(&num_views) = sample.integers.get("num_views") else {
            let fps = floats("fps_id").first().map_or(FPS, |fps_id| f64::from(*fps_id) + 1.0);
            let clip = ClipLayout { num_frames: frames, fps, motion_bucket: MOTION_BUCKET };
            return if frames > 1 {
                Ok(Self { size, form: Form::Clip(clip) })
            } else {
                no_form("they are single images")
            };
        };
        let num_views = num_views.max(1) as usize;
        let (azimuths, polars) = (floats("azimuth_rad"), floats("polar_rad"));
        if azimuths.len() < num_views || polars.len() < num_views {
            return no_form("their views have no entries `azimuth_rad` and `polar_rad`");
        }
        let angles = azimuths.iter().zip(polars).take(num_views);
        let place = |(azimuth, polar): (&f32, &f32)| Place {
            azimuth: f64::from(*azimuth),
            elevation: FRAC_PI_2 - f64::from(*polar),
        };
        let places: Vec<Place> = angles.map(place).collect();
        let cond_idx = places.iter().position(|place| place.azimuth == 0.0);
        let cond_place = cond_idx.map_or(Place { azimuth: 0.0, elevation: 0.0 }, |cond| places[cond]);
        let (num_times, has_rays) = (frames / num_views, sample.tensors.contains_key("camera"));
        let polar = Polar::Absolute;
        Ok(Self { size, form: Form::Views(ViewsLayout { num_times, places, cond_place, cond_idx, polar, has_rays }) })
    }

    /// What the model makes, in words.
    pub fn makes(&self) -> String {
        match &self.form {
            Form::Clip(clip) => format!("clips of {} frames from a picture", clip.num_frames),
            Form::Views(views) if views.num_times == 1 => {
                format!("orbits of {} views from a picture", views.places.len())
            }
            Form::Views(views) => {
                format!("{} views of {} frames of a video at once", views.places.len(), views.num_times)
            }
        }
    }
}

fn of_mesh(source: &MeshOrbitConfig) -> ViewsLayout {
    let [low, high] = source.elevation_deg;
    let mut views = evenly(source.num_views, source.cond_view, (low + high) / 2.0, source.polar);
    if !source.azimuths_deg.is_empty() {
        let zero = views.cond_idx.map_or(0.0, |cond| source.azimuths_deg[cond]);
        for (place, azimuth) in views.places.iter_mut().zip(&source.azimuths_deg) {
            place.azimuth = turn((azimuth - zero).to_radians());
        }
    }
    ViewsLayout { num_times: source.num_times as usize, has_rays: true, ..views }
}

fn of_folders(source: &MultiviewDirConfig) -> ViewsLayout {
    let views = evenly(source.num_views, source.cond_view, ELEVATION_DEG, source.polar);
    ViewsLayout { num_times: source.num_frames as usize, ..views }
}

/// Views evenly around the object.
fn evenly(num_views: u32, cond_view: CondView, elevation_deg: f64, polar: Polar) -> ViewsLayout {
    let elevation = elevation_deg.to_radians();
    let cond_idx = cond_idx(cond_view, num_views as usize);
    let place = |azimuth| Place { azimuth, elevation };
    let places = (0..num_views as usize).map(|view| place(azimuth_of(view, num_views as usize, cond_idx))).collect();
    ViewsLayout { num_times: 1, places, cond_place: place(0.0), cond_idx, polar, has_rays: false }
}

impl ViewsLayout {
    /// The same with cameras elsewhere, degrees. Of elevations there is one for all, or one a view; where the conditioning
    /// view is apart, they may begin with its own. Of azimuths there is one a view; those from the conditioning view count.
    ///
    /// # Errors
    /// When there are more or fewer, or an elevation is past a pole.
    pub fn seen_from(mut self, elevations: Option<&[f64]>, azimuths: Option<&[f64]>) -> Result<Self, GivenError> {
        let views = self.places.len();
        if let Some(elevations) = elevations {
            self.set_elevations(elevations)?;
        }
        let Some(azimuths) = azimuths else { return Ok(self) };
        if azimuths.len() != views {
            return Err(GivenError::Count {
                what: "azimuths",
                got: azimuths.len(),
                expected: format!("{views} views"),
            });
        }
        if let Some(&got) = azimuths.iter().find(|azimuth| !azimuth.is_finite()) {
            return Err(GivenError::Number { what: "an azimuth", got, expected: "an angle" });
        }
        let zero = self.cond_idx.map_or(0.0, |cond| azimuths[cond]);
        for (place, azimuth) in self.places.iter_mut().zip(azimuths) {
            place.azimuth = turn((azimuth - zero).to_radians());
        }
        Ok(self)
    }

    fn set_elevations(&mut self, elevations: &[f64]) -> Result<(), GivenError> {
        let views = self.places.len();
        if let Some(&got) = elevations.iter().find(|elevation| elevation.is_nan() || elevation.abs() >= 90.0) {
            return Err(GivenError::Number { what: "an elevation", got, expected: "between -90 and 90 degrees" });
        }
        let (own, of_views) = match (elevations, self.cond_idx) {
            ([one], _) => (Some(*one), vec![*one; views]),
            (all, Some(cond)) if all.len() == views => (Some(all[cond]), all.to_vec()),
            (all, None) if all.len() == views => (None, all.to_vec()),
            ([own, rest @ ..], None) if rest.len() == views => (Some(*own), rest.to_vec()),
            (_, cond) => {
                let apart =
                    if cond.is_none() { "; one for all, one a view, or the input's and one a view" } else { "" };
                let expected = format!("{views} views{apart}");
                return Err(GivenError::Count { what: "elevations", got: elevations.len(), expected });
            }
        };
        if let Some(own) = own {
            self.cond_place.elevation = own.to_radians();
        }
        for (place, elevation) in self.places.iter_mut().zip(of_views) {
            place.elevation = elevation.to_radians();
        }
        Ok(())
    }

    /// The view of this layout, an orbit, that is nearest in azimuth to `place`.
    pub fn nearest(&self, place: Place) -> usize {
        let apart = |view: &Place| {
            let turned = turn(view.azimuth - place.azimuth);
            turned.min(TAU - turned)
        };
        let nearest = (0..self.places.len()).min_by(|&a, &b| apart(&self.places[a]).total_cmp(&apart(&self.places[b])));
        nearest.unwrap_or(0)
    }
}
