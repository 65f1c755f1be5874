//! Settings that several networks share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A setting that no network can be built with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ConfigProblem {
    /// The setting, as written in a config.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// What would mend it.
    pub help: String,
}

impl ConfigProblem {
    pub(crate) fn new(key: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into(), help: help.into() }
    }
}

/// One value for all levels of a network, or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected one integer, or a list with one integer for each level")]
pub enum PerLevel {
    /// The same at every level.
    All(u32),
    /// One for each level, finest first.
    Each(Vec<u32>),
}

impl PerLevel {
    /// One value for each of `levels`.
    pub(crate) fn expand(&self, levels: usize) -> Vec<u32> {
        match self {
            Self::All(value) => vec![*value; levels],
            Self::Each(values) => values.clone(),
        }
    }

    /// The number of values where they are listed.
    pub(crate) fn listed(&self) -> Option<usize> {
        match self {
            Self::All(_) => None,
            Self::Each(values) => Some(values.len()),
        }
    }
}

/// What the vector condition `y` is, and how it is embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"sequential\", \"continuous\", \"timestep\", or a number of classes")]
pub enum NumClasses {
    /// Class indices below this number, `[n]`, looked up in a table.
    Table(#[schemars(range(min = 1))] u32),
    /// Numbers, embedded by a network.
    Numbers(NumberCondition),
}

/// A vector condition that is numbers, not classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberCondition {
    /// A vector of `adm_in_channels` numbers through an MLP: `[n, d]`.
    Sequential,
    /// One number through a linear layer: `[n, 1]`.
    Continuous,
    /// One number, sinusoidally embedded, through an MLP: `[n]`.
    Timestep,
}

/// How the spatial and the temporal branch of a video block are blended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergeStrategy {
    /// The spatial branch weighs `merge_factor`.
    #[default]
    Fixed,
    /// The spatial branch weighs `sigmoid(mix_factor)`, learned from a start of `mix_factor = merge_factor`.
    Learned,
    /// As learned, and frames marked in `image_only_indicator` take the spatial branch alone.
    LearnedWithImages,
}

/// The implementation of attention; all are the same mathematics here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionType {
    /// Scaled dot-product attention.
    #[default]
    Softmax,
    /// The name that published configs use; the same attention.
    SoftmaxXformers,
}

/// The kernel of a temporal convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected one odd integer, or a list of three: time, rows, columns")]
pub enum KernelSize {
    /// The same over time, rows and columns.
    Cube(#[schemars(range(min = 1))] u32),
    /// Over time, rows and columns.
    Each([u32; 3]),
}

impl KernelSize {
    /// Time, rows, columns.
    pub fn sizes(self) -> [i64; 3] {
        match self {
            Self::Cube(k) => [k.into(); 3],
            Self::Each(each) => each.map(i64::from),
        }
    }
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn two() -> u32 {
    2
}

pub(crate) fn four_levels() -> Vec<u32> {
    vec![1, 2, 4, 8]
}

pub(crate) fn depth_one() -> PerLevel {
    PerLevel::All(1)
}

/// Head counts of attention over a number of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    /// A fixed number of heads.
    pub num_heads: Option<u32>,
    /// A fixed width of a head; wins over `num_heads`.
    pub num_head_channels: Option<u32>,
}

impl Heads {
    /// Number of heads and width of one.
    pub fn at(self, channels: i64) -> (i64, i64) {
        match (self.num_head_channels, self.num_heads) {
            (Some(width), _) => (channels / i64::from(width), i64::from(width)),
            (None, Some(heads)) => (i64::from(heads), channels / i64::from(heads)),
            (None, None) => panic!("num_heads or num_head_channels must be set"),
        }
    }
}

/// What [`check_shape`] looks at.
pub(crate) struct Shape<'a> {
    pub in_channels: u32,
    pub out_channels: u32,
    pub model_channels: u32,
    pub channel_mult: &'a [u32],
    pub attention_resolutions: &'a [u32],
    pub middle_attention: bool,
    pub heads: Heads,
    pub num_classes: Option<NumClasses>,
    pub adm_in_channels: Option<u32>,
    pub transformer_depth: &'a PerLevel,
    pub num_heads_upsample: Option<u32>,
    pub dropout: f64,
}

/// Problems that the image and the video network share.
pub(crate) fn check_shape(shape: &Shape<'_>) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    let mut wrong = |key: &str, message: String, help: &str| problems.push(ConfigProblem::new(key, message, help));
    if shape.channel_mult.is_empty() || shape.channel_mult.contains(&0) {
        wrong("channel_mult", "needs a level, and each must be 1 or more".into(), "write for example [1, 2, 4, 4]");
    }
    if shape.model_channels == 0 || !shape.model_channels.is_multiple_of(32) {
        let message = format!("{} is not a multiple of 32, the number of normalisation groups", shape.model_channels);
        wrong("model_channels", message, "use 32, 64, 96, 128, ...");
    }
    for (key, channels) in [("in_channels", shape.in_channels), ("out_channels", shape.out_channels)] {
        if channels == 0 {
            wrong(key, "must be 1 or more".into(), "give the number of channels");
        }
    }
    if !(0.0..1.0).contains(&shape.dropout) {
        wrong("dropout", format!("{} is no probability below 1", shape.dropout), "use 0 for none");
    }
    let scales: Vec<u32> = (0..shape.channel_mult.len().min(31)).map(|level| 1 << level).collect();
    if let Some(scale) = shape.attention_resolutions.iter().find(|scale| !scales.contains(scale))
        && !scales.is_empty()
    {
        let message = format!("{scale} is the downsampling factor of no level; those are {scales:?}");
        wrong("attention_resolutions", message, "list downsampling factors, not sizes in pixels");
    }
    if let Some(n) = shape.transformer_depth.listed()
        && n != shape.channel_mult.len()
    {
        let message = format!("lists {n} levels, channel_mult has {}", shape.channel_mult.len());
        wrong("transformer_depth", message, "give one integer, or one for each level");
    }
    if shape.num_heads_upsample.is_some() {
        wrong("num_heads_upsample", "has no effect".into(), "remove it; num_heads counts on both sides");
    }
    check_labels(shape, &mut wrong);
    check_heads(shape, &mut wrong);
    problems
}

fn check_labels(shape: &Shape<'_>, wrong: &mut impl FnMut(&str, String, &str)) {
    let sequential = matches!(shape.num_classes, Some(NumClasses::Numbers(NumberCondition::Sequential)));
    match shape.adm_in_channels {
        None if sequential => {
            wrong(
                "adm_in_channels",
                "is missing".into(),
                "num_classes = \"sequential\" needs the width of the vector condition",
            );
        }
        Some(0) => wrong("adm_in_channels", "must be 1 or more".into(), "give the width of the vector condition"),
        Some(_) if !sequential => {
            wrong("adm_in_channels", "has no effect".into(), "remove it, or set num_classes = \"sequential\"");
        }
        _ => {}
    }
    if shape.num_classes == Some(NumClasses::Table(0)) {
        wrong("num_classes", "must be 1 or more".into(), "remove it if there is no vector condition");
    }
}

fn check_heads(shape: &Shape<'_>, wrong: &mut impl FnMut(&str, String, &str)) {
    let Heads { num_heads, num_head_channels } = shape.heads;
    let (key, unit, divisor) = match (num_heads, num_head_channels) {
        (None, None) => {
            return wrong(
                "num_head_channels",
                "neither this nor num_heads is set".into(),
                "set one of them, for example num_head_channels = 64",
            );
        }
        (Some(_), Some(_)) => {
            return wrong("num_heads", "has no effect beside num_head_channels".into(), "remove one of the two");
        }
        (Some(heads), None) => ("num_heads", "heads", heads),
        (None, Some(width)) => ("num_head_channels", "channels a head", width),
    };
    if divisor == 0 {
        return wrong(key, "must be 1 or more".into(), "for example num_head_channels = 64");
    }
    let last = shape.channel_mult.len().saturating_sub(1);
    for (level, mult) in shape.channel_mult.iter().enumerate() {
        let attends = shape.attention_resolutions.contains(&(1 << level.min(31)));
        let channels = shape.model_channels * mult;
        if (attends || (level == last && shape.middle_attention)) && !channels.is_multiple_of(divisor) {
            let message = format!("{divisor} {unit} do not divide the {channels} channels of level {level}");
            return wrong(key, message, "choose a divisor of the channels of every level with attention");
        }
    }
}
