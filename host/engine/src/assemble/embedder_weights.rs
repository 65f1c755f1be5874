//! Embedders that start from published weights.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use anneal_torch::grad_mode;
use tch::Tensor;

use super::AssembleError;
use super::weights_file::read_weights;
use crate::config::{EmbedderConfig, Loaded, Problem, Problems, RunKind};
use crate::weights::{Named, Shaped, other_prefix};

/// Copies into `have` (all tensors of the model, by checkpoint key) what the embedders' files hold.
///
/// # Errors
/// When a file cannot be read, lacks a parameter of its embedder, or has one of another shape. Nothing is copied then.
pub(super) fn load_embedders(loaded: &Loaded, have: &[Named]) -> Result<(), AssembleError> {
    let mut problems = Vec::new();
    let mut copies = Vec::new();
    // Embedders that share their weights share the reading of them.
    let mut files: HashMap<&Path, Vec<Named>> = HashMap::new();
    for (i, used) in loaded.config.model.embedders.iter().enumerate() {
        let Some(path) = &used.weights else { continue };
        let prefix = format!("conditioner.embedders.{i}.");
        let own: Vec<(&str, &Tensor)> =
            have.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?, tensor))).collect();
        let given = match files.entry(path) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(place) => place.insert(read_weights(path)?),
        };
        let given: HashMap<&str, &Tensor> = given.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        match matched(used, &own, &given) {
            Ok(pairs) => copies.extend(pairs),
            Err(message) => problems.push(problem(loaded, &format!("/model/embedders/{i}/weights"), path, &message)),
        }
    }
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    let _no_grad = grad_mode::no_grad();
    for (parameter, value) in copies {
        parameter.shallow_clone().copy_(&value);
    }
    Ok(())
}

/// A file that is named at `pointer` and does not fit its embedder.
pub(super) fn problem<C: RunKind>(loaded: &Loaded<C>, pointer: &str, path: &Path, message: &str) -> Problem {
    let help = "name the embedder's own weights; `weights_prefix` and `weights_at` say where their keys differ";
    loaded.problem(pointer, format!("{}: {message}", path.display()), help)
}

/// Most keys that a message lists.
const LISTED_MAX: usize = 4;

/// Each parameter with its value, or what is wrong.
fn matched(
    used: &EmbedderConfig,
    own: &[(&str, &Tensor)],
    given: &HashMap<&str, &Tensor>,
) -> Result<Vec<(Tensor, Tensor)>, String> {
    let shapes: Vec<Shaped> = own.iter().map(|(key, tensor)| ((*key).to_owned(), tensor.size())).collect();
    let given_shapes = given.iter().map(|(key, value)| (*key, value.size())).collect();
    let names = names_in_file(used, &shapes, &given_shapes).map_err(|(_, message)| message)?;
    let values = names.iter().filter_map(|name| given.get(name.as_str()));
    Ok(own.iter().zip(values).map(|((_, own), value)| (own.shallow_clone(), value.shallow_clone())).collect())
}

/// What the embedder's parameters `own` are called in a file of the keys and shapes `given`; or which of the embedder's
/// settings is wrong about the file, and why.
pub(super) fn names_in_file(
    used: &EmbedderConfig,
    own: &[Shaped],
    given: &HashMap<&str, Vec<i64>>,
) -> Result<Vec<String>, (&'static str, String)> {
    if own.is_empty() {
        return Err(("weights", format!("the embedder `{}` has no parameters to start from it", used.plugin)));
    }
    let (mut names, mut wrong) = (Vec::new(), Vec::new());
    for (key, shape) in own {
        let Some(rest) = key.strip_prefix(used.weights_at.as_str()) else {
            let message = format!("the parameter `{key}` does not begin with `weights_at`, {:?}", used.weights_at);
            return Err(("weights_at", message));
        };
        let name = format!("{}{rest}", used.weights_prefix);
        match given.get(name.as_str()) {
            Some(given) if given == shape => {}
            Some(given) => wrong.push(format!("`{name}` is {given:?} there, the parameter {shape:?}")),
            None => wrong.push(format!("it has no key `{name}`")),
        }
        names.push(name);
    }
    if wrong.is_empty() {
        return Ok(names);
    }
    let elsewhere = other_prefix(&used.weights_prefix, names.iter().map(String::as_str), given.keys().copied());
    if let Some(found) = elsewhere {
        let message = format!("its keys stand behind {found:?}, not behind {:?}", used.weights_prefix);
        return Err(("weights_prefix", message));
    }
    let more = wrong.len().saturating_sub(LISTED_MAX);
    wrong.truncate(LISTED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(("weights", format!("{}{more}", wrong.join("; "))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tch::{Device, Kind};

    use super::*;

    fn ones(shape: &[i64]) -> Tensor {
        Tensor::ones(shape, (Kind::Float, Device::Cpu))
    }

    fn used(prefix: &str, at: &str) -> EmbedderConfig {
        let config =
            json!({ "plugin": "x", "input_key": "a", "weights": "/w", "weights_prefix": prefix, "weights_at": at });
        serde_json::from_value(config).unwrap()
    }

    fn check(used: &EmbedderConfig, given: &[(&str, &[i64])]) -> Result<Vec<f64>, String> {
        let (weight, bias) = (ones(&[2, 3]), ones(&[2]));
        let own = [("model.visual.weight", &weight), ("model.visual.bias", &bias)];
        let given: Vec<(&str, Tensor)> = given.iter().map(|(name, shape)| (*name, ones(shape) * 3.0)).collect();
        let given = given.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let pairs = matched(used, &own, &given)?;
        Ok(pairs.iter().map(|(_, value)| value.mean(Kind::Float).double_value(&[])).collect())
    }

    #[test]
    fn keys_are_found_behind_either_prefix() {
        assert_eq!(
            check(&used("", ""), &[("model.visual.weight", &[2, 3]), ("model.visual.bias", &[2])]).unwrap(),
            [3.0; 2]
        );
        assert!(check(&used("", "model."), &[("visual.weight", &[2, 3]), ("visual.bias", &[2])]).is_ok());
        let whole = [("a.0.visual.weight", [2, 3].as_slice()), ("a.0.visual.bias", &[2]), ("other", &[1])];
        assert!(check(&used("a.0.", "model."), &whole).is_ok());
    }

    #[test]
    fn every_parameter_must_be_there_in_its_shape() {
        let error = check(&used("", ""), &[("model.visual.weight", &[3, 2])]).unwrap_err();
        assert!(error.contains("`model.visual.weight` is [3, 2] there, the parameter [2, 3]"), "{error}");
        assert!(error.contains("no key `model.visual.bias`"), "{error}");
        let shifted = [("x.model.visual.weight", [2, 3].as_slice()), ("x.model.visual.bias", &[2])];
        assert!(check(&used("", ""), &shifted).unwrap_err().contains("stand behind \"x.\""));
        assert!(check(&used("", "open_clip."), &[]).unwrap_err().contains("`weights_at`"));
        assert!(matched(&used("", ""), &[], &HashMap::new()).unwrap_err().contains("no parameters"));
    }
}
