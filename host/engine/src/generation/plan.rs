//! In which order windows of times are made of a video that is longer than one of them.

use thiserror::Error;

/// How windows follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Anchors first, spread over the whole video, then the times between two anchors, each walked from both ends in turn
    /// (SV4D).
    Anchored,
    /// One window after another, each from the last time of the one before it (SV4D 2.0).
    Rolling,
}

/// Times that are made at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The times in growing order, as many as the model makes at once.
    pub times: Vec<usize>,
    /// The time whose views the model is told when it walks the window forwards; none when it is told of no views.
    pub forward: Option<usize>,
    /// The time whose views it is told when it walks the window backwards; none when it does not.
    pub backward: Option<usize>,
}

impl Window {
    /// The times that the window makes: those whose views it is not told.
    pub fn makes(&self) -> impl Iterator<Item = usize> + '_ {
        let told = [self.forward, self.backward];
        self.times.iter().copied().filter(move |&time| !told.contains(&Some(time)))
    }
}

/// The video is shorter than a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the video has {num_times} frames, and the model makes {window} at once; give a video of at least as many")]
pub struct TooShort {
    /// Frames of the video.
    pub num_times: usize,
    /// Times of a window.
    pub window: usize,
}

/// The windows of `window` times that make all of `num_times`. With `given` the views of time 0 are there already.
///
/// Every window is told views that are given or made before it. A time that several windows make is the last one's.
///
/// # Errors
/// When the video is shorter than a window.
///
/// # Panics
/// When a window has fewer than two times: it could not go on from another.
pub fn plan(scheme: Scheme, num_times: usize, window: usize, given: bool) -> Result<Vec<Window>, TooShort> {
    assert!(window > 1, "windows of {window} times do not follow each other");
    if num_times < window {
        return Err(TooShort { num_times, window });
    }
    let starts = starts(num_times, window);
    let dense = |start: usize| (start..start + window).collect::<Vec<_>>();
    if scheme == Scheme::Rolling || starts.len() == 1 {
        let forward = |start: usize| (given || start > 0).then_some(start);
        let windows =
            starts.into_iter().map(|start| Window { times: dense(start), forward: forward(start), backward: None });
        return Ok(windows.collect());
    }
    let mut windows = anchors(num_times, window, given);
    windows.extend(starts.into_iter().map(|start| Window {
        times: dense(start),
        forward: Some(start),
        backward: Some(start + window - 1),
    }));
    // Between anchors that stand side by side there is nothing to make.
    windows.retain(|window| window.makes().next().is_some());
    Ok(windows)
}

/// First times of windows that share one time each with the next; the last is shifted back to end with the video.
fn starts(num_times: usize, window: usize) -> Vec<usize> {
    let last = num_times - window;
    let mut starts: Vec<usize> = (0..last).step_by(window - 1).collect();
    starts.push(last);
    starts
}

/// The windows that make the ends of the dense windows, told the views of the first time, or, past the first window, those
/// of the anchor before them. The first makes the first time, too, where it is not given.
fn anchors(num_times: usize, window: usize, given: bool) -> Vec<Window> {
    let mut anchors: Vec<usize> = starts(num_times, window).iter().map(|start| start + window - 1).collect();
    if !given {
        anchors.insert(0, 0);
    }
    // A video of few windows has fewer anchors than fill one: times half-way between two anchors join them.
    while anchors.len() < window {
        let at = (0..anchors.len()).max_by_key(|&i| (gap(&anchors, i), std::cmp::Reverse(i))).unwrap_or(0);
        anchors.insert(at, anchors[at] - gap(&anchors, at) / 2);
    }
    let last = anchors.len() - window;
    let mut firsts: Vec<usize> = (0..last).step_by(window).collect();
    firsts.push(last);
    let before = |first: usize| match first.checked_sub(1) {
        Some(before) => Some(anchors[before]),
        None => given.then_some(0),
    };
    let windows = firsts.into_iter().map(|first| Window {
        times: anchors[first..first + window].to_vec(),
        forward: before(first),
        backward: None,
    });
    windows.collect()
}

/// Times from the anchor before anchor `i`, or from the first time, to it.
fn gap(anchors: &[usize], i: usize) -> usize {
    anchors[i] - i.checked_sub(1).map_or(0, |before| anchors[before])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn told(
        scheme: Scheme,
        num_times: usize,
        window: usize,
        given: bool,
    ) -> Vec<(Vec<usize>, Option<usize>, Option<usize>)> {
        let windows = plan(scheme, num_times, window, given).unwrap();
        windows.into_iter().map(|window| (window.times, window.forward, window.backward)).collect()
    }

    #[test]
    fn sv4d_makes_anchors_and_then_what_lies_between() {
        let windows = told(Scheme::Anchored, 21, 5, true);
        assert_eq!(windows[0], (vec![4, 8, 12, 16, 20], Some(0), None));
        let dense: Vec<_> =
            [0, 4, 8, 12, 16].map(|start| ((start..start + 5).collect(), Some(start), Some(start + 4))).into();
        assert_eq!(windows[1..], dense);
    }

    #[test]
    fn sv4d_2_rolls_on_and_shifts_the_last_window_back() {
        let range = |start: usize, window: usize| (start..start + window).collect::<Vec<_>>();
        let windows = told(Scheme::Rolling, 21, 12, false);
        assert_eq!(windows, [(range(0, 12), None, None), (range(9, 12), Some(9), None)]);
        let starts: Vec<usize> = told(Scheme::Rolling, 21, 5, false).iter().map(|window| window.0[0]).collect();
        assert_eq!(starts, [0, 4, 8, 12, 16]);
    }

    #[test]
    fn videos_of_other_lengths_have_plans_too() {
        let windows = told(Scheme::Anchored, 9, 5, true);
        assert_eq!(windows[0], (vec![1, 2, 4, 6, 8], Some(0), None), "half-way times fill the anchors up");
        assert_eq!(told(Scheme::Anchored, 9, 5, false)[0], (vec![0, 2, 4, 6, 8], None, None));
        let windows = told(Scheme::Anchored, 8, 3, true);
        assert_eq!(windows[..2], [(vec![2, 4, 6], Some(0), None), (vec![4, 6, 7], Some(2), None)]);
        assert_eq!(windows.last().unwrap(), &(vec![5, 6, 7], Some(5), Some(7)));
        assert_eq!(told(Scheme::Anchored, 5, 5, true), [(vec![0, 1, 2, 3, 4], Some(0), None)]);
        let pairs = told(Scheme::Anchored, 5, 2, true);
        assert_eq!(pairs, [(vec![1, 2], Some(0), None), (vec![3, 4], Some(2), None)], "anchors are all there is");
        let error = plan(Scheme::Rolling, 4, 5, true).unwrap_err().to_string();
        assert!(error.starts_with("the video has 4 frames, and the model makes 5 at once"), "{error}");
    }

    proptest! {
        #[test]
        fn every_time_is_made_from_views_that_are_there(
            anchored in any::<bool>(), window in 2_usize..14, more in 0_usize..60, given in any::<bool>(),
        ) {
            let scheme = if anchored { Scheme::Anchored } else { Scheme::Rolling };
            let num_times = window + more;
            let mut there: BTreeSet<usize> = given.then_some(0).into_iter().collect();
            for made in plan(scheme, num_times, window, given).unwrap() {
                prop_assert_eq!(made.times.len(), window);
                prop_assert!(made.times.is_sorted_by(|a, b| a < b) && made.times[window - 1] < num_times);
                for told in [made.forward, made.backward].into_iter().flatten() {
                    prop_assert!(there.contains(&told), "{:?} is told {} of {:?}", made, told, there);
                }
                there.extend(made.makes());
            }
            prop_assert_eq!(there, (0..num_times).collect::<BTreeSet<_>>());
        }
    }
}
