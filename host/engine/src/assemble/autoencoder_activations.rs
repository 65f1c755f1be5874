//! What a step of an autoencoder's training allocates beyond what stays, found as for a diffusion model.

use anneal_torch::count::count_for;
use anneal_torch::grad_mode;
use tch::Device;

use super::Activations;
use super::activations::{Bucket, NO_SIZE, Scene, bytes_of, empty, gradients_of, of_libtorch, or_why, scene};
use super::autoencoder::BuiltAutoencoder;
use crate::autoencoding::Reconstruction;
use crate::config::AutoencoderRunConfig;
use crate::error::{ComponentError, ErrorCode};

/// The entry that has all frames of a scene.
const FRAMES: &str = "image";

/// Counts what a step and a preview of `built`, which has no values, would allocate for the batches of `config`. The
/// adversary takes part, as it does from its start.
///
/// # Errors
/// Why that cannot be known before the data is there, or that the shapes do not fit.
pub(super) fn activations(config: &AutoencoderRunConfig, built: &BuiltAutoencoder) -> Result<Activations, String> {
    if config.autoencoder.input_key != FRAMES {
        return Err(format!("the source does not say how many pictures `{}` has", config.autoencoder.input_key));
    }
    let of = |bucket| scene(&config.data.source, bucket).ok_or(NO_SIZE);
    let (trained, pictured) = (of(Bucket::Largest)?, of(Bucket::Own)?);
    or_why(|| count_passes(config, built, trained, pictured))
}

fn count_passes(
    config: &AutoencoderRunConfig,
    built: &BuiltAutoencoder,
    trained: Scene,
    pictured: Scene,
) -> Result<Activations, ComponentError> {
    let _gradients = (gradients_of(&built.trained)?, gradients_of(&built.of_adversary)?);
    let device = super::device(&config.run).unwrap_or(Device::Cpu);
    let (done, step) = count_for(device, || step(built, trained, config.data.batch_size)).map_err(of_libtorch)?;
    done?;
    let scenes = config.logging.preview_every_steps.map(|_| config.logging.preview_scenes);
    let preview = scenes.map(|scenes| {
        let reconstructed = || {
            let _no_grad = grad_mode::no_grad();
            reconstruct(built, pictured, scenes, false)
        };
        let (own, first) = count_for(device, reconstructed).map_err(of_libtorch)?;
        let _own = own?;
        if config.ema.is_none() {
            return Ok(first.peak);
        }
        let (averaged, then) = count_for(device, reconstructed).map_err(of_libtorch)?;
        // The weights wait while their averages stand in for them.
        let waiting = bytes_of(&built.trained[..built.num_autoencoder]);
        averaged.map(|_| first.peak.max(first.kept + then.peak + waiting))
    });
    let batches = u64::from(config.train.accumulate_batches);
    Ok(Activations { step: step.peak, preview: preview.transpose()?, flops: step.flops * batches })
}

/// Encodes, decodes, and goes down the gradients of autoencoder and adversary.
fn step(built: &BuiltAutoencoder, scene: Scene, scenes: usize) -> Result<(), ComponentError> {
    let reconstruction = reconstruct(built, scene, scenes, true)?;
    let last_layer = built.model.autoencoder.last_layer();
    let done = built.loss.backward_unread(&reconstruction, last_layer, u64::MAX, 1.0);
    done.map(drop).map_err(|error| ComponentError::new("libtorch", ErrorCode::Numeric, error.to_string()))
}

fn reconstruct(
    built: &BuiltAutoencoder,
    scene: Scene,
    scenes: usize,
    train: bool,
) -> Result<Reconstruction, ComponentError> {
    let Scene { views, times, rows, columns } = scene;
    let frames = views * times;
    let n = frames * scenes as i64;
    let (model, factor) = (&built.model, built.model.config.downsampling());
    let input = empty(&[n, 3, rows, columns])?;
    let noise = empty(&[n, model.config.noise_channels(3), rows / factor, columns / factor])?;
    Ok(model.reconstruct_with(&input, &noise, frames, train))
}
