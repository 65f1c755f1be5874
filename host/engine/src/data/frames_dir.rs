//! The `frames-dir` source: a folder of clips, each a folder of numbered images.

use std::fs;
use std::path::{Path, PathBuf};

use anneal_torch::random::Stream;

use super::draw::pick;
use super::source::of_file;
use super::{DataError, Entry, Sample, SampleError, Source, pixels};
use crate::config::{BadSample, FramesDirConfig};

/// Endings of the files that are taken for frames; other files are left alone.
pub(super) const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "gif"];

/// Clips as folders of images.
///
/// A sample is a clip, cut at a random start: `image` `[t, 3, h, w]` and `cond_image` `[1, 3, h, w]` (its first
/// frame), both in `[-1, 1]`; `fps_id` `[t]`, frames a second less one, as SVD counts; `image_only_indicator`
/// `[1, t]`; the integer `num_video_frames`; the text `clip`, the folder's name.
pub struct FramesDir {
    config: FramesDirConfig,
    clips: Vec<Clip>,
}

/// A clip's folder and its frames in the order of their numbers.
struct Clip {
    path: PathBuf,
    frames: Vec<PathBuf>,
}

impl FramesDir {
    /// Lists the clips, and looks at the size of the first frame.
    ///
    /// With `skip`, clips that are too short are named in the log and left out.
    ///
    /// # Errors
    /// When a folder cannot be read, there is no clip, a frame has no number or one twice, or (with `fail`) a clip
    /// is too short or the first frame has the wrong size.
    pub fn open(config: &FramesDirConfig, on_bad: BadSample) -> Result<Self, DataError> {
        if config.size.contains(&0) {
            return Err(DataError::Setting { key: "size", reason: "a frame of no pixels".to_owned() });
        }
        let needed = span(config);
        let mut clips = Vec::new();
        for path in entries(&config.path)?.into_iter().filter(|path| path.is_dir()) {
            let frames = numbered(&path)?;
            if frames.len() >= needed {
                clips.push(Clip { path, frames });
                continue;
            }
            let error = DataError::ClipTooShort { path, needed, got: frames.len() };
            match on_bad {
                BadSample::Fail => return Err(error),
                BadSample::Skip => tracing::warn!("{error}; it is left out"),
            }
        }
        let source = Self { config: config.clone(), clips };
        let Some(first) = source.clips.first() else {
            let wanted = format!("no folder of at least {needed} images ({}) in it", ENDINGS.join(", "));
            return Err(DataError::Empty { path: config.path.clone(), wanted });
        };
        if on_bad == BadSample::Fail {
            source.read_frame(&first.frames[0])?;
        }
        Ok(source)
    }

    fn read_frame(&self, path: &Path) -> Result<image::RgbImage, SampleError> {
        pixels::fit(pixels::read(path)?, self.config.size, self.config.resize, path)
    }
}

impl Source for FramesDir {
    fn kind(&self) -> &'static str {
        "frames-dir"
    }

    fn name(&self, index: usize) -> String {
        self.clips[index].path.display().to_string()
    }

    fn contents(&self) -> Vec<(String, u64)> {
        self.clips.iter().map(|clip| (of_file(&clip.path).0, clip.frames.len() as u64)).collect()
    }

    fn num_samples(&self) -> usize {
        self.clips.len()
    }

    fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        let (config, clip) = (&self.config, &self.clips[index]);
        let starts = clip.frames.len() - span(config) + 1;
        let start = pick(draw.uniform(), starts);
        let mut planes = Vec::new();
        for path in clip.frames[start..].iter().step_by(config.stride as usize).take(config.num_frames as usize) {
            pixels::append_planes(&self.read_frame(path)?, &mut planes);
        }

        let [rows, columns] = config.size.map(i64::from);
        let frames = i64::from(config.num_frames);
        let first = planes[..(3 * rows * columns) as usize].to_vec();
        let fps_id = config.fps / f64::from(config.stride) - 1.0;
        let mut sample = Sample::default();
        sample.put_frames(Entry::f32(&[frames, 3, rows, columns], planes));
        sample.put("cond_image", Entry::f32(&[1, 3, rows, columns], first));
        sample.put("fps_id", Entry::f32(&[frames], vec![fps_id as f32; frames as usize]));
        let name = clip.path.file_name().map(|name| name.to_string_lossy().into_owned());
        sample.texts.insert("clip".to_owned(), name.unwrap_or_default());
        Ok(sample)
    }
}

/// Images a sample reaches over, its first and last included.
fn span(config: &FramesDirConfig) -> usize {
    (config.num_frames as usize - 1) * config.stride as usize + 1
}

/// What is in a folder, sorted by name so that the order is the same on every file system.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = read().map_err(|source| DataError::Read { path: folder.to_owned(), source })?;
    paths.sort();
    Ok(paths)
}

/// The images of a folder, by the number their names end in.
pub(super) fn numbered(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut frames = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| is_image(path)) {
        match number(&path) {
            Some(number) => frames.push((number, path)),
            None => {
                let reason = "the name of a frame must end in its number, like frame-0012.png".to_owned();
                return Err(DataError::FrameName { path, reason });
            }
        }
    }
    frames.sort();
    if let Some(pair) = frames.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let reason = format!("frame {} is there twice, the other is {}", pair[0].0, pair[0].1.display());
        return Err(DataError::FrameName { path: pair[1].1.clone(), reason });
    }
    Ok(frames.into_iter().map(|(_, path)| path).collect())
}

pub(super) fn is_image(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// The number at the end of a file's stem: 12 of `frame-0012.png`.
fn number(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_string_lossy();
    let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    stem[stem.len() - digits..].parse().ok()
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::super::Values;
    use super::*;

    /// A clip of 4x6 frames; frame `n` is of grey `10 * n`.
    fn write_clip(root: &Path, name: &str, numbers: std::ops::Range<u32>) -> PathBuf {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        for n in numbers {
            RgbImage::from_pixel(6, 4, Rgb([10 * n as u8; 3])).save(folder.join(format!("f{n}.png"))).unwrap();
        }
        folder
    }

    fn config(root: &Path, num_frames: u32, stride: u32) -> FramesDirConfig {
        FramesDirConfig { path: root.to_owned(), size: [4, 6], num_frames, stride, resize: false, fps: 12.0 }
    }

    fn greys(sample: &Sample) -> Vec<u32> {
        let Values::F32(values) = &sample.tensors["image"].values else { panic!("images are floats") };
        values.chunks(3 * 4 * 6).map(|frame| ((frame[0] + 1.0) * 12.75).round() as u32).collect()
    }

    #[test]
    fn frames_come_in_the_order_of_their_numbers_from_a_random_start() {
        let root = tempfile::tempdir().unwrap();
        write_clip(root.path(), "clip", 8..13);
        fs::write(root.path().join("clip/notes.txt"), "not a frame").unwrap();
        let source = FramesDir::open(&config(root.path(), 3, 1), BadSample::Fail).unwrap();
        let mut starts = std::collections::BTreeSet::new();
        for id in 0..40 {
            let sample = source.sample(0, &mut Stream::new(1, "augment", id, 0)).unwrap();
            let greys = greys(&sample);
            assert_eq!(greys, [greys[0], greys[0] + 1, greys[0] + 2], "9 comes before 10");
            starts.insert(greys[0]);
        }
        assert_eq!(starts.into_iter().collect::<Vec<_>>(), [8, 9, 10], "every start is drawn");
    }

    #[test]
    fn strided_clips_say_their_own_rate() {
        let root = tempfile::tempdir().unwrap();
        write_clip(root.path(), "walk", 0..5);
        let source = FramesDir::open(&config(root.path(), 3, 2), BadSample::Fail).unwrap();
        let sample = source.sample(0, &mut Stream::new(1, "augment", 0, 0)).unwrap();
        assert_eq!(greys(&sample), [0, 2, 4]);
        assert_eq!(sample.tensors["fps_id"], Entry::f32(&[3], vec![5.0; 3]));
        assert_eq!(sample.tensors["cond_image"].shape, [1, 3, 4, 6]);
        assert_eq!(sample.texts["clip"], "walk");
        assert_eq!(sample.integers["num_video_frames"], 3);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_path() {
        let root = tempfile::tempdir().unwrap();
        let open = |config: &FramesDirConfig, on_bad| FramesDir::open(config, on_bad).err().unwrap().to_string();
        let missing = open(&config(&root.path().join("nowhere"), 2, 1), BadSample::Fail);
        assert!(missing.contains("nowhere: cannot be read"), "{missing}");
        let empty = open(&config(root.path(), 2, 1), BadSample::Fail);
        assert!(empty.contains("the dataset is empty"), "{empty}");

        write_clip(root.path(), "short", 0..2);
        let short = open(&config(root.path(), 2, 2), BadSample::Fail);
        assert!(short.contains("short: the clip has 2 frames, 3 are needed"), "{short}");
        let all_short = open(&config(root.path(), 2, 2), BadSample::Skip);
        assert!(all_short.contains("the dataset is empty"), "{all_short}");

        let flat = open(&FramesDirConfig { size: [4, 0], ..config(root.path(), 2, 1) }, BadSample::Fail);
        assert_eq!(flat, "data.source.size: a frame of no pixels");
        let size = open(&FramesDirConfig { size: [4, 4], ..config(root.path(), 2, 1) }, BadSample::Fail);
        assert!(size.contains("f0.png: the image is 4x6 pixels (rows x columns), data.source.size says 4x4"), "{size}");

        fs::copy(root.path().join("short/f1.png"), root.path().join("short/g01.png")).unwrap();
        let twice = open(&config(root.path(), 2, 1), BadSample::Fail);
        assert!(twice.contains("g01.png: frame 1 is there twice"), "{twice}");
        fs::rename(root.path().join("short/g01.png"), root.path().join("short/last.png")).unwrap();
        let nameless = open(&config(root.path(), 2, 1), BadSample::Fail);
        assert!(nameless.contains("last.png: the name of a frame must end in its number"), "{nameless}");
    }

    #[test]
    fn resize_scales_and_crops() {
        let root = tempfile::tempdir().unwrap();
        write_clip(root.path(), "clip", 3..5);
        let config = FramesDirConfig { size: [8, 8], resize: true, ..config(root.path(), 2, 1) };
        let sample =
            FramesDir::open(&config, BadSample::Fail).unwrap().sample(0, &mut Stream::new(1, "augment", 0, 0)).unwrap();
        assert_eq!(sample.tensors["image"].shape, [2, 3, 8, 8]);
    }
}
