//! Settings of the Fréchet distance between sets of clips.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Fréchet distance of what is made to what it should be, on features of an encoder that is given (FVD with the features
/// of I3D, Unterthiner et al. 2018).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrechetConfig {
    /// The encoder, a TorchScript file. It is a program: run none that you do not trust.
    #[schemars(extend("x-anneal-path" = "file"))]
    pub encoder: PathBuf,
    /// What the encoder takes.
    #[serde(default)]
    pub input: EncoderInput,
    /// What it takes after that: I3D as it is passed around wants `[false, false, true]` (rescale, resize, return features).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<bool>,
    /// Rows and columns that frames are scaled to, bilinearly and without antialiasing; their own if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 1, max = 8192)))]
    pub size: Option<[u32; 2]>,
    /// The values of black and white that the encoder takes.
    #[serde(default = "signed")]
    pub range: [f64; 2],
    /// Which clips of a scene are compared; all that a scene has if none are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<ClipsOver>,
}

/// What an encoder of features takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderInput {
    /// Clips `[n, 3, t, h, w]`.
    #[default]
    Clip,
    /// Frames `[n, 3, h, w]`; a clip's features are the mean of its frames'.
    Frame,
}

/// How clips are cut out of the images of a scene, which are of some views at some times (after SV4D, Xie et al. 2024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClipsOver {
    /// A clip a view, along time.
    Frames,
    /// A clip a time, along the views.
    Views,
    /// A clip a view that it begins with: each image is one time and one view further, and the first view follows the last.
    Diagonals,
    /// All images, back and forth: view by view along time, and time by time along the views.
    Scan,
}

fn signed() -> [f64; 2] {
    [-1.0, 1.0]
}
