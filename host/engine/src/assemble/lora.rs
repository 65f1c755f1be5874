//! Low-rank adapters of a network: which layers get them, and what they start from.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use anneal_nn::{LoraSpec, adapted_layer};
use tch::Tensor;

use super::NETWORK_PREFIX;
use crate::config::LoraConfig;
use crate::layouts::{Averages, Source};
use crate::trainer::assign;
use crate::trainer::checkpoint::CheckpointError;
use crate::weights::{Named, aligned, split_adapters};

/// What the layers of a network are told.
pub(super) fn spec(lora: &LoraConfig) -> LoraSpec {
    let chosen = lora.clone();
    LoraSpec {
        rank: lora.rank.into(),
        scale: lora.scale(),
        dropout: lora.dropout,
        chooses: Rc::new(move |layer| chosen.chooses(layer)),
    }
}

/// Starts the adapters among `have` from the file that the settings name, if they name one. `init_from` is where the other
/// weights came from, adapters perhaps among them.
///
/// # Errors
/// As [`load_adapters`], or that the adapters of `init_from` were trained at another strength.
pub(super) fn start_adapters(
    lora: &LoraConfig,
    init_from: Option<&Path>,
    have: &[Named],
) -> Result<(), CheckpointError> {
    if let Some(path) = &lora.weights {
        return load_adapters(lora, path, have);
    }
    let Some(path) = init_from else { return Ok(()) };
    let source = Source::open(path, Averages::OfRuns)?;
    let has_adapters = source.entries().any(|(name, _)| adapted_layer(name).is_some());
    if has_adapters { check_strength(lora, &source, path) } else { Ok(()) }
}

/// An adapter says something else at another strength.
fn check_strength(lora: &LoraConfig, source: &Source, path: &Path) -> Result<(), CheckpointError> {
    match source.lora_alpha().filter(|alpha| *alpha != lora.alpha()) {
        None => Ok(()),
        Some(alpha) => {
            let reason = format!("its adapters were trained with alpha = {alpha}, the config says {}", lora.alpha());
            Err(CheckpointError::Misfit { path: path.to_owned(), reason })
        }
    }
}

/// Copies the adapters of the file or run at `path` into those among `have`.
///
/// # Errors
/// When it cannot be read, lacks one of them, has one of another shape, or was trained at another strength.
fn load_adapters(lora: &LoraConfig, path: &Path, have: &[Named]) -> Result<(), CheckpointError> {
    let misfit = |reason: String| CheckpointError::Misfit { path: path.to_owned(), reason };
    let mut source = Source::open(path, Averages::OfRuns)?;
    check_strength(lora, &source, path)?;
    let (_, given) = split_adapters(source.read()?);
    let keys: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
    let own: Vec<&str> =
        have.iter().map(|(name, _)| name.as_str()).filter(|name| adapted_layer(name).is_some()).collect();
    let names = aligned(&keys, &own).unwrap_or_default();
    let given: HashMap<&str, &Tensor> =
        given.iter().filter_map(|(name, tensor)| Some((names.get(name.as_str())?.as_str(), tensor))).collect();
    for (name, tensor) in have.iter().filter(|(name, _)| adapted_layer(name).is_some()) {
        let bare = name.strip_prefix(NETWORK_PREFIX).unwrap_or(name);
        match given.get(name.as_str()) {
            None => return Err(misfit(format!("it has no adapter `{bare}`; its first key is {}", first(&keys)))),
            Some(value) if value.size() != tensor.size() => {
                let (given, wanted) = (value.size(), tensor.size());
                return Err(misfit(format!("`{bare}` has shape {given:?} there, and {wanted:?} in this model")));
            }
            Some(_) => {}
        }
    }
    if let Some(unused) = given.keys().filter(|name| !own.contains(name)).min() {
        return Err(misfit(format!("its adapter `{unused}` is of no layer that `model.lora.targets` names")));
    }
    assign(have, |name| given.get(name).copied());
    Ok(())
}

fn first<'a>(keys: &[&'a str]) -> &'a str {
    keys.first().copied().unwrap_or("none at all")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::weights;

    fn lora(settings: &str) -> LoraConfig {
        toml::from_str(settings).unwrap()
    }

    fn named(name: &str, value: f32, len: usize) -> Named {
        (name.to_owned(), Tensor::from_slice(&vec![value; len]).view([1, -1]))
    }

    fn model() -> Vec<Named> {
        let keys = ["a.to_q.weight", "a.to_q.lora_A.weight", "a.to_q.lora_B.weight"];
        keys.iter().map(|key| named(&format!("{NETWORK_PREFIX}{key}"), 0.0, 2)).collect()
    }

    #[test]
    fn adapters_are_found_behind_any_prefix_and_must_fit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adapters.safetensors");
        let alpha = |alpha: &str| HashMap::from([(weights::ALPHA.to_owned(), alpha.to_owned())]);
        let file = |prefix: &str, len| {
            ["a.to_q.lora_A.weight", "a.to_q.lora_B.weight"].map(|key| named(&format!("{prefix}{key}"), 3.0, len))
        };
        for prefix in ["", NETWORK_PREFIX, "base_model.model."] {
            weights::write(&path, &file(prefix, 2), alpha("4")).unwrap();
            let have = model();
            load_adapters(&lora("rank = 4"), &path, &have).unwrap();
            let values: Vec<f64> = have.iter().map(|(_, tensor)| tensor.double_value(&[0, 1])).collect();
            assert_eq!(values, [0.0, 3.0, 3.0], "{prefix}");
        }
        let error = |settings: &str| load_adapters(&lora(settings), &path, &model()).unwrap_err().to_string();
        assert!(error("rank = 8").contains("alpha = 4"), "{}", error("rank = 8"));
        weights::write(&path, &file("", 3), HashMap::new()).unwrap();
        assert!(error("rank = 4").contains("[1, 3] there"), "{}", error("rank = 4"));
        weights::write(&path, &file("", 2)[..1], HashMap::new()).unwrap();
        assert!(error("rank = 4").contains("no adapter `a.to_q.lora_B.weight`"), "{}", error("rank = 4"));
        let more: Vec<Named> = file("", 2).into_iter().chain([named("b.to_q.lora_A.weight", 1.0, 2)]).collect();
        weights::write(&path, &more, HashMap::new()).unwrap();
        assert!(error("rank = 4").contains("b.to_q.lora_A.weight"), "{}", error("rank = 4"));
    }
}
