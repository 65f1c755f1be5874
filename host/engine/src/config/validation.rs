//! Settings of validation: how well a run does on scenes that it is not trained on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FrechetConfig, LpipsConfig, SourceConfig};

/// Validation of a diffusion model: its loss at fixed noise levels under fixed noise, and its samples beside what they
/// should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Every so many steps, and at the end.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1))]
    pub every_steps: u64,
    /// Scenes; the same ones every time.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 4096))]
    pub scenes: usize,
    /// Where they come from; from the training source if not given, which then only tells of what is seen in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceConfig>,
    /// Noise levels of the loss; it is their mean.
    #[serde(default = "sigmas")]
    #[schemars(length(min = 1), inner(range(min = 0.0001)))]
    pub sigmas: Vec<f64>,
    /// Sample every scene and compare: PSNR, SSIM, and LPIPS if its networks are given.
    #[serde(default = "yes")]
    pub sample: bool,
    /// The batch entry that copies are made of, the first baseline of samples; none is made if batches lack it.
    #[serde(default = "cond_image")]
    pub copied_key: String,
    /// Training scenes that the mean picture is of, the second baseline; none is made if 0.
    #[serde(default = "sixty_four")]
    #[schemars(range(max = 4096))]
    pub mean_scenes: usize,
    /// The networks of LPIPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lpips: Option<LpipsConfig>,
    /// The Fréchet distances of all scenes together, which need many; `anneal evaluate --frechet` takes them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frechet: Option<FrechetConfig>,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self {
            every_steps: thousand(),
            scenes: four(),
            source: None,
            sigmas: sigmas(),
            sample: true,
            copied_key: cond_image(),
            mean_scenes: sixty_four(),
            lpips: None,
            frechet: None,
        }
    }
}

/// Validation of an autoencoder: its reconstructions beside what they should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderValidationConfig {
    /// Every so many steps, and at the end.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1))]
    pub every_steps: u64,
    /// Scenes; the same ones every time.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 4096))]
    pub scenes: usize,
    /// Where they come from; from the training source if not given, which then only tells of what is seen in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceConfig>,
    /// The networks of LPIPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lpips: Option<LpipsConfig>,
    /// The Fréchet distances of all scenes together, which need many; `anneal evaluate --frechet` takes them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frechet: Option<FrechetConfig>,
}

impl Default for AutoencoderValidationConfig {
    fn default() -> Self {
        Self { every_steps: thousand(), scenes: four(), source: None, lpips: None, frechet: None }
    }
}

fn thousand() -> u64 {
    1000
}
fn four() -> usize {
    4
}
fn sigmas() -> Vec<f64> {
    vec![0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
}
fn yes() -> bool {
    true
}
fn cond_image() -> String {
    "cond_image".to_owned()
}
fn sixty_four() -> usize {
    64
}
