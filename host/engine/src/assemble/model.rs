//! A checked config to a model and the tensors it is made of.

use anneal_nn::{Network, ParamKind, Params, SpatialUNetWithTime, UNet, VideoUNet, adapted_layer};
use anneal_torch::random::Stream;
use anneal_torch::tensor::empty_meta;
use tch::{Device, Kind, Tensor};

use super::shared_weights::SharedWeights;
use super::{AssembleError, lora};
use crate::conditioner::{Conditioner, Embedder, EmbedderUse, Init, ParamDecl};
use crate::config::{
    DenoiserConfig, EmbedderConfig, FrozenEncoders, ModelConfig, NetworkConfig, Precision, RunConfig, UcgPer, chooses,
};
use crate::diffusion::{Denoiser, Model, SigmaTable, Wrapper};
use crate::error::{ComponentError, ErrorCode};
use crate::first_stage::{AutoencoderFirstStage, FirstStage, IdentityFirstStage, LatentCodec};
use crate::off_load::OffLoaded;
use crate::plugin::Registry;
use crate::weights::Named;

/// Where the network's tensors stand among a checkpoint's keys.
pub const NETWORK_PREFIX: &str = "model.diffusion_model.";

/// Where the first stage's tensors stand among a checkpoint's keys.
pub const FIRST_STAGE_PREFIX: &str = "first_stage_model.";

/// A model and its tensors.
pub struct Built {
    /// The model.
    pub model: Model,
    /// Every parameter and buffer by checkpoint key: the network's, embedders', the first stage's. Those of frozen
    /// embedders that start from the same key of the same file share memory.
    pub weights: Vec<Named>,
    /// Those that are optimised, the network's first.
    pub trained: Vec<Named>,
    /// How many of the optimised ones are the network's.
    pub num_network: usize,
    /// Values of frozen embedders that lie where another embedder's lie.
    pub num_shared: u64,
}

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On a device.
    Device(Device),
    /// Nowhere: they have shapes and no values, so a model of any size costs nothing.
    Meta,
}

impl Place {
    /// Where weights are that nobody trains, and what moves them.
    fn of_frozen(self, config: &RunConfig) -> (Self, Option<Device>) {
        match (self, config.model.frozen_encoders) {
            (Self::Device(device), FrozenEncoders::OffLoad) => (Self::Device(Device::Cpu), Some(device)),
            _ => (self, None),
        }
    }

    /// A place for the parameters of a network.
    pub(super) fn params(self, seed: u64) -> Params {
        match self {
            Self::Device(device) => Params::new(device, seed),
            Self::Meta => Params::meta(),
        }
    }

    pub(super) fn initial(self, key: &str, decl: &ParamDecl, seed: u64) -> Result<Tensor, AssembleError> {
        match self {
            Self::Device(device) => Ok(initial(key, decl, seed).to_device(device)),
            Self::Meta => empty_meta(&decl.shape, Kind::Float)
                .map_err(|error| ComponentError::new(key, ErrorCode::InvalidConfig, error.to_string()).into()),
        }
    }
}

/// Builds the model of `config`, its tensors initialised from the run's seed.
///
/// # Errors
/// When a plugin cannot be loaded or refuses its settings.
pub fn build_model(config: &RunConfig, registry: &mut Registry, place: Place) -> Result<Built, AssembleError> {
    let compute = (config.run.precision == Precision::Bf16).then_some(Kind::BFloat16);
    let denoiser = denoiser(config, registry)?;
    let embedders: Vec<(Box<dyn Embedder>, &EmbedderConfig)> = config
        .model
        .embedders
        .iter()
        .map(|used| Ok((registry.embedder(used)?, used)))
        .collect::<Result<_, AssembleError>>()?;

    let lora = config.model.lora.as_ref();
    let params = place.params(config.run.seed);
    let params = match lora {
        Some(lora) => params.with_lora(lora::spec(lora)),
        None => params,
    };
    let network: Box<dyn Network> = match &config.model.network {
        NetworkConfig::Unet(network) => Box::new(UNet::new(network, &params.root())),
        NetworkConfig::VideoUnet(network) => Box::new(VideoUNet::new(network, &params.root())),
        NetworkConfig::SpatialUnetWithTime(network) => Box::new(SpatialUNetWithTime::new(network, &params.root())),
    };
    let mut weights = Vec::new();
    let mut trained = Vec::new();
    for param in params.into_entries() {
        let named = (format!("{NETWORK_PREFIX}{}", param.path), param.tensor);
        let is_trained = param.kind == ParamKind::Trained && is_chosen(&config.model, &param.path);
        let _ = named.1.set_requires_grad(is_trained);
        if is_trained {
            trained.push((named.0.clone(), named.1.shallow_clone()));
        }
        weights.push(named);
    }
    let num_network = trained.len();

    let (frozen_place, work) = place.of_frozen(config);
    let mut shared = SharedWeights::default();
    let mut uses = Vec::with_capacity(embedders.len());
    for (i, (embedder, used)) in embedders.into_iter().enumerate() {
        let mut tensors = Vec::new();
        for decl in embedder.params() {
            let name = format!("conditioner.embedders.{i}.{}", decl.name);
            let is_trained = used.is_trainable && !decl.buffer;
            let place = if used.is_trainable { place } else { frozen_place };
            let make = || place.initial(&name, decl, config.run.seed);
            let tensor = shared.get(used, decl, make)?.set_requires_grad(is_trained);
            if is_trained {
                trained.push((name.clone(), tensor.shallow_clone()));
            }
            weights.push((name, tensor.shallow_clone()));
            tensors.push(tensor);
        }
        let off_loaded = match work.filter(|_| !used.is_trainable) {
            Some(work) => OffLoaded::new(tensors.iter().map(Tensor::shallow_clone).collect(), work),
            None => OffLoaded::default(),
        };
        uses.push(EmbedderUse { off_loaded, ..EmbedderUse::new(embedder, tensors, used) });
    }

    let (first_stage, frozen) = first_stage(config, frozen_place);
    let off_loaded = match work {
        Some(work) => OffLoaded::new(frozen.iter().map(|(_, tensor)| tensor.shallow_clone()).collect(), work),
        None => OffLoaded::default(),
    };
    weights.extend(frozen);
    let first_stage_compute = if config.model.disable_first_stage_autocast { None } else { compute };
    let first_stage = LatentCodec::new(
        first_stage,
        config.model.scale_factor,
        config.model.en_and_decode_n_samples_a_time,
        first_stage_compute,
    )
    .with_off_loaded(off_loaded);
    let model = Model {
        input_key: config.model.input_key.clone(),
        extra_inputs: config.model.extra_inputs.clone(),
        first_stage,
        conditioner: Conditioner::new(uses, config.model.ucg_per == UcgPer::Row),
        network: Wrapper::new(network, compute),
        denoiser,
    };
    Ok(Built { model, weights, trained, num_network, num_shared: shared.num_shared() })
}

/// Whether the network's parameter at `path` is optimised: where there are adapters, they are, and else only what is named.
fn is_chosen(model: &ModelConfig, path: &str) -> bool {
    match (&model.lora, &model.trainable) {
        (Some(_), _) if adapted_layer(path).is_some() => true,
        (Some(_), None) => false,
        (_, named) => chooses(named.as_deref(), path),
    }
}

/// The first stage and its tensors, which are never optimised.
fn first_stage(config: &RunConfig, place: Place) -> (Box<dyn FirstStage>, Vec<Named>) {
    let Some(settings) = config.model.first_stage.autoencoder() else {
        return (Box::new(IdentityFirstStage), Vec::new());
    };
    let params = place.params(config.run.seed);
    let first_stage = AutoencoderFirstStage::new(&settings, &params.root());
    let frozen = params
        .into_entries()
        .into_iter()
        .map(|param| (format!("{FIRST_STAGE_PREFIX}{}", param.path), param.tensor.set_requires_grad(false)));
    (Box::new(first_stage), frozen.collect())
}

fn denoiser(config: &RunConfig, registry: &mut Registry) -> Result<Denoiser, AssembleError> {
    Ok(match &config.model.denoiser {
        DenoiserConfig::Continuous { scaling } => Denoiser { scaling: *scaling, table: None },
        DenoiserConfig::Discrete { scaling, discretization, num_idx, quantize_c_noise, do_append_zero, flip } => {
            let mut sigmas = registry.discretization(discretization)?.sigmas(*num_idx)?;
            if *do_append_zero {
                sigmas.push(0.0);
            }
            if *flip {
                sigmas.reverse();
            }
            Denoiser { scaling: *scaling, table: Some(SigmaTable { sigmas, quantize_c_noise: *quantize_c_noise }) }
        }
    })
}

/// The initial value of a declared parameter: a function of the run's seed and the parameter's key alone.
fn initial(key: &str, decl: &ParamDecl, seed: u64) -> Tensor {
    let mut stream = Stream::new(seed, &format!("init/{key}"), 0, 0);
    let like = (Kind::Float, Device::Cpu);
    match decl.init {
        Init::Zeros => Tensor::zeros(&decl.shape, like),
        Init::Ones => Tensor::ones(&decl.shape, like),
        Init::Normal { std } => stream.normal_tensor(&decl.shape) * std,
        Init::Uniform { bound } => (stream.uniform_tensor(&decl.shape) * 2.0 - 1.0) * bound,
    }
}
