//! What a step allocates beyond what stays, and what it costs: found by running the network on tensors without values.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anneal_torch::count::{Counted, count};
use anneal_torch::tensor::{empty_meta, keep_grad_in};
use anneal_torch::{TorchError, grad_mode};
use tch::{Kind, Tensor};

use super::Built;
use super::check::widths;
use crate::conditioner::{Conditions, Slot};
use crate::config::{NetworkConfig, RunConfig, SourceConfig};
use crate::diffusion::ExtraInputs;

/// Tokens of a context that nobody counted: an image's one; a text's 77 where the network is of images.
const TEXT_TOKENS: i64 = 77;

/// What comes on top of what stays for the whole run, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activations {
    /// Bytes of a training step of the largest batch, in f32. Autocast to bfloat16 takes about half.
    pub step: u64,
    /// Bytes of the network in sampling, for one batch with guidance.
    pub sampling: u64,
    /// Multiplications and additions of the network in a step, forward and backward.
    pub flops: u64,
}

/// The shapes of a scene at their largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scene {
    views: i64,
    times: i64,
    rows: i64,
    columns: i64,
}

/// Counts what the network of `built`, which has no values, would allocate for the batches of `config`.
///
/// # Errors
/// Why that cannot be known before the data is there, or that the shapes do not fit.
pub(super) fn activations(config: &RunConfig, built: &Built) -> Result<Activations, String> {
    let scene = scene(&config.data.source).ok_or("the source does not say how large its pictures are")?;
    let run = || count_passes(config, built, scene).map_err(|error| error.to_string());
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("the network refused the shapes").to_owned()
}

fn count_passes(config: &RunConfig, built: &Built, scene: Scene) -> Result<Activations, TorchError> {
    let batch = config.data.batch_size as i64;
    // Gradients have their place for the whole run.
    let homes: Vec<Tensor> = built.trained.iter().map(|(_, param)| param.detach().zeros_like()).collect();
    for ((_, param), home) in built.trained.iter().zip(&homes) {
        keep_grad_in(param, home)?;
    }
    let step = pass(config, built, scene, batch, true)?;
    let sampling = {
        let _no_grad = grad_mode::no_grad();
        // Guidance asks for both halves at once.
        pass(config, built, scene, if config.sampling.guidance.is_some() { 2 } else { 1 }, false)?
    };
    let batches = u64::from(config.train.accumulate_batches);
    Ok(Activations { step: step.peak, sampling: sampling.peak, flops: step.flops * batches })
}

/// One pass over `b` scenes, with its gradient where it is of training.
fn pass(config: &RunConfig, built: &Built, scene: Scene, b: i64, train: bool) -> Result<Counted, TorchError> {
    let empty = |shape: &[i64]| empty_meta(shape, Kind::Float);
    let Scene { views, times, rows, columns } = scene;
    let t = views * times;
    let network = widths(&config.model.network);
    let [c, h, w] = built.model.first_stage.latent_shape([3, rows, columns]);
    let (noised, c_noise) = (empty(&[b * t, c, h, w])?, empty(&[b * t])?);
    let mut conditions = Conditions::default();
    let mut set = |slot: Slot, shape: &[i64]| empty(shape).map(|value| conditions.set(slot, value));
    if network.in_channels > c {
        set(Slot::Concat, &[b * t, network.in_channels - c, h, w])?;
    }
    if let Some(width) = network.vector {
        set(Slot::Vector, &[b * t, width])?;
    }
    match (&config.model.network, network.context) {
        (NetworkConfig::SpatialUnetWithTime(network), Some(width)) => {
            set(Slot::Crossattn, &[b, times, width])?;
            set(Slot::CondView, &[b * views, network.motion_context_dim.map_or(c, i64::from), h, w])?;
        }
        (NetworkConfig::Unet(_), Some(width)) => set(Slot::Crossattn, &[b * t, TEXT_TOKENS, width])?,
        (_, Some(width)) => set(Slot::Crossattn, &[b * t, 1, width])?,
        (_, None) => {}
    }
    let mut extra = ExtraInputs { num_video_frames: Some(t), ..ExtraInputs::default() };
    if config.model.extra_inputs.iter().any(|key| key == "image_only_indicator") {
        extra.tensors.insert("image_only_indicator".to_owned(), empty(&[b, t])?);
    }
    let (result, counted) = count(|| {
        // What the denoiser and the loss make beside the network's own: scaled input, output, denoised, their difference.
        let scaled = &noised * &c_noise.reshape([-1, 1, 1, 1]);
        let output = built.model.network.forward(&scaled, &c_noise, &conditions, &extra, train)?;
        let denoised = output * &c_noise.reshape([-1, 1, 1, 1]) + &noised;
        if train {
            (denoised - &noised).square().mean(Kind::Float).backward();
        }
        Ok::<_, crate::error::ComponentError>(())
    })?;
    result.map_err(|error| TorchError(error.to_string()))?;
    Ok(counted)
}

/// How large a scene of the source is; none if it does not say.
fn scene(source: &SourceConfig) -> Option<Scene> {
    let at = |views: u32, times: u32, [rows, columns]: [u32; 2]| Scene {
        views: views.into(),
        times: times.into(),
        rows: rows.into(),
        columns: columns.into(),
    };
    let largest = |size: Option<[u32; 2]>, sizes: &[[u32; 2]]| {
        let all = sizes.iter().copied().chain(size);
        all.max_by_key(|[rows, columns]| u64::from(*rows) * u64::from(*columns))
    };
    Some(match source {
        SourceConfig::Emoji(emoji) => at(1, 1, [emoji.size; 2]),
        SourceConfig::MeshOrbit(orbit) => at(orbit.num_views, orbit.num_times, [orbit.size; 2]),
        SourceConfig::FramesDir(frames) => at(1, frames.num_frames, frames.size),
        SourceConfig::Webdataset(shards) => {
            let times = shards.clip.as_ref().map_or(1, |clip| clip.num_frames);
            at(1, times, largest(shards.size, &shards.sizes)?)
        }
        SourceConfig::VideoDir(videos) => at(1, videos.clip.num_frames, largest(Some(videos.size), &videos.sizes)?),
        SourceConfig::VideoList(videos) => at(1, videos.clip.num_frames, largest(Some(videos.size), &videos.sizes)?),
        SourceConfig::MultiviewDir(views) => at(views.num_views, views.num_frames, [views.size; 2]),
    })
}
