//! The parameters of a weighting that learns.

use anneal_torch::tensor::empty_meta;
use tch::{Kind, Tensor};

use super::activations::of_libtorch;
use super::{AssembleError, Built, Place};
use crate::config::{Distance, Loaded, PluginKind, Problem, RunConfig};
use crate::diffusion::LossWeighting;
use crate::error::{ComponentError, ErrorCode};
use crate::plugin::{Registry, TorchLink};

/// Where a weighting's tensors stand among a checkpoint's keys.
pub const WEIGHTING_PREFIX: &str = "loss.weighting.";

/// Rows of the call that a weighting is tried with.
const TRIED_ROWS: i64 = 2;

/// Makes the parameters of a weighting, and has them trained and saved with the model.
///
/// # Errors
/// When one cannot be made.
pub(super) fn own_weighting(
    weighting: &mut LossWeighting,
    built: &mut Built,
    place: Place,
    seed: u64,
) -> Result<(), AssembleError> {
    let LossWeighting::Tensor { weighting, params } = weighting else { return Ok(()) };
    for decl in weighting.params() {
        let name = format!("{WEIGHTING_PREFIX}{}", decl.name);
        let tensor = place.initial(&name, decl, seed)?.set_requires_grad(!decl.buffer);
        if !decl.buffer {
            built.trained.push((name.clone(), tensor.shallow_clone()));
        }
        built.weights.push((name, tensor.shallow_clone()));
        params.push(tensor);
    }
    Ok(())
}

/// What is wrong with a weighting whose parameters the loss would have no gradient for.
pub(super) fn learns_nothing(loaded: &Loaded<RunConfig>, weighting: &LossWeighting) -> Option<Problem> {
    let loss = &loaded.config.loss;
    let learns = match weighting {
        LossWeighting::Scalar(_) => false,
        LossWeighting::Tensor { weighting, .. } => weighting.params().iter().any(|decl| !decl.buffer),
    };
    if !learns || loss.distance != Distance::Lpips || loss.weighted_lpips {
        return None;
    }
    let message = "has parameters that would learn nothing: the distance is not weighted";
    Some(loaded.problem(
        "/loss/weighting",
        message,
        "set loss.weighted_lpips = true, or name a weighting of sigma alone",
    ))
}

/// Asks a weighting once, one over tensors with tensors that have no values, so that what does not fit is told before the
/// model is built.
///
/// # Errors
/// When it fails.
pub(super) fn try_weighting(
    weighting: &mut LossWeighting,
    plugin: &str,
    registry: &Registry,
) -> Result<(), ComponentError> {
    let weighting = match weighting {
        LossWeighting::Scalar(weighting) => return weighting.weights(&[1.0]).map(drop),
        LossWeighting::Tensor { weighting, .. } => weighting,
    };
    // One with a libtorch of its own may want values.
    let found = registry.find(PluginKind::Weighting, plugin);
    if !found.is_ok_and(|entry| *entry.plugin().torch() == TorchLink::None) {
        return Ok(());
    }
    let meta = |shape: &[i64]| empty_meta(shape, Kind::Float).map_err(of_libtorch);
    let params: Vec<Tensor> = weighting.params().iter().map(|decl| meta(&decl.shape)).collect::<Result<_, _>>()?;
    match weighting.weigh(&meta(&[TRIED_ROWS])?, &params, false) {
        // libtorch has no shapes of some operations.
        Err(error) if error.code == ErrorCode::Unsupported => Ok(()),
        weighed => weighed.map(drop),
    }
}
