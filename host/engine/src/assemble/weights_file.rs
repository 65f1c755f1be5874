//! Networks whose every weight comes from a file that the config names.

use std::collections::HashMap;
use std::path::Path;

use anneal_nn::{Lpips, Params};
use anneal_torch::grad_mode;
use tch::Tensor;

use super::Place;
use crate::config::LpipsConfig;
use crate::layouts::{Averages, Source};
use crate::trainer::checkpoint::CheckpointError;
use crate::weights::{Named, Shaped, other_prefix, shapes};

/// Copies into `have` what the file (or the run's folder) at `path` holds under `prefix` and the same names. Other keys of
/// it are left alone: a published one may hold a whole model, or a discriminator. `what` is what the weights are of.
///
/// # Errors
/// When the file cannot be read, lacks a key, or has one of another shape.
pub(super) fn copy_weights(path: &Path, prefix: &str, have: &[Named], what: &str) -> Result<(), CheckpointError> {
    let given = read_weights(path)?;
    if let Some(Lack { reason, .. }) = lack(prefix, &shapes(have), &shapes(&given), what) {
        return Err(CheckpointError::Misfit { path: path.to_owned(), reason });
    }
    let given: HashMap<&str, &Tensor> = given.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let _no_grad = grad_mode::no_grad();
    for (name, tensor) in have {
        if let Some(value) = given.get(format!("{prefix}{name}").as_str()) {
            tensor.shallow_clone().copy_(value);
        }
    }
    Ok(())
}

/// Why weights cannot be taken from a file.
pub(super) struct Lack {
    pub(super) reason: String,
    /// All of them stand behind another prefix.
    pub(super) is_prefix: bool,
}

/// Why `have` cannot be taken from `given`, where they stand behind `prefix`.
pub(super) fn lack(prefix: &str, have: &[Shaped], given: &[Shaped], what: &str) -> Option<Lack> {
    let known: HashMap<&str, &[i64]> = given.iter().map(|(key, shape)| (key.as_str(), shape.as_slice())).collect();
    let wanted: Vec<String> = have.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
    let mut missing = Vec::new();
    for (key, (_, shape)) in wanted.iter().zip(have) {
        match known.get(key.as_str()) {
            None => missing.push(key),
            Some(given) if given != shape => {
                let reason = format!("`{key}` has shape {given:?}; that of {what} has {shape:?}");
                return Some(Lack { reason, is_prefix: false });
            }
            Some(_) => {}
        }
    }
    let first = missing.first()?;
    let found = other_prefix(prefix, wanted.iter().map(String::as_str), known.keys().copied());
    let help = found.as_ref().map_or_else(String::new, |found| format!("; write prefix = {found:?}"));
    let reason = format!("{} keys of {what} are missing, `{first}` first{help}", missing.len());
    Some(Lack { reason, is_prefix: found.is_some() })
}

/// Keys and shapes of what [`read_weights`] would read. No value is.
///
/// # Errors
/// When there are none, or their headers are damaged.
pub(super) fn shapes_at(path: &Path) -> Result<Vec<Shaped>, CheckpointError> {
    let source = Source::look(path, Averages::OfRuns)?;
    Ok(source.entries().map(|(name, entry)| (name.to_owned(), entry.shape.clone())).collect())
}

/// The weights at `path`: those of a file as they are; of a run's newest checkpoint or of one checkpoint with averaged ones
/// in place of those they are averages of.
///
/// # Errors
/// When there are none, or they are damaged.
pub(super) fn read_weights(path: &Path) -> Result<Vec<Named>, CheckpointError> {
    Source::open(path, Averages::OfRuns)?.read()
}

/// The perceptual distance with its trained networks, or where there are no values, without them. They are no part of a
/// run's state: nothing changes them.
///
/// # Errors
/// As [`copy_weights`].
pub(super) fn lpips(networks: &LpipsConfig, place: Place) -> Result<Lpips, CheckpointError> {
    let params = place.params(0);
    let lpips = Lpips::new(&params.root());
    let have: Vec<Named> =
        params.into_entries().into_iter().map(|param| (param.path, param.tensor.set_requires_grad(false))).collect();
    if let Place::Device(_) = place {
        copy_weights(&networks.weights, &networks.prefix, &have, "the perceptual distance")?;
    }
    Ok(lpips)
}

/// Keys and shapes of the networks of the perceptual distance.
pub(super) fn shapes_of_lpips() -> Vec<Shaped> {
    let params = Params::meta();
    drop(Lpips::new(&params.root()));
    params.into_entries().into_iter().map(|param| (param.path, param.tensor.size())).collect()
}

/// Values in the networks of the perceptual distance.
pub(super) fn num_of_lpips() -> u64 {
    shapes_of_lpips().iter().map(|(_, shape)| shape.iter().product::<i64>() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights;
    use tch::{Device, Kind};

    fn named(name: &str, value: f64) -> Named {
        (name.to_owned(), Tensor::full([2], value, (Kind::Float, Device::Cpu)))
    }

    #[test]
    fn keys_are_found_behind_their_prefix_or_the_prefix_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ae.safetensors");
        let file = [named("vae.encoder.conv_in.bias", 3.0), named("vae.loss.logvar", 9.0)];
        weights::write(&path, &file, HashMap::new()).unwrap();
        let have = [named("encoder.conv_in.bias", 0.0)];
        let error = copy_weights(&path, "", &have, "the first stage").unwrap_err().to_string();
        assert!(error.contains("`encoder.conv_in.bias`") && error.contains("prefix = \"vae.\""), "{error}");
        copy_weights(&path, "vae.", &have, "the first stage").unwrap();
        assert_eq!(have[0].1.double_value(&[1]), 3.0);
    }

    #[test]
    fn shapes_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ae.safetensors");
        weights::write(&path, &[named("a", 1.0)], HashMap::new()).unwrap();
        let have = [("a".to_owned(), Tensor::zeros([3], (Kind::Float, Device::Cpu)))];
        assert!(copy_weights(&path, "", &have, "it").unwrap_err().to_string().contains("[2]"));
    }
}
