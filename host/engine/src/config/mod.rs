//! The run's settings: TOML in, checked and typed settings out.

mod check;
mod components;
mod data;
mod describe;
mod document;
mod environment;
mod first_stage;
mod layers;
mod load;
mod model;
mod paths;
mod problem;
mod run;
mod schema;
mod shape;
mod sources;
mod suggest;
#[cfg(test)]
mod tests;
mod upstream;

pub use components::{EmbedderConfig, PluginKind, PluginRef, PluginUse};
pub use data::{
    BadSample, CondView, DataConfig, EmojiClass, EmojiConfig, FramesDirConfig, MeshOrbitConfig, SourceConfig,
};
pub use environment::Environment;
pub use first_stage::{EngineFirstStage, FirstStageConfig, KlFirstStage};
pub use load::{Loaded, load, load_with};
pub use model::{DenoiserConfig, Distance, LossConfig, ModelConfig, NetworkConfig, ScalingConfig, SigmaPer, UcgPer};
pub use problem::{Problem, Problems};
pub use run::{
    ClipFormat, EmaConfig, LoggingConfig, OptimizerConfig, PluginsConfig, Precision, RunConfig, RunSection,
    SamplingConfig, TrainConfig,
};
pub use schema::{schema, schema_with_plugins};
pub use sources::{
    ClipConfig, FfmpegConfig, MultiviewDirConfig, Polar, VideoDirConfig, VideoListConfig, WebdatasetConfig,
};
pub(crate) use suggest::{closest, one_of};
