//! The first stage's trained weights, from the file that the config names.

use super::FIRST_STAGE_PREFIX;
use super::weights_file::copy_weights;
use crate::config::RunConfig;
use crate::trainer::checkpoint::CheckpointError;
use crate::weights::Named;

/// Copies the trained autoencoder into `weights`.
///
/// # Errors
/// When the file cannot be read, lacks a key of the first stage, or has one of another shape.
pub(super) fn load_first_stage(config: &RunConfig, weights: &[Named]) -> Result<(), CheckpointError> {
    match config.model.first_stage.weights() {
        Some((path, prefix)) => {
            let own = |(name, tensor): &Named| {
                Some((name.strip_prefix(FIRST_STAGE_PREFIX)?.to_owned(), tensor.shallow_clone()))
            };
            let own: Vec<Named> = weights.iter().filter_map(own).collect();
            copy_weights(path, prefix, &own, "the first stage")
        }
        None => {
            if config.model.first_stage.autoencoder().is_some() && config.train.init_from.is_none() {
                tracing::warn!("model.first_stage.weights is not given: the autoencoder is not trained");
            }
            Ok(())
        }
    }
}
