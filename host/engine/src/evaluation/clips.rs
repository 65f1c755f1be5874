//! The clips of a scene: which of its images follow each other in what is compared as one.

use crate::config::ClipsOver;

impl ClipsOver {
    /// Every way to cut.
    pub const ALL: [Self; 4] = [Self::Frames, Self::Views, Self::Diagonals, Self::Scan];

    /// The name of the distance between clips cut in this way.
    pub fn distance_name(self) -> &'static str {
        match self {
            Self::Frames => "frechet_frames",
            Self::Views => "frechet_views",
            Self::Diagonals => "frechet_diagonals",
            Self::Scan => "frechet_scan",
        }
    }

    /// How clips are cut, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Frames => "each view along time",
            Self::Views => "each time along the views",
            Self::Diagonals => {
                "one time and one view further at each image, from each view on, the first after the last"
            }
            Self::Scan => "all images back and forth, view by view along time and time by time along the views",
        }
    }

    /// Whether a scene of `num_times` times and `num_views` views has such clips. A single image counts as a frame.
    pub fn is_of(self, num_times: i64, num_views: i64) -> bool {
        match self {
            Self::Frames => num_times > 1 || num_views == 1,
            Self::Views => num_views > 1,
            Self::Diagonals | Self::Scan => num_times > 1 && num_views > 1,
        }
    }

    /// The rows of each clip in a scene whose rows are `(t v)`, the views of a time together.
    pub fn rows(self, num_times: i64, num_views: i64) -> Vec<Vec<i64>> {
        let row = |time: i64, view: i64| time * num_views + view;
        let along = |count: i64, line: i64| -> Vec<i64> {
            // Every other line is walked from its end, so that images that follow each other are neighbours.
            if line % 2 == 0 { (0..count).collect() } else { (0..count).rev().collect() }
        };
        match self {
            Self::Frames => (0..num_views).map(|view| (0..num_times).map(|time| row(time, view)).collect()).collect(),
            Self::Views => (0..num_times).map(|time| (0..num_views).map(|view| row(time, view)).collect()).collect(),
            Self::Diagonals => {
                let from = |first: i64| (0..num_times).map(|time| row(time, (first + time) % num_views)).collect();
                (0..num_views).map(from).collect()
            }
            Self::Scan => {
                let by_view = (0..num_views)
                    .flat_map(|view| along(num_times, view).into_iter().map(move |time| row(time, view)))
                    .collect();
                let by_time = (0..num_times)
                    .flat_map(|time| along(num_views, time).into_iter().map(move |view| row(time, view)))
                    .collect();
                vec![by_view, by_time]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    /// Clips as numbers of time and view, 12 being view 2 at time 1, out of a scene of 3 times and 4 views.
    fn cut(over: ClipsOver) -> Vec<Vec<i64>> {
        let of_rows: Vec<i64> = (0..3).flat_map(|time| (0..4).map(move |view| 10 * time + view)).collect();
        let scene = Tensor::from_slice(&of_rows);
        let clips = over.rows(3, 4).into_iter();
        clips.map(|rows| scene.index_select(0, &Tensor::from_slice(&rows)).try_into().unwrap()).collect()
    }

    #[test]
    fn clips_go_along_time_views_and_diagonals() {
        assert_eq!(cut(ClipsOver::Frames), [[0, 10, 20], [1, 11, 21], [2, 12, 22], [3, 13, 23]]);
        assert_eq!(cut(ClipsOver::Views), [[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23]]);
        assert_eq!(cut(ClipsOver::Diagonals), [[0, 11, 22], [1, 12, 23], [2, 13, 20], [3, 10, 21]]);
        let by_view = [0, 10, 20, 21, 11, 1, 2, 12, 22, 23, 13, 3];
        let by_time = [0, 1, 2, 3, 13, 12, 11, 10, 20, 21, 22, 23];
        assert_eq!(cut(ClipsOver::Scan), [by_view, by_time]);
    }

    #[test]
    fn a_scene_has_the_clips_that_its_axes_give() {
        let of = |times: i64, views: i64| -> Vec<ClipsOver> {
            ClipsOver::ALL.into_iter().filter(|over| over.is_of(times, views)).collect()
        };
        assert_eq!(of(14, 1), [ClipsOver::Frames]);
        assert_eq!(of(1, 21), [ClipsOver::Views]);
        assert_eq!(of(1, 1), [ClipsOver::Frames]);
        assert_eq!(of(5, 8), ClipsOver::ALL);
    }
}
