//! Native plugins as a run meets them: real libraries, loaded from plugin directories and called.
//!
//! `cargo xtask plugins` builds the bundled plugins and those with faults. The one in C is compiled by the tests.

mod bundled;
mod c_abi;
mod faults;
mod ops;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anneal::conditioner::{Draws, Embedded, Embedder, EmbedderCall, EmbedderInput};
use anneal::config::EmbedderConfig;
use anneal::error::ComponentError;
use anneal::plugin::{Registry, SearchPath};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// A folder of `target`, where `cargo xtask plugins` installs plugins.
fn installed(folder: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(folder);
    assert!(target.is_dir(), "{} is missing: run `cargo xtask plugins`", target.display());
    target
}

/// The plugins of one directory.
fn registry(dir: &Path) -> Registry {
    Registry::discover(&SearchPath::only(dir), &BTreeMap::new()).unwrap()
}

fn config(plugin: &str, settings: Value) -> EmbedderConfig {
    let mut config = serde_json::json!({ "plugin": plugin, "input_key": "input" });
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// The embedder with these settings, or the error of making it.
fn make(registry: &mut Registry, plugin: &str, settings: Value) -> Result<Box<dyn Embedder>, ComponentError> {
    registry.embedder(&config(plugin, settings))
}

/// Random numbers that say what was asked: all of them are the number of letters of the purpose.
struct LetterCount {
    num_scenes: i64,
}

impl Draws for LetterCount {
    fn normal(&mut self, purpose: &str, shape: &[i64]) -> Result<Tensor, ComponentError> {
        if shape[0] % self.num_scenes != 0 {
            let code = anneal::error::ErrorCode::InvalidArgument;
            return Err(ComponentError::new("draws", code, format!("{shape:?} is no multiple of the scenes")));
        }
        Ok(Tensor::full(shape, purpose.len() as f64, (Kind::Float, Device::Cpu)))
    }
}

/// Calls an embedder with the tensor `input`, about `num_scenes` scenes of one frame.
fn call(
    embedder: &dyn Embedder,
    input: &Tensor,
    params: &[Tensor],
    num_scenes: i64,
) -> Result<Vec<Embedded>, ComponentError> {
    let inputs = [EmbedderInput::Tensor { name: "input", tensor: input }];
    let mut draws = LetterCount { num_scenes };
    embedder.forward(
        &inputs,
        params,
        &mut EmbedderCall { num_scenes, frames_per_scene: 1, training: true, draws: &mut draws },
    )
}
