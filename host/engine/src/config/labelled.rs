//! Settings of the sources that read published sets of small labelled images.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `idx`: images and labels in MNIST's file format, which Fashion-MNIST, KMNIST and EMNIST have too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdxConfig {
    /// The images, as `train-images-idx3-ubyte`; compressed by gzip or not.
    #[schemars(extend("x-anneal-path" = "file"))]
    pub images: PathBuf,
    /// Their labels, as `train-labels-idx1-ubyte`; there is no entry `class` without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-anneal-path" = "file"))]
    pub labels: Option<PathBuf>,
}

/// `cifar10`: the binary version of CIFAR-10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cifar10Config {
    /// The files, as `data_batch_1.bin` to `data_batch_5.bin`.
    #[schemars(length(min = 1))]
    #[schemars(extend("items" = { "type": "string", "x-anneal-path": "file" }))]
    pub files: Vec<PathBuf>,
}
