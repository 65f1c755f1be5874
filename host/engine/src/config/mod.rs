//! The run's settings: TOML in, checked and typed settings out.

mod autoencoder;
mod check;
mod components;
mod data;
mod describe;
mod document;
mod environment;
mod first_stage;
mod frechet;
mod guards;
mod kind;
mod labelled;
mod layers;
mod load;
mod lora;
mod model;
mod optimizer;
mod paths;
mod pattern;
mod problem;
mod repair;
mod resume;
mod run;
mod schema;
mod shape;
mod sources;
mod suggest;
#[cfg(test)]
mod tests;
mod upstream;
mod validation;

pub use autoencoder::{
    AdversaryConfig, AdversaryLoss, AutoencoderLossConfig, AutoencoderRunConfig, AutoencoderSection, PixelDistance,
};
pub use components::{EmbedderConfig, PluginKind, PluginRef, PluginUse};
pub use data::{
    BadSample, CondView, DataConfig, EmojiClass, EmojiConfig, FramesDirConfig, MeshOrbitConfig, SourceConfig,
};
pub use environment::Environment;
pub use first_stage::{EngineFirstStage, FirstStageConfig, KlFirstStage};
pub use frechet::{ClipsOver, EncoderInput, FrechetConfig};
pub use guards::{GuardsConfig, Policy, SpikeConfig};
pub use kind::{KindOfRun, RunKind};
pub use labelled::{Cifar10Config, IdxConfig};
pub use load::{Loaded, kind_of_run, load, load_with};
pub use lora::LoraConfig;
pub(crate) use lora::lora_takes;
pub use model::{
    DenoiserConfig, Distance, FrozenEncoders, LossConfig, LpipsConfig, ModelConfig, NetworkConfig, ScalingConfig,
    SigmaPer, UcgPer,
};
pub use optimizer::{GroupConfig, Moments, OptimizerConfig};
pub use paths::Files;
pub use pattern::{PathPattern, chooses, near_segment};
pub use problem::{Problem, Problems};
pub use resume::{Drift, Effect, drifts, effect_of};
pub use run::{
    BestMode, ClipFormat, EmaConfig, KeepBestConfig, LoggingConfig, PluginsConfig, Precision, RunConfig, RunSection,
    SamplingConfig, TrainConfig,
};
pub use schema::{schema, schema_with_plugins};
pub use sources::{
    ClipConfig, FfmpegConfig, MultiviewDirConfig, Polar, VideoDirConfig, VideoListConfig, WebdatasetConfig,
};
pub(crate) use suggest::{closest, one_of};
pub use validation::{AutoencoderValidationConfig, ValidationConfig};
