//! The video UNet.
/// Settings of the video UNet.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoUNetConfig {}
