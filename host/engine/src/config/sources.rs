//! Settings of the sources that read data people have: tar shards, videos, views of objects.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CondView;

/// `webdataset`: samples in tar files, the members of one base name together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebdatasetConfig {
    /// The tar files: paths, in which `{000..015}` and `{a,b}` are written out and `*`, `?` and `[..]` match names.
    #[schemars(length(min = 1))]
    #[schemars(extend("items" = { "type": "string", "x-anneal-path": "pattern" }))]
    pub shards: Vec<PathBuf>,
    /// Rows and columns of a picture, pixels; pictures of another size are an error unless `resize`. As stored if not
    /// given.
    #[schemars(inner(range(min = 8, max = 4096)))]
    pub size: Option<[u32; 2]>,
    /// Further sizes, with `resize`. Each picture takes the one whose shape is nearest to its own, and a batch holds
    /// pictures of one size; videos take `size`.
    #[serde(default)]
    pub sizes: Vec<[u32; 2]>,
    /// Scale (and centre-crop) pictures of another size instead of refusing them.
    #[serde(default)]
    pub resize: bool,
    /// Entries to take; all of them if empty. A sample that lacks one of them is a bad sample.
    #[serde(default)]
    pub entries: Vec<String>,
    /// Whole numbers of `.json` and `.cls` members that are classes, and so i64 for embedders of classes.
    #[serde(default = "class")]
    pub classes: Vec<String>,
    /// Cut clips out of the frames of `image`. Without it all frames are taken as they are.
    pub clip: Option<ClipConfig>,
    /// Frames a second of clips stored as pictures, where the sample has no number `fps`.
    #[serde(default = "eight")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub images_fps: f64,
    /// How videos are decoded.
    #[serde(default)]
    pub ffmpeg: FfmpegConfig,
}

fn class() -> Vec<String> {
    vec!["class".to_owned()]
}

/// How a clip is cut out of a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// Frames in a clip.
    #[schemars(range(min = 1, max = 1024))]
    pub num_frames: u32,
    /// Further numbers of frames. An epoch visits each video at every number that it has frames for, and a batch holds clips of
    /// one.
    #[serde(default)]
    #[schemars(inner(range(min = 1, max = 1024)))]
    pub lengths: Vec<u32>,
    /// Every n-th frame is taken; `n` is drawn for each clip from this range, as far as the video is long enough.
    #[serde(default = "one_to_one")]
    #[schemars(inner(range(min = 1, max = 1024)))]
    pub stride: [u32; 2],
    /// Frames a second that the video is brought to before the stride; its own if not given.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub fps: Option<f64>,
    /// Part of the clips that run backwards.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reverse_rate: f64,
    /// Part of each video that clips are cut from, from 0 (its start, or `start_s` in a list) to 1 (its end, or `end_s`);
    /// the rest is for validation.
    #[serde(default = "whole")]
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub within: [f64; 2],
    /// The entry `motion_bucket_id`; measured in each clip if not given.
    #[schemars(range(min = 0, max = 255))]
    pub motion_bucket_id: Option<u32>,
    /// Buckets for each grey level (of 255) by which a pixel changes from one frame of a clip to the next, on average.
    #[serde(default = "sixteen")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub motion_scale: f64,
}

impl ClipConfig {
    /// All numbers of frames that clips have, `num_frames` first.
    pub fn all_lengths(&self) -> Vec<u32> {
        let mut all = vec![self.num_frames];
        for &length in &self.lengths {
            if !all.contains(&length) {
                all.push(length);
            }
        }
        all
    }
}

fn one_to_one() -> [u32; 2] {
    [1, 1]
}
fn whole() -> [f64; 2] {
    [0.0, 1.0]
}
fn sixteen() -> f64 {
    16.0
}

/// The program that decodes what is not decoded here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FfmpegConfig {
    /// Its name, looked for where the system looks for programs, or its path.
    #[serde(default = "ffmpeg")]
    pub program: PathBuf,
    /// Seconds after which it is stopped and the video counts as bad.
    #[serde(default = "two_minutes")]
    #[schemars(range(min = 1))]
    pub timeout_s: u64,
}

impl Default for FfmpegConfig {
    fn default() -> Self {
        Self { program: ffmpeg(), timeout_s: two_minutes() }
    }
}

fn ffmpeg() -> PathBuf {
    PathBuf::from("ffmpeg")
}
fn two_minutes() -> u64 {
    120
}

/// `video-dir`: every video below a folder: video files, animated GIF and WebP, and folders of numbered images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoDirConfig {
    /// The folder.
    #[schemars(extend("x-anneal-path" = "folder"))]
    pub path: PathBuf,
    /// Rows and columns of a frame, pixels; frames are scaled to cover it and cropped around their middle.
    #[schemars(inner(range(min = 8, max = 4096)))]
    pub size: [u32; 2],
    /// Further sizes. Each video takes the one whose shape is nearest to its own, and a batch holds videos of one size.
    #[serde(default)]
    pub sizes: Vec<[u32; 2]>,
    /// How clips are cut out.
    pub clip: ClipConfig,
    /// Give the text `caption`, from the file beside each video that has its name and the ending `.txt`.
    #[serde(default)]
    pub captions: bool,
    /// Frames a second of folders of images, which do not say it themselves.
    #[serde(default = "eight")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub images_fps: f64,
    /// How videos are decoded.
    #[serde(default)]
    pub ffmpeg: FfmpegConfig,
}

fn eight() -> f64 {
    8.0
}

/// `video-list`: a list of videos, a line each: a path, or a JSON object with `path` and, where they are known,
/// `caption`, `start_s`, `end_s`, `fps` and `motion_bucket_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoListConfig {
    /// The list. Relative paths in it start at its folder.
    #[schemars(extend("x-anneal-path" = "file"))]
    pub path: PathBuf,
    /// Rows and columns of a frame, pixels; frames are scaled to cover it and cropped around their middle.
    #[schemars(inner(range(min = 8, max = 4096)))]
    pub size: [u32; 2],
    /// Further sizes. Each video takes the one whose shape is nearest to its own, and a batch holds videos of one size.
    #[serde(default)]
    pub sizes: Vec<[u32; 2]>,
    /// How clips are cut out.
    pub clip: ClipConfig,
    /// Frames a second of folders of images without `fps` in the list.
    #[serde(default = "eight")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub images_fps: f64,
    /// How videos are decoded.
    #[serde(default)]
    pub ffmpeg: FfmpegConfig,
}

/// `multiview-dir`: a folder an object, in it a folder a view, and a `cameras.json` with where the views are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiviewDirConfig {
    /// The folder of objects.
    #[schemars(extend("x-anneal-path" = "folder"))]
    pub path: PathBuf,
    /// Side of the square images, pixels; images of another size are an error unless `resize`.
    #[schemars(range(min = 8, max = 4096))]
    pub size: u32,
    /// Scale (and centre-crop) images of another size instead of refusing them.
    #[serde(default)]
    pub resize: bool,
    /// Views in a scene; the conditioning view is one of them, or one more where it is `apart`.
    #[schemars(range(min = 1, max = 64))]
    pub num_views: u32,
    /// Frames in a scene, of objects that move.
    #[serde(default = "one_frame")]
    #[schemars(range(min = 1, max = 1024))]
    pub num_frames: u32,
    /// Every n-th frame is taken; `n` is drawn for each scene from this range, as far as there are enough frames.
    #[serde(default = "one_to_one")]
    #[schemars(inner(range(min = 1, max = 1024)))]
    pub stride: [u32; 2],
    /// Part of the scenes that run backwards.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reverse_rate: f64,
    /// The conditioning view.
    #[serde(default)]
    pub cond_view: CondView,
    /// Begin the orbit at any view instead of the first.
    #[serde(default = "yes")]
    pub random_start: bool,
    /// Which angle `polar_rad` is.
    #[serde(default)]
    pub polar: Polar,
}

fn one_frame() -> u32 {
    1
}
fn yes() -> bool {
    true
}

/// Which angle the entry `polar_rad` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Polar {
    /// A right angle less the elevation (SV3D, SV4D).
    #[default]
    Absolute,
    /// A right angle plus the conditioning view's elevation less the view's (SV4D 2.0).
    Relative,
}
