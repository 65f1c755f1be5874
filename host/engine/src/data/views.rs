//! Scenes of several views at several times: the entries that SV3D and SV4D are told of them.

use std::f64::consts::{FRAC_PI_2, TAU};

use super::{Entry, Sample};
use crate::config::{CondView, Polar};

/// Where a camera stands around the object, radians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Counter-clockwise seen from above.
    pub azimuth: f64,
    /// Above the horizon.
    pub elevation: f64,
}

/// A scene of `t` times and `v` views.
#[derive(Debug)]
pub(super) struct Views {
    /// Rows and columns of an image.
    pub(super) size: [u32; 2],
    /// Images in `[-1, 1]`, `[t*v, 3, h, w]`: the views of a time together.
    pub(super) image: Vec<f32>,
    /// The conditioning view's images, `[t, 3, h, w]`.
    pub(super) cond_image: Vec<f32>,
    /// Where the views are seen from, `v` of them.
    pub(super) places: Vec<Place>,
    /// Where the conditioning view is seen from.
    pub(super) cond_place: Place,
    pub(super) polar: Polar,
}

/// The conditioning view's place among `num_views`; none when it is apart.
pub(super) fn cond_idx(cond_view: CondView, num_views: usize) -> Option<usize> {
    match cond_view {
        CondView::Last => Some(num_views - 1),
        CondView::First => Some(0),
        CondView::Apart => None,
    }
}

/// The azimuth of one of `num_views` views evenly around the object, from the conditioning view.
pub(super) fn azimuth_of(view: usize, num_views: usize, cond_idx: Option<usize>) -> f64 {
    match cond_idx {
        Some(cond) => ((view + num_views - cond) % num_views) as f64 * TAU / num_views as f64,
        None => (view + 1) as f64 * TAU / (num_views + 1) as f64,
    }
}

impl Views {
    /// The sample, `t*v` frames:
    /// - `image` `[t*v, 3, h, w]`, the views of a time together
    /// - `cond_image` `[t, 3, h, w]`, the conditioning view at each time; with more than one time also `cond_frames`
    ///   `[t*v, 3, h, w]`, its image at a frame's time for each frame, and `cond_view` `[v, 3, h, w]`, all views at the
    ///   first time
    /// - `polar_rad` `[t*v]`: a right angle less the elevation, or, relative, a right angle plus the conditioning view's
    ///   elevation less the view's
    /// - `azimuth_rad` `[t*v]` in `[0, 2 pi)`, from the conditioning view
    /// - `image_only_indicator` `[1, t*v]`, `num_video_frames` = t*v, `num_views` = v
    pub(super) fn into_sample(self) -> Sample {
        let [rows, columns] = self.size.map(i64::from);
        let frame = (3 * rows * columns) as usize;
        let (times, views) = (self.cond_image.len() / frame, self.places.len());
        let num_frames = (times * views) as i64;
        let polar = |place: &Place| match self.polar {
            Polar::Absolute => FRAC_PI_2 - place.elevation,
            Polar::Relative => FRAC_PI_2 + self.cond_place.elevation - place.elevation,
        };
        let polars: Vec<f32> = self.places.iter().map(|place| polar(place) as f32).collect();
        let azimuths: Vec<f32> =
            self.places.iter().map(|place| turn(place.azimuth - self.cond_place.azimuth) as f32).collect();
        let mut sample = Sample::default();
        if times > 1 {
            let per_frame: Vec<f32> =
                self.cond_image.chunks(frame).flat_map(|image| [image].repeat(views)).collect::<Vec<_>>().concat();
            sample.put("cond_frames", Entry::f32(&[num_frames, 3, rows, columns], per_frame));
            let first = self.image[..views * frame].to_vec();
            sample.put("cond_view", Entry::f32(&[views as i64, 3, rows, columns], first));
        }
        sample.put("cond_image", Entry::f32(&[times as i64, 3, rows, columns], self.cond_image));
        sample.put("polar_rad", Entry::f32(&[num_frames], polars.repeat(times)));
        sample.put("azimuth_rad", Entry::f32(&[num_frames], azimuths.repeat(times)));
        sample.put_frames(Entry::f32(&[num_frames, 3, rows, columns], self.image));
        sample.integers.insert("num_views".to_owned(), views as i64);
        sample
    }
}

/// An angle as one of `[0, 2 pi)`; what is just under a full turn by rounding alone is none.
pub(super) fn turn(angle: f64) -> f64 {
    let angle = angle.rem_euclid(TAU);
    if TAU - angle < 1e-9 { 0.0 } else { angle }
}

#[cfg(test)]
mod tests {
    use super::super::Values;
    use super::*;

    fn views(polar: Polar) -> Sample {
        let place = |azimuth: f64, elevation: f64| Place { azimuth, elevation };
        let views = Views {
            size: [1, 1],
            image: (0..18).map(|i| (i / 3) as f32).collect(),
            cond_image: vec![7.0, 7.0, 7.0, 8.0, 8.0, 8.0],
            places: vec![place(0.5, 0.1), place(1.0, 0.2), place(6.0, 0.3)],
            cond_place: place(1.0, 0.2),
            polar,
        };
        views.into_sample()
    }

    fn floats<'a>(sample: &'a Sample, name: &str) -> &'a [f32] {
        let Values::F32(values) = &sample.tensors[name].values else { panic!("{name} is of floats") };
        values
    }

    fn close(got: &[f32], expected: [f64; 3]) -> bool {
        let twice = [expected, expected].concat();
        got.len() == 6 && got.iter().zip(twice).all(|(got, expected)| (f64::from(*got) - expected).abs() < 1e-6)
    }

    #[test]
    fn rows_are_views_within_times_and_angles_count_from_the_condition() {
        let sample = views(Polar::Absolute);
        assert_eq!((sample.frames, sample.integers["num_video_frames"], sample.integers["num_views"]), (6, 6, 3));
        let firsts = |name: &str| floats(&sample, name).iter().step_by(3).copied().collect::<Vec<f32>>();
        assert_eq!(firsts("image"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(firsts("cond_image"), [7.0, 8.0]);
        assert_eq!(firsts("cond_frames"), [7.0, 7.0, 7.0, 8.0, 8.0, 8.0]);
        assert_eq!(firsts("cond_view"), [0.0, 1.0, 2.0]);
        assert!(close(floats(&sample, "azimuth_rad"), [TAU - 0.5, 0.0, 5.0]));
        assert!(close(floats(&sample, "polar_rad"), [FRAC_PI_2 - 0.1, FRAC_PI_2 - 0.2, FRAC_PI_2 - 0.3]));
        let relative = views(Polar::Relative);
        assert!(close(floats(&relative, "polar_rad"), [FRAC_PI_2 + 0.1, FRAC_PI_2, FRAC_PI_2 - 0.1]));
    }

    #[test]
    fn a_full_turn_is_none() {
        assert_eq!((turn(TAU), turn(-1e-12), turn(-FRAC_PI_2)), (0.0, 0.0, 3.0 * FRAC_PI_2));
    }
}
