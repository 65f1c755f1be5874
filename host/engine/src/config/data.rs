//! Settings of the data module: sources, loader, bad samples.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labelled::{Cifar10Config, IdxConfig};
use super::sources::{MultiviewDirConfig, Polar, VideoDirConfig, VideoListConfig, WebdatasetConfig};

/// Where batches come from and how they are loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Scenes (images, clips, orbits) in one batch.
    #[schemars(range(min = 1, max = 65536))]
    pub batch_size: usize,
    /// Loader threads; 0 loads on the training thread.
    #[serde(default = "one")]
    #[schemars(range(max = 256))]
    pub workers: usize,
    /// Batches held ready ahead of the step.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 1024))]
    pub prefetch_batches: usize,
    /// What to do with a sample that cannot be read.
    #[serde(default)]
    pub on_bad_sample: BadSample,
    /// With `skip`: how many different bad samples are borne before the run stops.
    #[serde(default = "hundred")]
    pub bad_samples_max: usize,
    /// Visit samples in a shuffled order, a new one each epoch.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// The source of samples.
    pub source: SourceConfig,
}

fn one() -> usize {
    1
}
fn four() -> usize {
    4
}
fn hundred() -> usize {
    100
}
fn yes() -> bool {
    true
}

/// What a sample that cannot be read does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BadSample {
    /// The run stops and names the file.
    #[default]
    Fail,
    /// The file is named in the log and the next sample takes its place.
    Skip,
}

/// A source of samples, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SourceConfig {
    /// The embedded emoji images with their names.
    Emoji(EmojiConfig),
    /// Grey images and labels in MNIST's format.
    Idx(IdxConfig),
    /// CIFAR-10.
    Cifar10(Cifar10Config),
    /// Rendered orbits of a glTF or OBJ model.
    MeshOrbit(MeshOrbitConfig),
    /// A folder of clips as numbered images.
    FramesDir(FramesDirConfig),
    /// Tar shards of images, clips, texts and arrays.
    Webdataset(WebdatasetConfig),
    /// A folder of videos, in folders of its own.
    VideoDir(VideoDirConfig),
    /// Videos named in a list, with captions and cuts.
    VideoList(VideoListConfig),
    /// Objects seen from known cameras.
    MultiviewDir(MultiviewDirConfig),
}

/// `emoji`: RGBA images over white, with names and classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmojiConfig {
    /// Side of the square images, pixels.
    #[schemars(range(min = 8, max = 72))]
    pub size: u32,
    /// One class a list: an emoji belongs to the first class of which its name contains a word.
    /// Emoji of no class are left out.
    #[schemars(length(min = 1))]
    pub classes: Vec<EmojiClass>,
}

/// A class of emoji by words in their English names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmojiClass {
    /// The class's name, shown in pictures and `anneal sample`.
    pub name: String,
    /// Words; a name that contains one (as a whole word) is in the class.
    #[schemars(length(min = 1))]
    pub words: Vec<String>,
}

/// Which view of an orbit conditions the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CondView {
    /// The last view, at azimuth 0 (SV3D).
    #[default]
    Last,
    /// The first view, at azimuth 0.
    First,
    /// A view of its own at azimuth 0, not among the others (SV4D).
    Apart,
}

/// `mesh-orbit`: a glTF or OBJ model rendered from cameras on an orbit, at times of its animations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshOrbitConfig {
    /// The glTF, GLB or OBJ file.
    #[schemars(extend("x-anneal-path" = "file"))]
    pub path: PathBuf,
    /// Side of the square images, pixels.
    #[schemars(range(min = 8, max = 1024))]
    pub size: u32,
    /// Cameras on the orbit.
    #[schemars(range(min = 1, max = 64))]
    pub num_views: u32,
    /// Times of the animation, evenly spaced from a random start.
    #[serde(default = "one_time")]
    #[schemars(range(min = 1, max = 64))]
    pub num_times: u32,
    /// Seconds between the times.
    #[serde(default = "twelfth")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub seconds_per_time: f64,
    /// Range of the camera's elevation, degrees above the horizon; one value an orbit.
    #[serde(default = "level")]
    #[schemars(inner(range(min = -90.0, max = 90.0)))]
    pub elevation_deg: [f64; 2],
    /// Azimuths of the views, degrees counter-clockwise seen from above; those from the conditioning view count. Evenly
    /// spaced if not given.
    #[serde(default)]
    pub azimuths_deg: Vec<f64>,
    /// The azimuth of each view but the conditioning one is off by up to so many degrees, to either side.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 180.0))]
    pub azimuth_jitter_deg: f64,
    /// The elevation of each view but the conditioning one is off by up to so many degrees, to either side.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 90.0))]
    pub elevation_jitter_deg: f64,
    /// Which angle `polar_rad` is.
    #[serde(default)]
    pub polar: Polar,
    /// Every n-th time is taken; `n` is drawn for each scene from this range.
    #[serde(default = "one_to_one")]
    #[schemars(inner(range(min = 1, max = 64)))]
    pub time_stride: [u32; 2],
    /// Part of the scenes that run backwards.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reverse_rate: f64,
    /// Part of each animation that scenes lie in, from 0 (its start) to 1 (its end); the rest is for validation. The
    /// whole of it runs on into its start, a part does not.
    #[serde(default = "whole")]
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub within: [f64; 2],
    /// Names of the animations to use; all of them if empty.
    #[serde(default)]
    pub animations: Vec<String>,
    /// The conditioning view.
    #[serde(default)]
    pub cond_view: CondView,
    /// Random turns of the whole orbit, so that the conditioning view comes from everywhere.
    #[serde(default = "yes")]
    pub random_azimuth: bool,
    /// Range of those turns, degrees counter-clockwise from the model's front; the rest is for validation. Without random
    /// turns the orbit is at the start of the range.
    #[serde(default = "full_turn")]
    #[schemars(inner(range(min = 0.0, max = 360.0)))]
    pub turn_deg: [f64; 2],
    /// Scenes in one epoch: each is a draw of animation, time, elevation and start azimuth.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1))]
    pub scenes_per_epoch: usize,
}

fn one_time() -> u32 {
    1
}
fn twelfth() -> f64 {
    1.0 / 12.0
}
fn one_to_one() -> [u32; 2] {
    [1, 1]
}
fn whole() -> [f64; 2] {
    [0.0, 1.0]
}
fn full_turn() -> [f64; 2] {
    [0.0, 360.0]
}
fn level() -> [f64; 2] {
    [0.0, 0.0]
}
fn thousand() -> usize {
    1000
}

/// `frames-dir`: one folder a clip, in it images whose names end in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FramesDirConfig {
    /// The folder of clips.
    #[schemars(extend("x-anneal-path" = "folder"))]
    pub path: PathBuf,
    /// Rows and columns of a frame, pixels; images of another size are an error unless `resize`.
    #[schemars(inner(range(min = 8, max = 4096)))]
    pub size: [u32; 2],
    /// Frames in a clip.
    #[schemars(range(min = 1, max = 1024))]
    pub num_frames: u32,
    /// Take every n-th image.
    #[serde(default = "stride_one")]
    #[schemars(range(min = 1))]
    pub stride: u32,
    /// Scale (and centre-crop) images of another size instead of refusing them.
    #[serde(default)]
    pub resize: bool,
    /// Frames a second of the clips; batches have `fps_id`, which is the rate after `stride`, less one (as SVD).
    #[serde(default = "six")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub fps: f64,
}

fn stride_one() -> u32 {
    1
}
fn six() -> f64 {
    6.0
}
