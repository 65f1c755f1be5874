//! The run's settings: TOML in, checked and typed settings out.

mod components;
mod data;
mod model;
mod run;

pub use components::{EmbedderConfig, PluginKind, PluginUse};
pub use data::{BadSample, CondView, DataConfig, SourceConfig, EmojiConfig, FramesDirConfig, MeshOrbitConfig};
pub use model::{
    DenoiserConfig, FirstStageConfig, LossConfig, LossKind, ModelConfig, NetworkConfig, ScalingConfig, SigmaPer, UcgPer,
};
pub use run::{
    ClipFormat, EmaConfig, LoggingConfig, OptimizerConfig, PluginsConfig, Precision, RunConfig, RunSection, SamplingConfig,
    TrainConfig,
};
