//! What a step allocates beyond what stays, and what it costs: found by running the network on tensors without values.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anneal_torch::count::count_for;
use anneal_torch::place::zeros_at;
use anneal_torch::tensor::{empty_meta, keep_grad_in};
use anneal_torch::{TorchError, grad_mode};
use tch::{Device, Kind, Tensor};

use super::Built;
use super::check::widths;
use crate::conditioner::{Conditions, Slot};
use crate::config::{ClipConfig, NetworkConfig, RunConfig, SourceConfig};
use crate::diffusion::{ExtraInputs, Model};
use crate::error::{ComponentError, ErrorCode};
use crate::weights::Named;

/// Tokens of a context that nobody counted: an image's one; a text's 77 where the network is of images.
const TEXT_TOKENS: i64 = 77;

/// Pixels of a side of CIFAR-10's images.
const CIFAR10_SIDE: u32 = 32;

/// Why nothing is counted of a source of any size.
pub(super) const NO_SIZE: &str = "the source does not say how large its pictures are";

/// What comes on top of what stays for the whole run, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activations {
    /// Bytes of a training step of the largest batch, in f32. Autocast to bfloat16 mostly takes less.
    pub step: u64,
    /// Bytes while pictures are made, in f32: for previews, or for a scene of validation; none if the run makes none.
    pub preview: Option<u64>,
    /// Multiplications and additions of a step: encoding, and the network forward and backward.
    pub flops: u64,
}

/// The shapes of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) views: i64,
    pub(super) times: i64,
    pub(super) rows: i64,
    pub(super) columns: i64,
}

/// Counts what a step and a preview of `built`, which has no values, would allocate for the batches of `config`.
///
/// # Errors
/// Why that cannot be known before the data is there, or that the shapes do not fit.
pub(super) fn activations(config: &RunConfig, built: &Built) -> Result<Activations, String> {
    let of = |bucket| scene(&config.data.source, bucket).ok_or(NO_SIZE);
    let (trained, pictured) = (of(Bucket::Largest)?, of(Bucket::Own)?);
    or_why(|| count_passes(config, built, trained, pictured))
}

/// What `run` counts, or why it cannot be counted; a panic says that shapes do not fit.
pub(super) fn or_why(run: impl FnOnce() -> Result<Activations, ComponentError>) -> Result<Activations, String> {
    let run = || run().map_err(|error| error.to_string());
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(message(panic.as_ref())))
}

/// Gives the gradients of `trained` their places, which they have for the whole run.
///
/// # Errors
/// When libtorch refuses.
pub(super) fn gradients_of(trained: &[Named]) -> Result<Vec<Tensor>, ComponentError> {
    let homes: Vec<Tensor> = trained.iter().map(|(_, param)| param.detach().zeros_like()).collect();
    for ((_, param), home) in trained.iter().zip(&homes) {
        keep_grad_in(param, home).map_err(of_libtorch)?;
    }
    Ok(homes)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    // libtorch's backtrace comes as one escaped line.
    let text = text.and_then(|text| text.split("\\nException").next()?.lines().next());
    text.unwrap_or("the network refused the shapes").to_owned()
}

fn count_passes(
    config: &RunConfig,
    built: &Built,
    trained: Scene,
    pictured: Scene,
) -> Result<Activations, ComponentError> {
    let _gradients = gradients_of(&built.trained)?;
    let device = super::device(&config.run).unwrap_or(Device::Cpu);
    let of = |scene: Scene, scenes: usize| Batch { config, model: &built.model, scene, scenes: scenes as i64 };
    let (done, step) = count_for(device, || of(trained, config.data.batch_size).step()).map_err(of_libtorch)?;
    done?;
    let samples = config.validation.as_ref().is_some_and(|validation| validation.sample);
    let scenes = match config.logging.preview_every_steps {
        Some(_) => config.logging.preview_scenes,
        None => usize::from(samples),
    };
    // The weights wait while their averages stand in for them.
    let averaged = config.ema.is_some() && config.sampling.use_ema;
    let waiting = if averaged { &built.trained[..built.num_network] } else { &[] };
    let waiting = bytes_of(waiting);
    let preview = (scenes > 0).then(|| {
        let (reconstructed, first) = count_for(device, || of(pictured, scenes).reconstructed()).map_err(of_libtorch)?;
        let _reconstructed = reconstructed?;
        let (sampled, then) = count_for(device, || of(pictured, scenes).sampled()).map_err(of_libtorch)?;
        sampled.map(|_| first.peak.max(first.kept + then.peak + waiting))
    });
    let batches = u64::from(config.train.accumulate_batches);
    Ok(Activations { step: step.peak, preview: preview.transpose()?, flops: step.flops * batches })
}

/// Bytes of tensors of f32.
pub(super) fn bytes_of(named: &[Named]) -> u64 {
    named.iter().map(|(_, tensor)| tensor.numel() as u64 * 4).sum()
}

pub(super) fn of_libtorch(error: TorchError) -> ComponentError {
    ComponentError::new("libtorch", ErrorCode::Numeric, error.to_string())
}

/// Scenes without values.
struct Batch<'a> {
    config: &'a RunConfig,
    model: &'a Model,
    scene: Scene,
    scenes: i64,
}

impl Batch<'_> {
    /// Encodes, denoises, and goes down the gradient.
    fn step(&self) -> Result<(), ComponentError> {
        let clean = self.encode()?;
        let (conditions, extra) = self.told(self.scenes)?;
        let noise = clean.zeros_like();
        let noised = &clean + &noise * per_row(&noise);
        let denoised = self.denoise(&noised, &conditions, &extra, true)?;
        let distance = (denoised - &clean).square().flatten(1, -1).mean_dim([1].as_slice(), false, Kind::Float);
        (distance * per_row(&clean).flatten(0, -1)).mean(Kind::Float).backward();
        Ok(())
    }

    /// Encodes and decodes.
    fn reconstructed(&self) -> Result<Tensor, ComponentError> {
        Ok(self.decode(&self.encode()?))
    }

    /// Samples and decodes.
    fn sampled(&self) -> Result<Tensor, ComponentError> {
        let _no_grad = grad_mode::no_grad();
        let latents = {
            let x = empty(&self.latent_shape())?;
            // Guidance asks for both halves at once.
            let halves = if self.config.sampling.guidance.is_some() { 2 } else { 1 };
            let (conditions, extra) = self.told(halves * self.scenes)?;
            let doubled = x.repeat([halves, 1, 1, 1]);
            let denoised = self.denoise(&doubled, &conditions, &extra, false)?;
            denoised.narrow(0, 0, x.size()[0]) + &x
        };
        Ok(self.decode(&latents))
    }

    fn decode(&self, latents: &Tensor) -> Tensor {
        self.model.first_stage.decode(latents, self.scene.views * self.scene.times)
    }

    fn latent_shape(&self) -> [i64; 4] {
        let Scene { views, times, rows, columns } = self.scene;
        let [c, h, w] = self.model.first_stage.latent_shape([3, rows, columns]);
        [self.scenes * views * times, c, h, w]
    }

    fn encode(&self) -> Result<Tensor, ComponentError> {
        self.encode_frames(self.scene.views * self.scene.times)
    }

    /// Encodes `frames` of each scene.
    fn encode_frames(&self, frames: i64) -> Result<Tensor, ComponentError> {
        let (Scene { rows, columns, .. }, n) = (self.scene, self.scenes * frames);
        let pixels = empty(&[n, 3, rows, columns])?;
        let [c, h, w] = self.model.first_stage.noise_shape([3, rows, columns]);
        Ok(self.model.first_stage.encode(&pixels, &empty(&[n, c, h, w])?))
    }

    /// As the denoiser does.
    fn denoise(
        &self,
        noised: &Tensor,
        conditions: &Conditions,
        extra: &ExtraInputs,
        train: bool,
    ) -> Result<Tensor, ComponentError> {
        let column = per_row(noised);
        let output =
            self.model.network.forward(&(noised * &column), &column.flatten(0, -1), conditions, extra, train)?;
        Ok(output.to_kind(Kind::Float) * &column + noised * &column)
    }

    /// Conditions of the widths that the network is told, for `b` scenes.
    fn told(&self, b: i64) -> Result<(Conditions, ExtraInputs), ComponentError> {
        // Embedders that encode frames have a copy of the first stage for it.
        if let Some(frames) = encoded_frames(self.config) {
            drop(self.encode_frames(frames)?);
        }
        let (network, Scene { views, times, .. }) = (&self.config.model.network, self.scene);
        let t = views * times;
        let told = widths(network);
        let [_, c, h, w] = self.latent_shape();
        let mut conditions = Conditions::default();
        let mut set = |slot: Slot, shape: &[i64]| empty(shape).map(|value| conditions.set(slot, value));
        if told.in_channels > c {
            set(Slot::Concat, &[b * t, told.in_channels - c, h, w])?;
        }
        if let Some(width) = told.vector {
            set(Slot::Vector, &[b * t, width])?;
        }
        match (network, told.context) {
            (NetworkConfig::SpatialUnetWithTime(network), Some(width)) => {
                set(Slot::Crossattn, &[b, times, width])?;
                set(Slot::CondView, &[b * views, network.motion_context_dim.map_or(c, i64::from), h, w])?;
            }
            (NetworkConfig::Unet(_), Some(width)) => set(Slot::Crossattn, &[b * t, TEXT_TOKENS, width])?,
            (_, Some(width)) => set(Slot::Crossattn, &[b * t, 1, width])?,
            (_, None) => {}
        }
        let mut extra = ExtraInputs { num_video_frames: Some(t), ..ExtraInputs::default() };
        if self.config.model.extra_inputs.iter().any(|key| key == "image_only_indicator") {
            extra.tensors.insert("image_only_indicator".to_owned(), empty(&[b, t])?);
        }
        Ok((conditions, extra))
    }
}

/// Most frames of a scene that an embedder encodes, if one does.
fn encoded_frames(config: &RunConfig) -> Option<i64> {
    let encodes = config.model.embedders.iter().filter(|used| used.params.contains_key("encoder"));
    encodes.filter_map(|used| used.params.get("n_cond_frames")?.as_i64()).max()
}

pub(super) fn empty(shape: &[i64]) -> Result<Tensor, ComponentError> {
    empty_meta(shape, Kind::Float).map_err(of_libtorch)
}

/// A number for each row of `x`, in its rank.
fn per_row(x: &Tensor) -> Tensor {
    let mut shape = vec![1; x.dim()];
    shape[0] = x.size()[0];
    zeros_at(&shape, x)
}

/// Which of the sizes and lengths that a source's scenes may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bucket {
    /// The largest: what training may be given.
    Largest,
    /// The source's own, which pictures are made of.
    Own,
}

/// How large a scene of the source is; none if it does not say.
pub(super) fn scene(source: &SourceConfig, bucket: Bucket) -> Option<Scene> {
    let at = |views: u32, times: u32, [rows, columns]: [u32; 2]| Scene {
        views: views.into(),
        times: times.into(),
        rows: rows.into(),
        columns: columns.into(),
    };
    let size = |own: Option<[u32; 2]>, sizes: &[[u32; 2]]| match bucket {
        Bucket::Own => own.or(sizes.first().copied()),
        Bucket::Largest => sizes.iter().copied().chain(own).max_by_key(|size| u64::from(size[0]) * u64::from(size[1])),
    };
    let frames = |clip: &ClipConfig| match bucket {
        Bucket::Own => clip.num_frames,
        Bucket::Largest => clip.all_lengths().into_iter().max().unwrap_or(clip.num_frames),
    };
    Some(match source {
        SourceConfig::Emoji(emoji) => at(1, 1, [emoji.size; 2]),
        SourceConfig::Idx(_) => return None,
        SourceConfig::Cifar10(_) => at(1, 1, [CIFAR10_SIDE; 2]),
        SourceConfig::MeshOrbit(orbit) => at(orbit.num_views, orbit.num_times, [orbit.size; 2]),
        SourceConfig::FramesDir(frames) => at(1, frames.num_frames, frames.size),
        SourceConfig::Webdataset(shards) => {
            at(1, shards.clip.as_ref().map_or(1, frames), size(shards.size, &shards.sizes)?)
        }
        SourceConfig::VideoDir(videos) => at(1, frames(&videos.clip), size(Some(videos.size), &videos.sizes)?),
        SourceConfig::VideoList(videos) => at(1, frames(&videos.clip), size(Some(videos.size), &videos.sizes)?),
        SourceConfig::MultiviewDir(views) => at(views.num_views, views.num_frames, [views.size; 2]),
    })
}
