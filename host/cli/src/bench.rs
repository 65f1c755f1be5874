//! `anneal bench`: what is timed, and one training step of a video network.

use std::collections::BTreeMap;
use std::time::Instant;

use anneal::conditioner::{Conditioner, Embedded, Embedder, EmbedderCall, EmbedderInput, EmbedderUse, ParamDecl};
use anneal::config::{EmbedderConfig, ScalingConfig, SigmaPer};
use anneal::data::Batch;
use anneal::diffusion::{
    Denoiser, DrawKind, Loss, LossWeighting, Model, RowDistance, SigmaSampler, Weighting, Wrapper,
};
use anneal::error::ComponentError;
use anneal::first_stage::{IdentityFirstStage, LatentCodec};
use anneal::trainer::{
    AdamSettings, DiffusionObjective, Ema, Guard, Optimizer, OptimizerSettings, Rates, Schedule, StepSettings,
    TrainState, train_step,
};
use anneal_nn::{ParamKind, Params, VideoUNet, VideoUNetConfig};
use anneal_torch::cuda;
use anneal_torch::random::Stream;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::bench_ops::Ops;
use crate::bench_roles::Roles;
use crate::exit::{Exit, Failure};

/// Measure speed and memory.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Time whole training steps of VideoUNet: draws, forward, backward, clipping, AdamW, EMA. Prints one JSON line.
    #[command(after_help = "Example: OMP_WAIT_POLICY=passive anneal bench step --size tiny --threads 1 --steps 8")]
    Step(Step),
    /// Time an operation as a native plugin calls it, beside a direct call, and calls of embedders. Prints one JSON line.
    #[command(after_help = "Example: anneal bench ops --embedder class --plugin-dir target/plugins")]
    Ops(Ops),
    /// Time components: compiling, starting, and a call for 1, 16 and 1000 numbers. Prints a JSON line for each kind.
    #[command(after_help = "Example: anneal bench roles target/plugins/*")]
    Roles(Roles),
}

/// Arguments of `bench step`.
#[derive(Debug, Args)]
pub struct Step {
    /// The network's size.
    #[arg(long, default_value = "tiny")]
    size: Size,
    /// CPU threads; libtorch's choice if not given.
    #[arg(long)]
    threads: Option<i32>,
    /// Timed steps.
    #[arg(long, default_value_t = 8)]
    steps: u32,
    /// Steps before the timed ones.
    #[arg(long, default_value_t = 2)]
    warmup: u32,
    /// Channels in place of those of the size.
    #[arg(long, value_name = "N")]
    channels: Option<u32>,
    /// Recompute activations in backward instead of keeping them.
    #[arg(long)]
    checkpointing: bool,
    /// `cpu` (f32) or `cuda` (bf16).
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// Sizes of the benchmarked network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// 64 channels, 8 frames of 16x16 latents.
    Tiny,
    /// As the small recipes have it: 64 channels on two levels, 8 frames of 16x16 latents.
    Twin,
    /// 128 channels, 8 frames of 16x16 latents.
    Small,
    /// SVD's 320 channels, 14 frames of 40x40 latents.
    Svd,
}

struct Shape {
    name: &'static str,
    channels: u32,
    channel_mult: &'static [u32],
    context: i64,
    frames: i64,
    side: i64,
}

impl Size {
    fn shape(self) -> Shape {
        match self {
            Size::Tiny => Shape { name: "tiny", channels: 64, channel_mult: FOUR, context: 256, frames: 8, side: 16 },
            Size::Twin => {
                Shape { name: "twin", channels: 64, channel_mult: &[1, 2], context: 256, frames: 8, side: 16 }
            }
            Size::Small => {
                Shape { name: "small", channels: 128, channel_mult: FOUR, context: 512, frames: 8, side: 16 }
            }
            Size::Svd => Shape { name: "svd", channels: 320, channel_mult: FOUR, context: 1024, frames: 14, side: 40 },
        }
    }
}

/// SVD's levels.
const FOUR: &[u32] = &[1, 2, 4, 4];

const VECTOR: i64 = 768;

/// Hands its input on: the benchmark times the step, not a plugin.
struct Given;

impl Embedder for Given {
    fn name(&self) -> &str {
        "bench/given"
    }
    fn params(&self) -> &[ParamDecl] {
        &[]
    }
    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        _: &[Tensor],
        _: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError> {
        let tensors = inputs.iter().filter_map(|input| match input {
            EmbedderInput::Tensor { tensor, .. } => Some(Embedded { slot: None, tensor: tensor.shallow_clone() }),
            EmbedderInput::Texts { .. } => None,
        });
        Ok(tensors.collect())
    }
}

/// ln sigma ~ N(0.7, 1.6^2), and v-weighting: SVD's training.
struct SvdSigmas;

impl SigmaSampler for SvdSigmas {
    fn draw_kind(&self) -> DrawKind {
        DrawKind::Gaussian
    }
    fn sample(&mut self, draws: &[f64]) -> Result<Vec<f64>, ComponentError> {
        Ok(draws.iter().map(|z| (0.7 + 1.6 * z).exp()).collect())
    }
}

impl Weighting for SvdSigmas {
    fn weights(&mut self, sigmas: &[f64]) -> Result<Vec<f64>, ComponentError> {
        Ok(sigmas.iter().map(|sigma| (1.0 + sigma * sigma) / (sigma * sigma)).collect())
    }
}

impl Bench {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        match self {
            Bench::Step(step) => step.run(),
            Bench::Ops(ops) => ops.run(),
            Bench::Roles(roles) => roles.run(),
        }
    }
}

impl Step {
    fn run(&self) -> Result<Exit, Failure> {
        let device = match self.device.as_str() {
            "cpu" => Device::Cpu,
            "cuda" if tch::Cuda::is_available() => Device::Cuda(0),
            "cuda" => return Err(Failure::new(Exit::Config, "there is no usable GPU here")),
            other => return Err(Failure::new(Exit::Usage, format!("--device {other}: it must be cpu or cuda"))),
        };
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads);
        }
        let mut shape = self.size.shape();
        shape.channels = self.channels.unwrap_or(shape.channels);
        let (model, mut state, num_params) = self.build(&shape, device)?;
        let loss = Loss {
            distance: RowDistance::L2,
            sigma_per: SigmaPer::Clip,
            offset_noise_level: 0.0,
            sigma_sampler: Box::new(SvdSigmas),
            weighting: LossWeighting::Scalar(Box::new(SvdSigmas)),
        };
        let mut objective = DiffusionObjective { model, loss, preview: None, validation: None };
        let mut rates = Rates { model: Schedule::new(1e-5, None), adversary: None };
        let settings = StepSettings { seed: 0, accumulate_batches: 1, clip_grad_norm: Some(1.0) };
        let mut seconds = Vec::new();
        for i in 0..self.warmup + self.steps {
            if let (Device::Cuda(index), true) = (device, i == self.warmup) {
                cuda::reset_peak(index).map_err(internal)?;
            }
            let start = Instant::now();
            let mut next = || Ok(batch(&shape, u64::from(i)).to_device(device));
            train_step(&mut state, &mut objective, &mut rates, &settings, &Guard::default(), &mut next)?;
            if device.is_cuda() {
                tch::Cuda::synchronize(0);
            }
            if i >= self.warmup {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        seconds.sort_by(f64::total_cmp);
        let peak_gpu = match device {
            Device::Cuda(index) => Some(cuda::memory(index).map_err(internal)?.peak),
            _ => None,
        };
        let line = json!({
            "engine": "anneal",
            "size": shape.name,
            "channels": shape.channels,
            "params": num_params,
            "threads": tch::get_num_threads(),
            "checkpointing": self.checkpointing,
            "median_s": seconds.get(seconds.len() / 2),
            "min_s": seconds.first(),
            "max_s": seconds.last(),
            "peak_rss_mib": anneal_torch::memory::peak_rss() >> 20,
            "peak_gpu_mib": peak_gpu.map(|bytes| bytes >> 20),
        });
        println!("{line}");
        Ok(Exit::Done)
    }

    fn build(&self, shape: &Shape, device: Device) -> Result<(Model, TrainState, i64), Failure> {
        let attention: &[u32] = if shape.channel_mult.len() > 2 { &[4, 2, 1] } else { &[2, 1] };
        let config: VideoUNetConfig = serde_json::from_value(json!({
            "in_channels": 8,
            "out_channels": 4,
            "model_channels": shape.channels,
            "num_res_blocks": 2,
            "attention_resolutions": attention,
            "channel_mult": shape.channel_mult,
            "num_head_channels": 64,
            "num_classes": "sequential",
            "adm_in_channels": VECTOR,
            "context_dim": shape.context,
            "use_linear_in_transformer": true,
            "extra_ff_mix_layer": true,
            "use_spatial_context": true,
            "merge_strategy": "learned_with_images",
            "video_kernel_size": [3, 1, 1],
            "use_checkpoint": self.checkpointing,
        }))
        .map_err(internal)?;
        let params = Params::new(device, 0);
        let network = VideoUNet::new(&config, &params.root());
        let entries = params.into_entries();
        let weights = entries.iter().map(|param| (param.path.clone(), param.tensor.shallow_clone())).collect();
        let trained: Vec<_> =
            entries.into_iter().filter(|p| p.kind == ParamKind::Trained).map(|p| (p.path, p.tensor)).collect();
        let num_trained = trained.len();
        let settings = AdamSettings { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01, amsgrad: false };
        let optimizer = Optimizer::new(trained, OptimizerSettings::AdamW(settings));
        let num_params = optimizer.params().values().numel() as i64;
        let ema = Ema::new(optimizer.params(), num_trained, 0.9999, true);
        let state = TrainState { adversary: None, position: Default::default(), weights, optimizer, ema: Some(ema) };
        let uses = ["concat", "context", "vector"].into_iter().map(|key| {
            let config: EmbedderConfig =
                serde_json::from_value(json!({ "plugin": "given", "input_key": key })).map_err(internal)?;
            Ok(EmbedderUse::new(Box::new(Given), Vec::new(), &config))
        });
        let model = Model {
            input_key: "latent".to_owned(),
            extra_inputs: vec!["num_video_frames".to_owned(), "image_only_indicator".to_owned()],
            first_stage: LatentCodec::new(Box::new(IdentityFirstStage), 1.0, None, None),
            conditioner: Conditioner::new(uses.collect::<Result<_, Failure>>()?, false),
            network: Wrapper::new(Box::new(network), device.is_cuda().then_some(Kind::BFloat16)),
            denoiser: Denoiser { scaling: ScalingConfig::VEdmCnoise, table: None },
        };
        Ok((model, state, num_params))
    }
}

/// What should not happen.
fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, error.to_string())
}

/// Latents, conditions and frame counts of one scene, drawn afresh for every step.
fn batch(shape: &Shape, id: u64) -> Batch {
    let mut stream = Stream::new(0, "bench", id, 0);
    let latents = [shape.frames, 4, shape.side, shape.side];
    let tensors = BTreeMap::from([
        ("latent".to_owned(), stream.normal_tensor(&latents)),
        ("concat".to_owned(), stream.normal_tensor(&latents)),
        ("context".to_owned(), stream.normal_tensor(&[1, 1, shape.context])),
        ("vector".to_owned(), stream.normal_tensor(&[1, VECTOR])),
        ("image_only_indicator".to_owned(), Tensor::zeros([1, shape.frames], (Kind::Float, Device::Cpu))),
    ]);
    Batch {
        tensors,
        texts: BTreeMap::new(),
        integers: BTreeMap::from([("num_video_frames".to_owned(), shape.frames)]),
        sample_ids: vec![id],
        frames_per_scene: shape.frames,
    }
}
