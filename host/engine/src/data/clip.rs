//! A clip of a video: which frames are taken, and what a batch is told of them.

use std::ops::Range;

use anneal_torch::random::Stream;
use image::{RgbImage, imageops};

use super::draw::pick;
use super::footage::Footage;
use super::{DataError, Entry, Sample, SampleError, pixels};
use crate::config::ClipConfig;

/// Columns at which motion is measured at most: noise of single pixels is no motion.
const MOTION_COLUMNS: u32 = 64;

/// Frames of a video, counted at the clip's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    first: usize,
    pub(super) stride: usize,
    count: usize,
    pub(super) reversed: bool,
}

impl Cut {
    /// Draws `count` frames that lie in `from`, or says how many there would have to be.
    pub(super) fn draw(
        count: usize,
        stride: [u32; 2],
        reverse_rate: f64,
        from: Range<usize>,
        draw: &mut Stream,
    ) -> Result<Self, usize> {
        let [least, most] = stride.map(|stride| stride as usize);
        let needed = (count - 1) * least + 1;
        if from.len() < needed {
            return Err(needed);
        }
        // With one frame every stride fits.
        let longest = (from.len() - 1).checked_div(count - 1).unwrap_or(most);
        let stride = least + pick(draw.uniform(), most.min(longest) + 1 - least);
        let first = from.start + pick(draw.uniform(), from.len() - (count - 1) * stride);
        Ok(Self { first, stride, count, reversed: draw.uniform() < reverse_rate })
    }

    /// The frames in the order of time.
    pub(super) fn numbers(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.first + i * self.stride)
    }
}

/// Whether the settings of a clip fit each other.
///
/// # Errors
/// When a range runs backwards or is empty.
pub(super) fn check(clip: &ClipConfig) -> Result<(), DataError> {
    let wrong = |key, reason: String| Err(DataError::Setting { key, reason });
    let [least, most] = clip.stride;
    if clip.num_frames == 0 {
        return wrong("clip.num_frames", "a clip of no frames".to_owned());
    }
    if clip.lengths.contains(&0) {
        return wrong("clip.lengths", "a clip of no frames".to_owned());
    }
    if least == 0 || least > most {
        return wrong("clip.stride", format!("[{least}, {most}] is no range of strides"));
    }
    let [start, end] = clip.within;
    if !(0.0 <= start && start < end && end <= 1.0) {
        return wrong("clip.within", format!("[{start}, {end}] is no part of a video"));
    }
    Ok(())
}

/// The frames, counted at the clip's rate, that clips are cut from in a video of `num_frames` frames, `fps` a second.
fn range(num_frames: usize, fps: f64, seconds: [f64; 2], clip: &ClipConfig) -> Range<usize> {
    let rate = clip.fps.unwrap_or(fps);
    // The last of its own frames lasts as long as the others.
    let total = num_frames as f64 * rate / fps;
    let [start, end] = [seconds[0] * rate, (seconds[1] * rate).min(total)];
    let [low, high] = clip.within.map(|part| start + part * (end - start));
    // Products of floats miss whole numbers by a little.
    (low - 1e-6).ceil().max(0.0) as usize..(high + 1e-6).floor().max(0.0) as usize
}

/// Indices of the lengths, of all that clips have, that a video of `num_frames` frames, `fps` a second, has frames for. Where
/// it has none, the shortest is its length all the same, so that the video is missed when its turn comes.
pub(super) fn lengths(num_frames: usize, fps: f64, seconds: [f64; 2], clip: &ClipConfig) -> Vec<u32> {
    let got = range(num_frames, fps, seconds, clip).len();
    let all = clip.all_lengths();
    let fits = |length: u32| (length as usize - 1) * (clip.stride[0] as usize) < got;
    let fitting: Vec<u32> = (0..all.len() as u32).filter(|&idx| fits(all[idx as usize])).collect();
    match (0..all.len() as u32).min_by_key(|&idx| all[idx as usize]) {
        Some(shortest) if fitting.is_empty() => vec![shortest],
        _ => fitting,
    }
}

/// The same cut of clips of the length of index `length`.
pub(super) fn of_length(clip: &ClipConfig, length: usize) -> ClipConfig {
    ClipConfig { num_frames: clip.all_lengths()[length], ..clip.clone() }
}

/// Draws a clip from the seconds `seconds` of a video, and there from the part `within`, and decodes it.
///
/// It has `image` `[t, 3, h, w]` and `cond_image` `[1, 3, h, w]` (its first frame), both in `[-1, 1]`; `fps_id` `[t]`,
/// its frames a second less one, as SVD counts; `motion_bucket_id` `[t]`, 0 to 255; `image_only_indicator` `[1, t]`; and
/// the integer `num_video_frames`. `place` is the video's name in errors.
///
/// # Errors
/// When the video is too short, or a frame cannot be decoded.
pub(super) fn cut(
    footage: &dyn Footage,
    place: &str,
    seconds: [f64; 2],
    clip: &ClipConfig,
    draw: &mut Stream,
) -> Result<Sample, SampleError> {
    let own = footage.fps();
    let rate = clip.fps.unwrap_or(own);
    let range = range(footage.num_frames(), own, seconds, clip);
    let got = range.len();
    let cut = Cut::draw(clip.num_frames as usize, clip.stride, clip.reverse_rate, range, draw);
    let cut = cut.map_err(|needed| SampleError::Unusable {
        place: place.to_owned(),
        reason: format!("the video has {got} frames to cut from at {rate} a second, {needed} are needed for a clip"),
    })?;
    let last = footage.num_frames().saturating_sub(1);
    let numbers: Vec<usize> =
        cut.numbers().map(|number| ((number as f64 * own / rate + 1e-6) as usize).min(last)).collect();
    let mut unique = numbers.clone();
    unique.dedup();
    let decoded = footage.frames(&unique)?;
    // At a rate above the video's own, frames repeat.
    let mut frames: Vec<&RgbImage> = Vec::with_capacity(numbers.len());
    for number in &numbers {
        let at = unique.partition_point(|known| known < number);
        frames.push(decoded.get(at).ok_or_else(|| SampleError::Unusable {
            place: place.to_owned(),
            reason: format!("frame {number} is missing: the file is shorter than it says"),
        })?);
    }
    if cut.reversed {
        frames.reverse();
    }
    let bucket = clip.motion_bucket_id.map_or_else(|| motion(&frames) * clip.motion_scale, f64::from);
    Ok(sample(&frames, rate / cut.stride as f64, bucket))
}

/// The entries of a clip of `fps` frames a second, all of one size, in which as much moves as `bucket` says.
pub(super) fn sample(frames: &[&RgbImage], fps: f64, bucket: f64) -> Sample {
    let (rows, columns) = (i64::from(frames[0].height()), i64::from(frames[0].width()));
    let mut planes = Vec::with_capacity(frames.len() * (3 * rows * columns) as usize);
    for frame in frames {
        pixels::append_planes(frame, &mut planes);
    }
    let count = frames.len() as i64;
    let first = planes[..(3 * rows * columns) as usize].to_vec();
    let bucket = bucket.round().clamp(0.0, 255.0) as f32;
    let mut sample = Sample::default();
    sample.put_frames(Entry::f32(&[count, 3, rows, columns], planes));
    sample.put("cond_image", Entry::f32(&[1, 3, rows, columns], first));
    sample.put("fps_id", Entry::f32(&[count], vec![(fps - 1.0) as f32; frames.len()]));
    sample.put("motion_bucket_id", Entry::f32(&[count], vec![bucket; frames.len()]));
    sample
}

/// Grey levels (of 255) by which a pixel changes from one frame to the next, on average.
fn motion(frames: &[&RgbImage]) -> f64 {
    let greys: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| {
            let columns = frame.width().min(MOTION_COLUMNS);
            let rows = (frame.height() * columns / frame.width()).max(1);
            imageops::grayscale(&imageops::thumbnail(*frame, columns, rows)).into_raw()
        })
        .collect();
    let changes =
        greys.windows(2).flat_map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| f64::from(a.abs_diff(*b))));
    let (sum, count) = changes.fold((0.0, 0_u64), |(sum, count), change| (sum + change, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use image::Rgb;

    use super::super::footage::Decoded;
    use super::*;

    fn clip(toml: &str) -> ClipConfig {
        toml::from_str(toml).unwrap()
    }

    /// Frame `n` is of grey `10 * n`.
    fn footage(count: u8, fps: f64) -> Decoded {
        Decoded { frames: (0..count).map(|n| RgbImage::from_pixel(8, 8, Rgb([10 * n; 3]))).collect(), fps }
    }

    fn greys(sample: &Sample) -> Vec<u32> {
        let super::super::Values::F32(values) = &sample.tensors["image"].values else { panic!("images are floats") };
        values.chunks(3 * 64).map(|frame| ((frame[0] + 1.0) * 12.75).round() as u32).collect()
    }

    const ALL: [f64; 2] = [0.0, f64::INFINITY];

    fn cuts(footage: &Decoded, clip: &ClipConfig, seconds: [f64; 2]) -> BTreeSet<Vec<u32>> {
        let cut = |id| cut(footage, "v", seconds, clip, &mut Stream::new(1, "augment", id, 0)).unwrap();
        (0..300).map(|id| greys(&cut(id))).collect()
    }

    #[test]
    fn every_stride_start_and_direction_is_drawn() {
        let seen = cuts(&footage(7, 4.0), &clip("num_frames = 3\nstride = [2, 9]\nreverse_rate = 0.5"), ALL);
        let forward = [[0, 2, 4], [1, 3, 5], [2, 4, 6], [0, 3, 6]];
        let both = forward.iter().flat_map(|cut| [cut.to_vec(), cut.iter().rev().copied().collect()]);
        assert_eq!(seen, both.collect::<BTreeSet<Vec<u32>>>());
    }

    #[test]
    fn clips_stay_within_their_part_and_their_seconds() {
        let first_half = clip("num_frames = 2\nwithin = [0.0, 0.5]");
        assert_eq!(cuts(&footage(8, 4.0), &first_half, ALL), [[0, 1], [1, 2], [2, 3]].map(Vec::from).into());
        let second_half = clip("num_frames = 2\nwithin = [0.5, 1.0]");
        assert_eq!(cuts(&footage(8, 4.0), &second_half, ALL), [[4, 5], [5, 6], [6, 7]].map(Vec::from).into());
        assert_eq!(
            cuts(&footage(8, 4.0), &clip("num_frames = 2"), [0.5, 1.25]),
            [[2, 3], [3, 4]].map(Vec::from).into()
        );
        // A part of the seconds, not of the whole.
        assert_eq!(cuts(&footage(8, 4.0), &second_half, [0.5, 1.5]), [[4, 5]].map(Vec::from).into());
        assert_eq!(cuts(&footage(8, 4.0), &first_half, [0.5, 9.0]), [[2, 3], [3, 4]].map(Vec::from).into());
    }

    #[test]
    fn a_rate_of_its_own_skips_or_repeats_frames() {
        let at = |fps: &str, count| cuts(&footage(count, 4.0), &clip(&format!("num_frames = 4\nfps = {fps}")), ALL);
        assert_eq!(at("2.0", 8), [[0, 2, 4, 6]].map(Vec::from).into());
        assert_eq!(at("8.0", 2), [[0, 0, 1, 1]].map(Vec::from).into());
    }

    #[test]
    fn a_video_is_as_long_as_its_cut() {
        let config = clip("num_frames = 3\nlengths = [2, 3, 5]\nstride = [2, 4]");
        assert_eq!(config.all_lengths(), [3, 2, 5]);
        let of = |frames: usize, seconds: [f64; 2]| lengths(frames, 4.0, seconds, &config);
        assert_eq!((of(9, ALL), of(8, ALL), of(4, ALL)), (vec![0, 1, 2], vec![0, 1], vec![1]));
        // 1.25 seconds of four frames; and too few for any, which are missed at the shortest.
        assert_eq!((of(90, [0.5, 1.75]), of(2, ALL)), (vec![0, 1], vec![1]));
        let halved = clip("num_frames = 2\nlengths = [4]\nfps = 2.0\nwithin = [0.5, 1.0]");
        assert_eq!(lengths(16, 4.0, ALL, &halved), [0, 1]);
        assert_eq!(lengths(15, 4.0, ALL, &halved), [0]);
        assert_eq!((of_length(&config, 2).num_frames, of_length(&config, 0)), (5, config));
    }

    #[test]
    fn a_clip_says_its_rate_and_its_motion() {
        let config = clip("num_frames = 3\nstride = [2, 2]\nmotion_scale = 2.0");
        let sample = cut(&footage(5, 24.0), "v", ALL, &config, &mut Stream::new(1, "augment", 0, 0)).unwrap();
        assert_eq!(sample.tensors["fps_id"], Entry::f32(&[3], vec![11.0; 3]));
        assert_eq!(sample.tensors["motion_bucket_id"], Entry::f32(&[3], vec![40.0; 3]), "20 levels a frame");
        assert_eq!(sample.tensors["cond_image"].shape, [1, 3, 8, 8]);
        assert_eq!(sample.integers["num_video_frames"], 3);
        let given = ClipConfig { motion_bucket_id: Some(127), ..config };
        let sample = cut(&footage(5, 24.0), "v", ALL, &given, &mut Stream::new(1, "augment", 0, 0)).unwrap();
        assert_eq!(sample.tensors["motion_bucket_id"], Entry::f32(&[3], vec![127.0; 3]));
    }

    #[test]
    fn short_videos_and_settings_that_make_no_sense_are_refused() {
        let config = clip("num_frames = 3\nstride = [2, 2]");
        let error = cut(&footage(4, 8.0), "v.mp4", ALL, &config, &mut Stream::new(1, "augment", 0, 0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "v.mp4: the video has 4 frames to cut from at 8 a second, 5 are needed for a clip"
        );
        let refused = |toml: &str| check(&clip(toml)).unwrap_err().to_string();
        assert!(refused("num_frames = 3\nstride = [3, 2]").starts_with("data.source.clip.stride: [3, 2]"));
        assert!(refused("num_frames = 3\nlengths = [2, 0]").starts_with("data.source.clip.lengths"));
        assert!(refused("num_frames = 3\nwithin = [0.5, 0.5]").starts_with("data.source.clip.within"));
        check(&config).unwrap();
    }
}
