//! Upstream's options of autoencoders' encoders as settings of ours.

use anneal_nn::autoencoder::Autoencoder;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::embedder::{Given, Loaded, name, normals_of, table_of};
use super::first_stage;
use super::model::Entry;
use super::recorded::DrawRule;
use crate::case::{Case, Outputs};
use crate::module;
use crate::options::Options;

/// Options of upstream's `Encoder` as the table `encoder`; what only a decoder reads is passed over.
fn encoder(config: &Options) -> Result<Value, String> {
    for key in ["out_ch", "dropout", "give_pre_end", "tanh_out"] {
        let _: Option<Value> = config.optional(key)?;
    }
    let attn_type = match config.or("attn_type", "vanilla".to_owned())?.as_str() {
        "vanilla" | "vanilla-xformers" => "vanilla",
        "linear" | "memory-efficient-cross-attn" => "linear",
        "none" => "none",
        other => return Err(format!("no attention is called `{other}`")),
    };
    Ok(json!({
        "ch": config.get::<i64>("ch")?, "ch_mult": config.or("ch_mult", vec![1, 2, 4, 8])?,
        "num_res_blocks": config.get::<i64>("num_res_blocks")?, "in_channels": config.get::<i64>("in_channels")?,
        "attn_resolutions": config.get::<Vec<i64>>("attn_resolutions")?,
        "resamp_with_conv": config.or("resamp_with_conv", true)?, "resolution": config.get::<i64>("resolution")?,
        "z_channels": config.get::<i64>("z_channels")?, "double_z": config.or("double_z", true)?,
        "use_linear_attn": config.or("use_linear_attn", false)?, "attn_type": attn_type,
    }))
}

/// Upstream's encoder or autoencoder as settings: `encoder`, `embed_dim`, `latent`.
fn encoder_settings(config: &Options, is_ae: bool, settings: &mut Value) -> Result<(), String> {
    let kind = config.kind()?;
    let (table, embed_dim, latent) = match (kind.as_str(), is_ae) {
        ("encoder", false) => (encoder(config)?, Value::Null, "moments"),
        ("identity", true) | ("identity_module" | "identity", false) => (Value::Null, Value::Null, "code"),
        ("autoencoder_kl" | "autoencoder_kl_mode_only", true) => {
            let coder = config.table("ddconfig")?;
            let table = encoder(&coder)?;
            coder.finish()?;
            let _: Option<Value> = config.optional("lossconfig")?;
            let _: Option<i64> = config.optional("max_batch_size")?;
            let latent = if kind == "autoencoder_kl" { "sample" } else { "mean" };
            (table, json!(config.get::<i64>("embed_dim")?), latent)
        }
        ("autoencoding_engine", true) => {
            let inner = config.table("encoder_config")?;
            let table = match inner.kind()?.as_str() {
                "encoder" => encoder(&inner)?,
                "identity" | "identity_module" => Value::Null,
                other => return Err(format!("no encoder is called `{other}`")),
            };
            inner.finish()?;
            let regularizer = config.table("regularizer_config")?;
            let latent = match regularizer.kind()?.as_str() {
                "identity" => "code",
                _ if regularizer.or("sample", true)? => "sample",
                _ => "mean",
            };
            regularizer.finish()?;
            for key in ["decoder_config", "loss_config", "lossconfig"] {
                let _: Option<Value> = config.optional(key)?;
            }
            if table.is_null() && latent != "code" {
                return Err("moments that are pixels are no latents of a plugin".to_owned());
            }
            (table, Value::Null, latent)
        }
        (other, _) => return Err(format!("no encoder is called `{other}` where is_ae is {is_ae}")),
    };
    config.finish()?;
    settings["encoder"] = table;
    settings["embed_dim"] = embed_dim;
    settings["latent"] = json!(latent);
    Ok(())
}

/// Upstream's encoder of conditioning frames.
pub fn video_prediction_entry(config: &Options) -> Result<Entry, String> {
    let n_cond_frames: i64 = config.get("n_cond_frames")?;
    let _: bool = config.or("disable_encoder_autocast", false)?;
    let mut settings = json!({
        "n_cond_frames": n_cond_frames, "n_copies": config.get::<i64>("n_copies")?,
        "scale_factor": config.or("scale_factor", 1.0)?,
        "en_and_decode_n_samples_a_time": config.optional::<i64>("en_and_decode_n_samples_a_time")?,
    });
    encoder_settings(&config.table("encoder_config")?, config.or("is_ae", false)?, &mut settings)?;
    let mut rule = DrawRule { rows_per_scene: n_cond_frames, table: None, throws_sigma_away: false };
    if let Some(sampler) = config.maybe_table("sigma_sampler_config")? {
        match sampler.kind()?.as_str() {
            "edm" => {
                settings["noise_p_mean"] = json!(sampler.or("p_mean", -1.2)?);
                settings["noise_p_std"] = json!(sampler.or("p_std", 1.2)?);
            }
            "discrete" => {
                let table = table_of(&sampler)?;
                rule.table = Some(table.len() as i64);
                settings["noise_sigmas"] = json!(table);
            }
            "zero" => {
                rule.throws_sigma_away = true;
                settings["noise_sigma"] = json!(1e-5);
            }
            other => return Err(format!("no sigma sampling is called `{other}`")),
        }
        sampler.finish()?;
    }
    if let Some(cond) = config.maybe_table("sigma_cond_config")? {
        if cond.kind()? != "concat_timestep_nd" {
            return Err("a noise level is embedded by sinusoids only".to_owned());
        }
        settings["sigma_dim"] = json!(cond.get::<i64>("outdim")?);
        cond.finish()?;
    }
    let unread = ["encoder.decoder.", "encoder.post_quant_conv."].map(str::to_owned).into();
    Ok(Entry { plugin: "video-prediction-with-encoder", settings, unread, draws: Some(rule) })
}

/// `embedder.video_prediction_with_encoder`.
pub fn video_prediction(case: &Case, config: &Options) -> Result<Outputs, String> {
    let entry = video_prediction_entry(config)?;
    let has = |key: &str| !entry.settings[key].is_null();
    let rule = entry.draws.unwrap_or(DrawRule::BY_ROW);
    let mut given = Given::draws([]);
    if let Some(count) = rule.table {
        given = given.and("sigma", normals_of(&case.input("rand_idx")?, count));
    } else if has("noise_p_mean") {
        given = given.and("sigma", case.input("rand")?);
    } else if rule.throws_sigma_away {
        let _ = case.optional("rand");
    }
    let frames_noised = ["noise_p_mean", "noise_sigmas", "noise_sigma"].into_iter().any(has);
    if frames_noised {
        let numbered = || case.optional("noise.0").ok_or("the case has no in.noise");
        given = given.and("noise", case.optional("noise").map_or_else(numbered, Ok)?);
    }
    if let Some(noise) = posterior(case, frames_noised) {
        given = given.and("posterior", noise);
    }
    let names: &[&str] = if has("sigma_dim") { &["out.emb", "out.sigma_cond"] } else { &["out.emb"] };
    let loaded = Loaded::entry(case, entry)?;
    let scenes = case.input("vid")?.size()[0] / rule.rows_per_scene;
    name(names, loaded.forward(case, &["vid"], scenes, given)?)
}

/// The noise of the posterior, in chunks: what was drawn beside the noise of another draw, if there was one.
fn posterior(case: &Case, beside_other: bool) -> Option<Tensor> {
    let mut chunks = case.numbered("noise");
    match (case.optional("noise"), beside_other) {
        // Where all draws are numbered, the first is the other one.
        (None, true) if !chunks.is_empty() => {
            let _ = chunks.remove(0);
        }
        (Some(noise), false) => chunks.insert(0, noise),
        _ => {}
    }
    (!chunks.is_empty()).then(|| Tensor::cat(&chunks, 0))
}

/// `embedder.gaussian_encoder`. The divergence is not the plugin's affair; it is worked out from the moments, which
/// draws of 0 and 1 show.
pub fn gaussian_encoder(case: &Case, config: &Options) -> Result<Outputs, String> {
    let weight: f64 = config.or("weight", 1.0)?;
    let flatten: bool = config.or("flatten_output", true)?;
    let settings = json!({ "encoder": encoder(config)?, "flatten_output": flatten });
    let loaded = Loaded::new(case, "gaussian-encoder", settings, &[])?;
    let noise = case.input("noise")?;
    let latents = |noise: Tensor| -> Result<Tensor, String> {
        let outputs = loaded.forward(case, &["x"], 1, Given::draws([("posterior", noise)]))?;
        Ok(outputs.into_iter().next().ok_or("nothing came out")?.tensor)
    };
    let mean = latents(noise.zeros_like())?.to_kind(Kind::Double);
    let std = latents(noise.ones_like())?.to_kind(Kind::Double) - &mean;
    let each = mean.square() + std.square() - 1.0 - std.log() * 2.0;
    let kl = (each.sum(Kind::Double) * (0.5 / noise.size()[0] as f64)).to_kind(Kind::Float);
    Ok(Outputs::from([
        ("out.z".to_owned(), latents(noise)?),
        ("out.loss".to_owned(), kl.shallow_clone()),
        ("out.kl_loss".to_owned(), kl),
        ("out.weight".to_owned(), Tensor::from(weight as f32)),
    ]))
}

/// `embedder.low_scale_encoder`. Decoding is not the plugin's affair; it is done by the autoencoder itself.
pub fn low_scale_encoder(case: &Case, config: &Options) -> Result<Outputs, String> {
    let scale_factor: f64 = config.or("scale_factor", 1.0)?;
    let max_noise_level: i64 = config.or("max_noise_level", 250)?;
    // A null keeps the size, a missing option does not.
    let size: Option<i64> =
        if config.raw("output_size").is_some() { config.optional("output_size")? } else { Some(64) };
    let mut settings = json!({
        "linear_start": config.get::<f64>("linear_start")?, "linear_end": config.get::<f64>("linear_end")?,
        "timesteps": config.or("timesteps", 1000)?, "max_noise_level": max_noise_level,
        "output_size": size.unwrap_or(0), "scale_factor": scale_factor,
    });
    encoder_settings(&config.table("model_config")?, true, &mut settings)?;
    let tables = ["betas", "alphas_cumprod", "sqrt_", "log_one_minus_alphas_cumprod"];
    let unread = [&tables[..], &["model.decoder.", "model.post_quant_conv."]].concat();
    let unread: Vec<String> = unread.into_iter().map(str::to_owned).collect();
    let loaded = Loaded::new(case, "low-scale-encoder", settings, &unread)?;
    let levels = case.input("noise_level")?;
    let mut given = Given::draws([("noise_level", normals_of(&levels, max_noise_level))]);
    given = given.and("noise", case.input("noise")?);
    if let Some(noise) = posterior(case, true) {
        given = given.and("posterior", noise);
    }
    let outputs = loaded.forward(case, &["x"], levels.size()[0], given)?;
    let mut outputs = name(&["out.z", "out.noise_level"], outputs)?;
    if let Some(level) = outputs.get_mut("out.noise_level") {
        *level = level.squeeze_dim(1).to_kind(Kind::Int64);
    }
    if case.call.or("decode", false)? {
        let latents = &outputs["out.z"] / scale_factor;
        let model = config.table("model_config")?;
        let decoded = if model.kind()? == "identity" {
            latents
        } else {
            let params = module::params();
            let autoencoder = Autoencoder::new(&first_stage::autoencoder_config(&model)?, &params.root());
            module::load(&params, case.weights("model."))?;
            autoencoder.decode_images(&latents, false)
        };
        outputs.insert("out.decoded".to_owned(), decoded);
    }
    Ok(outputs)
}
