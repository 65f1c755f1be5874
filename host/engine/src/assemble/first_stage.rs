//! The first stage's trained weights, from the file that the config names.

use std::path::Path;

use anneal_torch::grad_mode;

use super::FIRST_STAGE_PREFIX;
use crate::config::RunConfig;
use crate::trainer::checkpoint::CheckpointError;
use crate::weights::{self, Named};

/// Copies the trained autoencoder into `weights`. Other keys of the file are left alone: a published one may hold a whole
/// model, or a discriminator.
///
/// # Errors
/// When the file cannot be read, lacks a key of the first stage, or has one of another shape.
pub(super) fn load_first_stage(config: &RunConfig, weights: &[Named]) -> Result<(), CheckpointError> {
    match config.model.first_stage.weights() {
        Some((path, prefix)) => copy(path, prefix, weights),
        None => {
            if config.model.first_stage.autoencoder().is_some() && config.train.init_from.is_none() {
                tracing::warn!("model.first_stage.weights is not given: the autoencoder is not trained");
            }
            Ok(())
        }
    }
}

fn copy(path: &Path, prefix: &str, have: &[Named]) -> Result<(), CheckpointError> {
    let misfit = |reason: String| CheckpointError::Misfit { path: path.to_owned(), reason };
    let given = weights::read(path)?;
    let _no_grad = grad_mode::no_grad();
    let mut missing = Vec::new();
    for (name, tensor) in have {
        let Some(name) = name.strip_prefix(FIRST_STAGE_PREFIX) else { continue };
        let key = format!("{prefix}{name}");
        let Some((_, value)) = given.iter().find(|(given, _)| *given == key) else {
            missing.push(key);
            continue;
        };
        if value.size() != tensor.size() {
            return Err(misfit(format!(
                "`{key}` has shape {:?}; the first stage's has {:?}",
                value.size(),
                tensor.size()
            )));
        }
        tensor.shallow_clone().copy_(value);
    }
    match missing.first() {
        None => Ok(()),
        Some(first) => {
            let help = match prefix_of(&given, prefix, first) {
                Some(found) => format!("; write prefix = {found:?}"),
                None => String::new(),
            };
            Err(misfit(format!("{} keys of the first stage are missing, `{first}` first{help}", missing.len())))
        }
    }
}

/// The prefix under which the file has `missing`, if it has it under another one.
fn prefix_of(given: &[Named], prefix: &str, missing: &str) -> Option<String> {
    let name = missing.strip_prefix(prefix)?;
    given.iter().find_map(|(key, _)| key.strip_suffix(name).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tch::{Device, Kind, Tensor};

    fn named(name: &str, value: f64) -> Named {
        (name.to_owned(), Tensor::full([2], value, (Kind::Float, Device::Cpu)))
    }

    #[test]
    fn keys_are_found_behind_their_prefix_or_the_prefix_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ae.safetensors");
        let file = [named("vae.encoder.conv_in.bias", 3.0), named("vae.loss.logvar", 9.0)];
        weights::write(&path, &file, HashMap::new()).unwrap();
        let have = [named("model.diffusion_model.x", 0.0), named("first_stage_model.encoder.conv_in.bias", 0.0)];
        let error = copy(&path, "", &have).unwrap_err().to_string();
        assert!(error.contains("`encoder.conv_in.bias`") && error.contains("prefix = \"vae.\""), "{error}");
        copy(&path, "vae.", &have).unwrap();
        assert_eq!((have[0].1.double_value(&[0]), have[1].1.double_value(&[1])), (0.0, 3.0));
    }

    #[test]
    fn shapes_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ae.safetensors");
        weights::write(&path, &[named("a", 1.0)], HashMap::new()).unwrap();
        let have = [("first_stage_model.a".to_owned(), Tensor::zeros([3], (Kind::Float, Device::Cpu)))];
        assert!(copy(&path, "", &have).unwrap_err().to_string().contains("[2]"));
    }
}
