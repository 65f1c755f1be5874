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

        let (times, views, side) = (config.num_times as usize, config.num_views as usize, i64::from(config.size));
        let frames = (times * views) as i64;
        let frame = |i: usize| planes[i * planes.len() / (times * views)..(i + 1) * planes.len() / (times * views)].to_vec();
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
