//! The whole config, and the sections about the run itself.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DataConfig, GuardsConfig, LossConfig, ModelConfig, OptimizerConfig, PluginUse, ValidationConfig};

/// A whole config file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Where and how the run happens.
    pub run: RunSection,
    /// Where plugins are looked for.
    #[serde(default)]
    pub plugins: PluginsConfig,
    /// Where batches come from.
    pub data: DataConfig,
    /// What is trained.
    pub model: ModelConfig,
    /// The objective.
    pub loss: LossConfig,
    /// The optimizer and its learning-rate schedule.
    pub optimizer: OptimizerConfig,
    /// The moving average of the network's weights; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    /// How long to train, and when to save.
    pub train: TrainConfig,
    /// How well the run does on scenes that it is not trained on; not looked at if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationConfig>,
    /// How samples are made, in previews and by `anneal sample`.
    pub sampling: SamplingConfig,
    /// What a run writes for people.
    #[serde(default)]
    pub logging: LoggingConfig,
}

/// Where and how the run happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// The run's folder: checkpoints, pictures, metrics.
    #[schemars(extend("x-anneal-path" = "new-folder"))]
    pub dir: PathBuf,
    /// Seed of every random stream.
    #[serde(default)]
    pub seed: u64,
    /// Where the network runs: `auto` (CUDA if there is any), `cpu`, `cuda` or `cuda:N`.
    #[serde(default = "auto")]
    #[schemars(regex(pattern = r"^(auto|cpu|cuda(:[0-9]+)?)$"), extend("examples" = ["auto", "cpu", "cuda", "cuda:1"]))]
    pub device: String,
    /// Arithmetic of the network.
    #[serde(default)]
    pub precision: Precision,
    /// CPU threads of libtorch; its own choice if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<i32>,
}

fn auto() -> String {
    "auto".to_owned()
}

/// Arithmetic of the network; parameters are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16 by autocast.
    Bf16,
}

/// Where plugins are looked for, and which versions are wanted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginsConfig {
    /// Plugin directories, searched before all others.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "string", "x-anneal-path": "search" }))]
    pub dirs: Vec<PathBuf>,
    /// Version requirements by plugin id: `{ "acme.karras" = "^1.2" }`.
    #[serde(default)]
    pub require: std::collections::BTreeMap<String, String>,
}

/// The moving average of the network's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Decay a step, reached after the warm-up `(1 + n) / (10 + n)`.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub decay: f64,
    /// Whether the decay warms up with the number of updates.
    #[serde(default = "yes")]
    pub warm_up: bool,
}

fn yes() -> bool {
    true
}

/// How long to train, and when to save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps of the whole run.
    #[schemars(range(min = 1))]
    pub steps: u64,
    /// Batches whose gradients are averaged into one step.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 65536))]
    pub accumulate_batches: u32,
    /// Largest global L2 norm of the gradient; unclipped if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip_grad_norm: Option<f64>,
    /// A checkpoint every so many steps, and at the end.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1))]
    pub checkpoint_every_steps: u64,
    /// Whether training goes on while a checkpoint is written, from a copy of the state in main memory; where that has no
    /// room for one, training waits.
    #[serde(default = "yes")]
    pub background_saves: bool,
    /// How many of the latest checkpoints are kept; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub keep_last: Option<usize>,
    /// With `keep_last`, checkpoints whose step is a multiple of this are kept, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub keep_every_steps: Option<u64>,
    /// With `keep_last`, checkpoints with the best scores of validation are kept, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_best: Option<KeepBestConfig>,
    /// What is done about steps that go wrong.
    #[serde(default)]
    pub guards: GuardsConfig,
    /// Weights to start from: a file of safetensors or torch.save with the reference's keys, or a run's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "file-or-folder"))]
    pub init_from: Option<PathBuf>,
}

/// Which checkpoints are the best.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepBestConfig {
    /// The score, a key of validation.jsonl: `loss`, `psnr`, ...
    pub score: String,
    /// Whether the lowest or the highest is best.
    pub mode: BestMode,
    /// How many are kept.
    #[serde(default = "one_best")]
    #[schemars(range(min = 1))]
    pub count: usize,
}

/// Which end of a score is the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BestMode {
    /// The lowest is best.
    Min,
    /// The highest is best.
    Max,
}

fn one_best() -> usize {
    1
}
fn one() -> u32 {
    1
}
fn thousand() -> u64 {
    1000
}

/// How samples are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// Steps of the sampler.
    #[schemars(range(min = 1, max = 10000))]
    pub num_steps: u32,
    /// The solver.
    #[schemars(extend("x-anneal-plugin" = "sampler"))]
    pub sampler: PluginUse,
    /// The grid of sigmas.
    #[schemars(extend("x-anneal-plugin" = "discretization"))]
    pub discretization: PluginUse,
    /// Scale of classifier-free guidance by frame; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-plugin" = "guidance"))]
    pub guidance: Option<PluginUse>,
    /// Input keys whose embeddings are zeroed for the unconditional half; those with a `ucg_rate` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_uc_zero: Option<Vec<String>>,
    /// Conditions beyond vector, crossattn and concat that are doubled for guidance (`cond_view`, `cond_motion`).
    #[serde(default)]
    pub additional_cond_keys: Vec<String>,
    /// Sample with the moving average where there is one.
    #[serde(default = "yes")]
    pub use_ema: bool,
}

/// What a run writes for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingConfig {
    /// A metrics line every so many steps.
    #[schemars(range(min = 1))]
    pub metrics_every_steps: u64,
    /// Whether metrics, scores and previews (but for WebP) are written as TensorBoard's event files, too.
    pub tensorboard: bool,
    /// Pictures of inputs, reconstructions, conditions and samples every so many steps; none if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub preview_every_steps: Option<u64>,
    /// Scenes in a preview.
    #[schemars(range(min = 1, max = 64))]
    pub preview_scenes: usize,
    /// Format of clips.
    pub clip_format: ClipFormat,
    /// Frames a second of written clips.
    #[schemars(range(min = 1.0, max = 60.0))]
    pub clip_fps: f64,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self {
            metrics_every_steps: 1,
            tensorboard: true,
            preview_every_steps: None,
            preview_scenes: 4,
            clip_format: ClipFormat::Gif,
            clip_fps: 6.0,
        }
    }
}

/// Format of written clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClipFormat {
    /// Animated GIF, 256 colours a frame.
    #[default]
    Gif,
    /// Animated WebP, lossless.
    Webp,
}

impl ClipFormat {
    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }
}
