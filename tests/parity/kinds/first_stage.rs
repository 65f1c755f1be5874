//! `first_stage.*`: pixels to latents and back; and the first stages of engines.

use anneal::first_stage::{AutoencoderFirstStage, FirstStage, IdentityFirstStage, LatentCodec};
use anneal_nn::autoencoder::{
    Autoencoder, AutoencoderConfig, CoderConfig, Decoder, DiagonalGaussian, Encoder, Latent, Regularizer,
    RegularizerConfig, normal_kl,
};
use anneal_nn::{ParamKind, Params};
use serde_json::{Value, json};
use tch::Tensor;

use super::autoencoder_block::frames;
use super::recorded::{OF_POSTERIOR, Recorded};
use crate::case::{Case, Outputs};
use crate::module::{self, Inputs};
use crate::options::Options;

/// Settings of upstream's autoencoders that are about their training alone.
const OF_TRAINING: [&str; 13] = [
    "loss_config",
    "lossconfig",
    "monitor",
    "input_key",
    "optimizer_config",
    "lr_g_factor",
    "trainable_ae_params",
    "ae_optimizer_args",
    "trainable_disc_params",
    "disc_optimizer_args",
    "disc_start_iter",
    "diff_boost_factor",
    "additional_decode_keys",
];

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    match config.kind()?.as_str() {
        "encoder" | "decoder" | "video_decoder" => coder(case, &config),
        "diagonal_gaussian_distribution" => gaussian(case, &config),
        "diagonal_gaussian"
        | "vector_quantizer"
        | "vector_quantizer_with_input_projection"
        | "ema_vector_quantizer"
        | "gumbel_quantizer" => regularizer(case, &config),
        "identity" if case.has("moments") => regularizer(case, &config),
        "identity" | "identity_module" => {
            for key in OF_TRAINING {
                config.raw(key);
            }
            config.finish()?;
            let x = case.input("x")?;
            let wanted = ["out.z", "out.decoded", "out.moments", "out.y"].into_iter();
            let wanted = wanted.filter(|name| case.want(name).is_some());
            Ok(wanted.map(|name| (name.to_owned(), x.shallow_clone())).collect())
        }
        _ => autoencoder(case, &config),
    }
}

/// `encoder`, `decoder` and `video_decoder` by themselves.
fn coder(case: &Case, config: &Options) -> Result<Outputs, String> {
    let kind = config.kind()?;
    let settings: CoderConfig = serde_json::from_value(config.rest()).map_err(|error| format!("{kind}: {error}"))?;
    let params = module::params();
    let root = params.root();
    case.call.raw("_none_args");
    let t = frames(&case.call)?;
    let inputs = Inputs::new(case, &["x", "z"]);
    let y = if kind == "encoder" {
        let encoder = Encoder::new(&settings, &root);
        module::load(&params, case.weights(""))?;
        encoder.forward(inputs.need("x")?, false)
    } else {
        let of_video = kind == "video_decoder";
        let decoder = if of_video { Decoder::video(&settings, &root) } else { Decoder::new(&settings, &root) };
        module::load(&params, case.weights(""))?;
        decoder.forward(inputs.need("z")?, t, false)
    };
    Ok(module::outputs(case, &y, &inputs, &params))
}

/// The posterior by itself.
fn gaussian(case: &Case, config: &Options) -> Result<Outputs, String> {
    if config.or("deterministic", false)? {
        return Err("a posterior without variance is no Gaussian".to_owned());
    }
    config.finish()?;
    let posterior = DiagonalGaussian::new(&case.input("moments")?);
    let mut outputs = vec![
        ("mean", posterior.mean.shallow_clone()),
        ("logvar", posterior.logvar.shallow_clone()),
        ("std", posterior.std()),
        ("var", posterior.var()),
        ("mode", posterior.mode()),
        ("kl", posterior.kl()),
    ];
    if let Some(noise) = case.optional("noise") {
        outputs.push(("sample", posterior.sample(&noise)));
    }
    if let Some(point) = case.optional("point") {
        outputs.push(("nll", posterior.nll(&point)));
    }
    if let Some(other) = case.optional("moments_other") {
        let other = DiagonalGaussian::new(&other);
        outputs.push(("kl_other", posterior.kl_from(&other)));
        outputs.push(("normal_kl", normal_kl(&posterior.mean, &posterior.logvar, &other.mean, &other.logvar)));
    }
    Ok(outputs.into_iter().map(|(name, value)| (format!("out.{name}"), value)).collect())
}

/// A latent, what it adds to the loss and, of quantizers, the codes that were taken.
fn regularizer(case: &Case, config: &Options) -> Result<Outputs, String> {
    let kind = config.kind()?;
    let settings = regularizer_of(config)?;
    let params = module::params();
    let regularizer = Regularizer::new(&settings, &params.root());
    module::load(&params, case.weights(""))?;
    let encoded = case.optional("moments").map_or_else(|| case.input("z"), Ok)?;
    let noise = case.optional("gumbel").or_else(|| noise(case));
    let train = case.call.or("train", false)?;
    let latent = match &regularizer {
        // Upstream draws Gumbel noise itself, not of normal noise.
        Regularizer::Gumbel(quantizer) => {
            quantizer.forward(&encoded, &noise.ok_or("the case has no in.gumbel")?, train)
        }
        other => other.regularize(&encoded, noise.as_ref(), train),
    };
    let indices = latent.indices.as_ref().map(Tensor::shallow_clone);
    let mut outputs = outputs_of(latent);
    if let (RegularizerConfig::VectorQuantizerWithInputProjection(settings), Some(z)) =
        (&settings, outputs.get_mut("out.z"))
        && settings.output_dim.is_none()
    {
        // Here upstream leaves the pixels on one axis.
        *z = anneal_nn::shape::to_tokens(z);
    }
    if let Some(indices) = indices {
        let name = match kind.as_str() {
            "gumbel_quantizer" => "out.indices",
            "ema_vector_quantizer" => "out.encoding_indices",
            _ => "out.min_encoding_indices",
        };
        outputs.insert(name.to_owned(), indices);
    }
    if kind != "diagonal_gaussian" && kind != "identity" {
        outputs.retain(|name, _| case.want(name).is_some());
    }
    Ok(outputs)
}

/// An autoencoder from pixels to latents and back.
fn autoencoder(case: &Case, config: &Options) -> Result<Outputs, String> {
    let settings = autoencoder_config(config)?;
    let params = module::params();
    let autoencoder = Autoencoder::new(&settings, &params.root());
    module::load(&params, case.weights(""))?;
    let _: bool = case.call.or("unregularized", false)?;
    let t = match case.call.maybe_table("decode_kwargs")? {
        Some(given) => {
            let t = frames(&given)?;
            given.finish()?;
            t
        }
        None => None,
    };
    let run = || {
        let moments = autoencoder.encode_moments(&case.input("x")?, false);
        let latent = autoencoder.regularizer().regularize(&moments, noise(case).as_ref(), false);
        let z = latent.z.shallow_clone();
        let mut outputs = outputs_of(latent);
        if case.want("out.decoded").is_some() {
            // Without frames a decoder of video is one of images.
            let decoded = match t {
                Some(t) => autoencoder.decode(&z, t, false),
                None => autoencoder.decode_images(&z, false),
            };
            outputs.insert("out.decoded".to_owned(), decoded);
        }
        if case.want("out.moments").is_some() {
            outputs.insert("out.moments".to_owned(), moments);
        }
        Ok(outputs)
    };
    let _no_grad = anneal_torch::grad_mode::no_grad();
    run()
}

/// A latent as `out.z`, and the terms of the loss by their names.
fn outputs_of(latent: Latent) -> Outputs {
    let terms = latent.terms.into_iter().map(|(name, value)| (format!("out.{name}"), value));
    terms.chain([("out.z".to_owned(), latent.z)]).collect()
}

/// The posterior's draw.
fn noise(case: &Case) -> Option<Tensor> {
    case.optional("noise").or_else(|| case.optional("noise.0"))
}

/// Upstream's autoencoder as ours.
pub fn autoencoder_config(config: &Options) -> Result<AutoencoderConfig, String> {
    for key in OF_TRAINING {
        config.raw(key);
    }
    let value = match config.kind()?.as_str() {
        kind @ ("autoencoder_kl" | "autoencoder_kl_mode_only" | "autoencoder_legacy_vq") => {
            let mut value = config.rest();
            value["kind"] = kebab(kind);
            value
        }
        kind @ "autoencoding_engine" => json!({
            "kind": kebab(kind),
            "encoder_config": part(&config.table("encoder_config")?)?,
            "decoder_config": part(&config.table("decoder_config")?)?,
            "regularizer_config": serde_json::to_value(regularizer_of(&config.table("regularizer_config")?)?)
                .map_err(|error| error.to_string())?,
        }),
        other => return Err(format!("no first stage is called `{other}`")),
    };
    config.finish()?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// An encoder or a decoder within an autoencoder.
fn part(config: &Options) -> Result<Value, String> {
    let kind = config.kind()?;
    let mut value = config.rest();
    value["kind"] = kebab(if kind == "identity_module" { "identity" } else { &kind });
    Ok(value)
}

fn regularizer_of(config: &Options) -> Result<RegularizerConfig, String> {
    let kind = config.kind()?;
    if config.raw("remap").is_some_and(|remap| !remap.is_null()) {
        return Err("remap numbers codes for a model of codes, which anneal has none of".to_owned());
    }
    // Read by upstream with `remap` alone.
    config.raw("unknown_index");
    let mut value = config.rest();
    value["kind"] = kebab(&kind);
    serde_json::from_value(value).map_err(|error| format!("regularizer {kind}: {error}"))
}

fn kebab(name: &str) -> Value {
    Value::from(name.replace('_', "-"))
}

/// A first stage of an engine.
pub struct Codec {
    codec: LatentCodec,
    /// Whether latents are samples of a posterior.
    is_random: bool,
}

impl Codec {
    /// Latents of pixels, with the posterior's draw on record.
    pub fn encode(&self, pixels: &Tensor, recorded: &Recorded) -> Result<Tensor, String> {
        let size = pixels.size();
        let [c, h, w] = self.codec.latent_shape([size[1], size[2], size[3]]);
        let shape = [size[0], c, h, w];
        let noise = if self.is_random {
            recorded.take(&OF_POSTERIOR, &shape).ok_or("the case has no draw of the first stage's posterior")?
        } else {
            pixels.new_zeros(shape, (pixels.kind(), pixels.device()))
        };
        Ok(self.codec.encode(pixels, &noise))
    }

    /// Pixels of latents of scenes of so many frames.
    pub fn decode(&self, latents: &Tensor, frames: i64) -> Tensor {
        self.codec.decode(latents, frames)
    }
}

/// The first stage of upstream's engine, with its scale and chunks.
pub fn codec(case: &Case, config: &Options) -> Result<Codec, String> {
    let table = config.table("first_stage_config")?;
    let mut is_random = false;
    let first_stage: Box<dyn FirstStage> = if table.kind()? == "identity" {
        for key in OF_TRAINING {
            table.raw(key);
        }
        table.finish()?;
        Box::new(IdentityFirstStage)
    } else {
        let settings = autoencoder_config(&table)?;
        // Any even number of channels tells whether there is noise at all.
        is_random = settings.noise_channels(2) > 0;
        let params: Params = module::params();
        let first_stage = AutoencoderFirstStage::new(&settings, &params.root());
        module::load(&params, case.weights("first_stage_model."))?;
        for param in params.entries().iter().filter(|param| param.kind == ParamKind::Trained) {
            let _ = param.tensor.set_requires_grad(false);
        }
        Box::new(first_stage)
    };
    let scale_factor = config.or("scale_factor", 1.0)?;
    let chunk = config.optional("en_and_decode_n_samples_a_time")?;
    Ok(Codec { codec: LatentCodec::new(first_stage, scale_factor, chunk, None), is_random })
}
