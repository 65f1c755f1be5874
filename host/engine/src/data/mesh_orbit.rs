//! The `mesh-orbit` source: a glTF model seen from cameras around it, at times of its animations.

use anneal_torch::random::Stream;
use glam::Vec3;

use super::draw::pick;
use super::mesh::{self, Camera, Canvas, Model, Pose, append_orbit_rays};
use super::source::of_file;
use super::views::{Place, Views, azimuth_of, cond_idx, turn};
use super::{DataError, Entry, Sample, SampleError, Source};
use crate::config::MeshOrbitConfig;

/// Times a second at which the model is measured for its frame.
const MEASURES_A_SECOND: f32 = 12.0;
/// Points that are measured at most, over all of those times: of a long animation of many points fewer times are looked at.
const POINTS_MAX: usize = 1 << 26;
/// Elevation that a view's jitter ends at, radians: at the pole itself a camera has no way up.
const STEEPEST: f64 = 1.55;

/// Orbits around an animated model, rendered over white when asked for.
///
/// A sample is a scene of `t = num_times * num_views` frames, with the entries of [`Views::into_sample`] and
/// - `camera` `[t, 6, h, w]`, the ray through each pixel in Pluecker coordinates, turned so that the conditioning view is at
///   azimuth 0; in radii of the ball that holds the model
/// - `animation` `[1]` i64, and its name as the text `animation_name`
/// - `clip_time` `[t]`, seconds into the animation
pub struct MeshOrbit {
    config: MeshOrbitConfig,
    model: Model,
    /// The animations in use: index in the model (none for a model at rest), name, seconds.
    clips: Vec<(Option<usize>, String, f64)>,
    /// A ball that holds the model in every pose.
    centre: Vec3,
    radius: f32,
}

/// What is drawn of a scene: a clip's times, and where its cameras stand.
struct Scene {
    clip: usize,
    /// Seconds into the animation, in the order of the frames.
    times: Vec<f64>,
    /// Azimuth of the conditioning view, from the model's front.
    turn: f64,
    /// The views, azimuths from the conditioning one.
    places: Vec<Place>,
    cond_place: Place,
}

impl MeshOrbit {
    /// Loads the model, finds its animations, and measures it over all of them.
    ///
    /// # Errors
    /// When the file cannot be read or drawn, has no animation of a configured name, a range is none, or the part of an
    /// animation that scenes are to lie in is too short for one.
    pub fn open(config: &MeshOrbitConfig) -> Result<Self, DataError> {
        check(config)?;
        let model = mesh::load(&config.path)?;
        let clips = clips(config, &model)?;
        let (centre, radius) = measure(&model, &clips);
        if !(radius.is_finite() && radius > 0.0) {
            let reason = "the model has no size, or one that is not finite".to_owned();
            return Err(DataError::UnusableModel { path: config.path.clone(), reason });
        }
        let source = Self { config: config.clone(), model, clips, centre, radius };
        for (_, name, duration) in &source.clips {
            let room = (config.within[1] - config.within[0]) * duration;
            let least = source.span(config.time_stride[0]);
            if source.is_part() && least > room {
                let reason =
                    format!("a scene takes {least:.3} s, but that part of the animation {name:?} has {room:.3} s");
                return Err(DataError::Setting { key: "within", reason });
            }
        }
        Ok(source)
    }

    /// Whether scenes lie in a part of the animations, and do not run on into their starts.
    fn is_part(&self) -> bool {
        self.config.within != [0.0, 1.0]
    }

    /// Seconds from a scene's first time to its last.
    fn span(&self, stride: u32) -> f64 {
        f64::from((self.config.num_times - 1) * stride) * self.config.seconds_per_time
    }

    /// Draws a scene. Draws that a config has no use for come last, so that they change nothing for it.
    fn draw(&self, draw: &mut Stream) -> Scene {
        let config = &self.config;
        let clip = pick(draw.uniform(), self.clips.len());
        let (_, _, duration) = &self.clips[clip];
        let start = draw.uniform();
        let [low, high] = config.elevation_deg;
        let elevation = (low + (high - low) * draw.uniform()).to_radians();
        let [from, to] = config.turn_deg;
        let turn = if config.random_azimuth { from + (to - from) * draw.uniform() } else { from };

        let [least, most] = config.time_stride;
        let fitting = (least..=most).take_while(|&stride| {
            !self.is_part() || self.span(stride) <= (config.within[1] - config.within[0]) * duration
        });
        let stride = least + pick(draw.uniform(), fitting.count().max(1)) as u32;
        let reversed = draw.uniform() < config.reverse_rate;
        let room = if self.is_part() { self.span(stride) } else { 0.0 };
        let first = config.within[0] * duration;
        let first = first + start * ((config.within[1] - config.within[0]) * duration - room).max(0.0);
        let mut times: Vec<f64> = (0..config.num_times)
            .map(|time| first + f64::from(time * stride) * config.seconds_per_time)
            .map(|seconds| if *duration > 0.0 && !self.is_part() { seconds % duration } else { seconds.min(*duration) })
            .collect();
        if reversed {
            times.reverse();
        }
        let cond_place = Place { azimuth: 0.0, elevation };
        let places = self.places(elevation, draw);
        Scene { clip, times, turn: turn.to_radians(), places, cond_place }
    }

    /// The views' places, azimuths from the conditioning view.
    fn places(&self, elevation: f64, draw: &mut Stream) -> Vec<Place> {
        let config = &self.config;
        let views = config.num_views as usize;
        let cond = cond_idx(config.cond_view, views);
        let given = |view: usize| config.azimuths_deg.get(view).map(|degrees| degrees.to_radians());
        let zero = cond.and_then(given).unwrap_or(0.0);
        let jitter = |degrees: f64, draw: &mut Stream| match degrees > 0.0 {
            true => (degrees * (2.0 * draw.uniform() - 1.0)).to_radians(),
            false => 0.0,
        };
        let place = |view: usize| {
            let azimuth = given(view).map_or_else(|| azimuth_of(view, views, cond), |azimuth| turn(azimuth - zero));
            if cond == Some(view) {
                return Place { azimuth, elevation };
            }
            let azimuth = azimuth + jitter(config.azimuth_jitter_deg, draw);
            let elevation = elevation + jitter(config.elevation_jitter_deg, draw);
            Place { azimuth, elevation: elevation.clamp(-STEEPEST, STEEPEST) }
        };
        (0..views).map(place).collect()
    }

    /// The picture from a place, appended to `planes` as `[3, h, w]`.
    fn render(&self, pose: &Pose, turn: f64, place: Place, planes: &mut Vec<f32>) {
        let camera = Camera::on_orbit(self.centre, self.radius, (turn + place.azimuth) as f32, place.elevation as f32);
        let mut canvas = Canvas::new(self.config.size);
        canvas.draw(&self.model, pose, &camera);
        canvas.append_planes(planes);
    }
}

impl Source for MeshOrbit {
    fn kind(&self) -> &'static str {
        "mesh-orbit"
    }

    fn contents(&self) -> Vec<(String, u64)> {
        vec![of_file(&self.config.path)]
    }

    fn num_samples(&self) -> usize {
        self.config.scenes_per_epoch
    }

    fn sample(&self, _index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        let scene = self.draw(draw);
        let (animation, name, _) = &self.clips[scene.clip];
        let (num_times, num_views) = (scene.times.len(), scene.places.len());
        let cond = cond_idx(self.config.cond_view, num_views);
        let (mut image, mut cond_image) = (Vec::new(), Vec::new());
        for seconds in &scene.times {
            let pose = Pose::new(&self.model, *animation, *seconds as f32);
            let first = image.len();
            for place in &scene.places {
                self.render(&pose, scene.turn, *place, &mut image);
            }
            match cond {
                Some(view) => {
                    let frame = (image.len() - first) / num_views;
                    cond_image.extend_from_slice(&image[first + view * frame..first + (view + 1) * frame]);
                }
                None => self.render(&pose, scene.turn, scene.cond_place, &mut cond_image),
            }
        }

        let mut rays = Vec::new();
        append_orbit_rays(
            self.config.size,
            scene.places.iter().map(|place| (place.azimuth, place.elevation)),
            &mut rays,
        );
        let clip_times: Vec<f32> =
            scene.times.iter().flat_map(|&seconds| std::iter::repeat_n(seconds as f32, num_views)).collect();
        let (size, polar) = ([self.config.size; 2], self.config.polar);
        let views = Views { size, image, cond_image, places: scene.places, cond_place: scene.cond_place, polar };
        let mut sample = views.into_sample();
        let (frames, side) = (sample.frames, i64::from(self.config.size));
        sample.put("camera", Entry::f32(&[frames, 6, side, side], rays.repeat(num_times)));
        sample.put("clip_time", Entry::f32(&[frames], clip_times));
        sample.put("animation", Entry::class(scene.clip));
        sample.texts.insert("animation_name".to_owned(), name.clone());
        Ok(sample)
    }
}

/// Ranges and lists that make no sense.
fn check(config: &MeshOrbitConfig) -> Result<(), DataError> {
    let wrong = |key, reason: String| Err(DataError::Setting { key, reason });
    let [low, high] = config.elevation_deg;
    if !(low <= high && low > -90.0 && high < 90.0) {
        return wrong(
            "elevation_deg",
            format!("[{low}, {high}] is not a range between -90 and 90 degrees, both left out"),
        );
    }
    let [from, to] = config.turn_deg;
    if from > to {
        return wrong("turn_deg", format!("[{from}, {to}] is not a range"));
    }
    let [least, most] = config.time_stride;
    if least == 0 || least > most {
        return wrong("time_stride", format!("[{least}, {most}] is no range of strides"));
    }
    let [start, end] = config.within;
    if !(0.0 <= start && start < end && end <= 1.0) {
        return wrong("within", format!("[{start}, {end}] is no part of an animation"));
    }
    let given = config.azimuths_deg.len();
    if given != 0 && given != config.num_views as usize {
        return wrong("azimuths_deg", format!("{given} angles for {} views", config.num_views));
    }
    Ok(())
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
    let seconds: f64 = clips.iter().map(|(_, _, duration)| duration).sum();
    // A pose takes time of its own, however few its points are.
    let poses_max = (POINTS_MAX / (Pose::new(model, None, 0.0).points().count() + 100)).max(1);
    let rate = MEASURES_A_SECOND.min((poses_max as f64 / seconds) as f32);
    let poses = clips.iter().flat_map(|(animation, _, duration)| {
        let measures = (*duration as f32 * rate).ceil() as usize;
        (0..=measures).map(move |i| Pose::new(model, *animation, i as f32 / rate))
    });
    let mut bounds = (Vec3::INFINITY, Vec3::NEG_INFINITY);
    for pose in poses.clone() {
        bounds = pose.points().fold(bounds, |(low, high), point| (low.min(point), high.max(point)));
    }
    let centre = (bounds.0 + bounds.1) / 2.0;
    let distance = |pose: Pose| pose.points().map(|point| point.distance(centre)).fold(0.0, f32::max);
    (centre, poses.map(distance).fold(0.0, f32::max))
}

#[cfg(test)]
#[path = "mesh_orbit_tests.rs"]
mod tests;
