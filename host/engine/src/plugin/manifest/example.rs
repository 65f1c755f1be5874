//! What an entry is tried with: settings, and what an embedder is given to embed.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Settings to try an entry with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Example {
    /// The settings.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Of a discretization: how many sigmas to ask for.
    pub n: Option<u32>,
    /// The first and the last number of the answer, to one part in a million.
    pub expect: Option<[f64; 2]>,
    /// The hash of what calls with these settings give, as `check` tells it on another machine (R02).
    pub transcript: Option<String>,
    /// Of an embedder: frames of a scene.
    pub frames: Option<i64>,
    /// Of an embedder: what it is given.
    #[serde(default)]
    pub inputs: Vec<ExampleInput>,
}

/// What an embedder is given to embed: random numbers, or texts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExampleInput {
    /// Its name in the batch.
    pub name: String,
    /// What it holds.
    pub kind: InputKind,
    /// The shape of one row; empty for numbers, and for texts.
    #[serde(default)]
    pub shape: Vec<i64>,
    /// What has a row.
    #[serde(default)]
    pub rows: Rows,
    /// Whether gradients go through to it.
    #[serde(default)]
    pub differentiable: bool,
    /// The least and the greatest number; normal numbers, or zeros and ones, if not given.
    pub range: Option<[f64; 2]>,
}

/// What an input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// Floating-point numbers.
    F32,
    /// Whole numbers.
    I64,
    /// Texts, one a scene.
    Text,
}

/// What has a row of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rows {
    /// A scene.
    #[default]
    Scenes,
    /// A frame of a scene.
    Frames,
}

/// Rows of an example may not be larger, so that trying an entry stays cheap.
const ROW_MAX: i64 = 1 << 24;

impl Example {
    /// Frames of a scene, at least one.
    pub fn frames_per_scene(&self) -> i64 {
        self.frames.unwrap_or(1)
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=1024).contains(&self.frames_per_scene()) {
            return Err(format!("a scene of {} frames cannot be tried", self.frames_per_scene()));
        }
        for input in &self.inputs {
            let numbers = input.shape.iter().try_fold(1_i64, |all, size| all.checked_mul(*size).filter(|_| *size > 0));
            if numbers.is_none_or(|numbers| numbers > ROW_MAX) {
                return Err(format!("a row of `{}` cannot have the shape {:?}", input.name, input.shape));
            }
            if input.kind == InputKind::Text && !(input.shape.is_empty() && input.range.is_none()) {
                return Err(format!("the texts of `{}` have neither a shape nor a range", input.name));
            }
            if input.differentiable && input.kind != InputKind::F32 {
                return Err(format!("no gradient goes to `{}`, which holds no floating-point numbers", input.name));
            }
            if let Some([low, high]) = input.range.filter(|[low, high]| low > high || low.is_nan() || high.is_nan()) {
                return Err(format!("the range of `{}` reaches from {low} to {high}", input.name));
            }
        }
        Ok(())
    }
}
