//! Upstream's options of encoders as settings of ours: CLIP's towers, and encoders of autoencoders.

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::embedder::{Given, Loaded, name, normals_of, normals_of_mask, table_of};
use crate::case::{Case, Outputs};
use crate::options::Options;

/// What `arch` of a vision tower says, as the table `vision`. Of the text tower upstream keeps parts and reads none.
fn vision(arch: &Options) -> Result<Value, String> {
    let vision = arch.table("vision_cfg")?;
    let _: Option<Value> = arch.optional("text_cfg")?;
    let image_size: i64 = vision.or("image_size", 224)?;
    if image_size != 224 {
        return Err(format!("images are resized to 224 pixels, the tower takes {image_size}"));
    }
    let mut table = json!({
        "embed_dim": arch.get::<i64>("embed_dim")?, "act": act(arch)?, "layers": vision.or("layers", 12)?,
        "width": vision.or("width", 768)?, "head_width": vision.or("head_width", 64)?,
        "mlp_ratio": vision.or("mlp_ratio", 4.0)?, "patch_size": vision.or("patch_size", 16)?,
    });
    layer_scale(&vision, &mut table)?;
    vision.finish()?;
    arch.finish()?;
    Ok(table)
}

/// What `arch` of a text tower says, as the table `text`.
fn text(arch: &Options) -> Result<Value, String> {
    let text = arch.table("text_cfg")?;
    let _: Option<Value> = arch.optional("vision_cfg")?;
    let mut table = json!({
        "embed_dim": arch.get::<i64>("embed_dim")?, "act": act(arch)?, "layers": text.or("layers", 12)?,
        "width": text.or("width", 512)?, "heads": text.or("heads", 8)?, "mlp_ratio": text.or("mlp_ratio", 4.0)?,
        "context_length": text.or("context_length", 77)?, "vocab_size": text.or("vocab_size", 49408)?,
    });
    layer_scale(&text, &mut table)?;
    text.finish()?;
    arch.finish()?;
    Ok(table)
}

fn act(arch: &Options) -> Result<&'static str, String> {
    Ok(if arch.or("quick_gelu", false)? { "quick-gelu" } else { "gelu" })
}

/// The start of the scales is replaced by the case's weights.
fn layer_scale(tower: &Options, table: &mut Value) -> Result<(), String> {
    table["layer_scale"] = json!(tower.optional::<f64>("ls_init_value")?.is_some());
    Ok(())
}

/// Options that say where and how upstream loads a model.
fn skip_loading(config: &Options) -> Result<(), String> {
    for key in ["version", "device", "freeze", "init_device"] {
        let _: Option<Value> = config.optional(key)?;
    }
    Ok(())
}

/// Keys that upstream keeps of the tower it does not use, below `prefix`.
fn unread_of_image(prefix: &str) -> Vec<String> {
    let keys = ["ln_final.", "logit_scale", "positional_embedding", "text_projection", "token_embedding."];
    keys.iter().map(|key| format!("{prefix}model.{key}")).collect()
}

/// Settings of the image tower that stand alone and inside the prediction embedder, by upstream's options.
fn image_settings(config: &Options) -> Result<Value, String> {
    skip_loading(config)?;
    Ok(json!({
        "vision": vision(&config.table("arch")?)?, "antialias": config.or("antialias", true)?,
        "drop_rate": config.or("ucg_rate", 0.0)?,
    }))
}

/// The masks of upstream's own drop, in the order in which they are drawn; 1 where the case has none.
fn masks(case: &Case, rate: f64, [pooled, tokens]: [i64; 2]) -> Given {
    if rate == 0.0 {
        return Given::none();
    }
    let mut given = case.numbered("mask");
    given.extend(case.optional("mask"));
    // A case without masks is one in which nothing was dropped, or its output shows what was.
    let mut masks = given.into_iter();
    let mut next = |rows: i64, out: &str| match (masks.next(), case.want(out)) {
        (Some(mask), _) => mask,
        (None, Some(out)) if out.size()[0] == rows => out.flatten(1, -1).abs().amax([1], false).gt(0.0),
        (None, _) => Tensor::ones([rows], (Kind::Float, tch::Device::Cpu)),
    };
    let pooled_out = if case.want("out.pooled").is_some() { "out.pooled" } else { "out.emb" };
    let draws = Given::draws([("drop", normals_of_mask(&next(pooled, pooled_out)))]);
    draws.and("drop_tokens", normals_of_mask(&next(tokens, "out.tokens")))
}

/// `embedder.frozen_openclip_image`.
pub fn open_clip_image(case: &Case, config: &Options) -> Result<Outputs, String> {
    let mut settings = image_settings(config)?;
    let crops: i64 = config.or("num_image_crops", 0)?;
    let [tokens, repeated, unsqueezed] = [
        config.or("output_tokens", false)?,
        config.or("repeat_to_max_len", false)? && crops == 0,
        config.or("unsqueeze_dim", false)?,
    ];
    let rate: f64 = config.or("ucg_rate", 0.0)?;
    let table = settings.as_object_mut().ok_or("no table")?;
    table.extend(Map::from_iter([
        ("num_image_crops".to_owned(), json!(crops)),
        ("output_tokens".to_owned(), json!(tokens)),
        ("repeat_to_max_len".to_owned(), json!(repeated)),
        ("unsqueeze_dim".to_owned(), json!(unsqueezed)),
        ("max_length".to_owned(), json!(config.or("max_length", 77)?)),
    ]));
    let unread = unread_of_image("");
    let unread: Vec<&str> = unread.iter().map(String::as_str).collect();
    let loaded = Loaded::new(case, "open-clip-image", settings, &unread)?;
    let image = case.input("image")?;
    let rows = image.size()[0];
    let pooled_rows = if image.dim() == 5 { rows * crops } else { rows };
    let outputs = loaded.forward(case, &["image"], 1, masks(case, rate, [pooled_rows, rows]))?;
    let mut outputs = match (tokens, repeated || crops > 0) {
        (true, _) => name(&["out.tokens", "out.pooled"], outputs)?,
        (_, true) => name(&["out.emb", "out.pooled"], outputs)?,
        _ => name(&["out.emb"], outputs)?,
    };
    if case.want("out.preprocessed").is_some() {
        outputs.extend(preprocessed(case, config, &image)?);
    }
    Ok(outputs)
}

/// What the plugin's tower is given of an image, seen through a tower that passes the first pixel of each patch on.
///
/// A token is `(r, g, b, -r, -g, -b, K, -K)`: its mean is zero, so that norms only scale it, and K tells by how much.
/// The block adds nothing.
fn preprocessed(case: &Case, config: &Options, image: &Tensor) -> Result<Outputs, String> {
    const K: f32 = 2.0;
    let stride: i64 = case.call.get("_pre_stride")?;
    let grid = 224 / stride;
    let vision = json!({ "embed_dim": 1, "width": 8, "head_width": 8, "layers": 1, "patch_size": stride });
    let antialias: bool = config.or("antialias", true)?;
    let settings = json!({ "vision": vision, "antialias": antialias, "output_tokens": true });
    let options = (Kind::Float, tch::Device::Cpu);
    let mark = Tensor::from_slice(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, K, -K]);
    let probe = Loaded::made("open-clip-image", settings, |name, shape| {
        if name.ends_with("conv1.weight") {
            let pick =
                Tensor::cat(&[Tensor::eye(3, options), -Tensor::eye(3, options), Tensor::zeros([2, 3], options)], 0);
            let weight = Tensor::zeros(shape, options);
            weight.select(3, 0).select(2, 0).copy_(&pick);
            return weight;
        }
        match name.rsplit('.').next() {
            Some("positional_embedding") => mark.expand(shape, false).contiguous(),
            Some("weight") if name.contains(".ln_") => Tensor::ones(shape, options),
            _ => Tensor::zeros(shape, options),
        }
    })?;
    let images = if image.dim() == 5 { image.flatten(0, 1) } else { image.shallow_clone() };
    let tokens = probe.embed(&[("image", &images)], 1, Given::none())?.swap_remove(0).tensor; // [n, grid*grid, 8]
    let scaled = tokens.narrow(2, 0, 3) / tokens.narrow(2, 6, 1) * f64::from(K);
    let pixels = scaled.transpose(1, 2).unflatten(2, [grid, grid]); // [n, grid*grid, c] -> [n, c, grid, grid]
    Ok(Outputs::from([("out.preprocessed".to_owned(), pixels)]))
}

/// `embedder.frozen_openclip_image_prediction`.
pub fn open_clip_image_prediction(case: &Case, config: &Options) -> Result<Outputs, String> {
    let inner = config.table("open_clip_embedding_config")?;
    if inner.kind()? != "frozen_openclip_image" {
        return Err("only the image tower of open_clip is known inside".to_owned());
    }
    let mut settings = image_settings(&inner)?;
    let rate: f64 = inner.or("ucg_rate", 0.0)?;
    for key in ["unsqueeze_dim", "repeat_to_max_len", "output_tokens"] {
        if inner.or(key, false)? {
            return Err(format!("`{key}` gives what upstream cannot put into frames"));
        }
    }
    if inner.or("num_image_crops", 0)? != 0 {
        return Err("crops give what upstream cannot put into frames".to_owned());
    }
    let _: Option<i64> = inner.optional("max_length")?;
    inner.finish()?;
    settings["n_cond_frames"] = json!(config.get::<i64>("n_cond_frames")?);
    settings["n_copies"] = json!(config.get::<i64>("n_copies")?);
    let unread = unread_of_image("open_clip.");
    let unread: Vec<&str> = unread.iter().map(String::as_str).collect();
    let loaded = Loaded::new(case, "open-clip-image-prediction", settings, &unread)?;
    let rows = case.input("vid")?.size()[0];
    name(&["out.emb"], loaded.forward(case, &["vid"], 1, masks(case, rate, [rows, rows]))?)
}

/// Keys of a text tower that upstream keeps and does not read: a block behind the penultimate one among them.
fn unread_of_text(settings: &Value, with_last: bool, with_projection: bool) -> Vec<String> {
    let mut keys = vec!["model.logit_scale".to_owned()];
    if !with_projection {
        keys.push("model.text_projection".to_owned());
    }
    if !with_last {
        let last = settings["text"]["layers"].as_i64().unwrap_or_default() - 1;
        keys.push(format!("model.transformer.resblocks.{last}."));
    }
    keys
}

/// `embedder.frozen_openclip_text`.
pub fn open_clip_text(case: &Case, config: &Options) -> Result<Outputs, String> {
    skip_loading(config)?;
    let _: Option<i64> = config.optional("max_length")?;
    let layer: String = config.or("layer", "last".to_owned())?;
    let settings = json!({ "text": text(&config.table("arch")?)?, "layer": layer });
    let unread = unread_of_text(&settings, layer == "last", false);
    let unread: Vec<&str> = unread.iter().map(String::as_str).collect();
    let loaded = Loaded::new(case, "open-clip-text", settings, &unread)?;
    name(&["out.emb"], loaded.forward(case, &["tokens"], 1, Given::none())?)
}

/// `embedder.frozen_openclip_text2`.
pub fn open_clip_text2(case: &Case, config: &Options) -> Result<Outputs, String> {
    skip_loading(config)?;
    let _: Option<i64> = config.optional("max_length")?;
    let layer: String = config.or("layer", "last".to_owned())?;
    let [pooled, legacy] = [config.or("always_return_pooled", false)?, config.or("legacy", true)?];
    let settings = json!({
        "text": text(&config.table("arch")?)?, "layer": layer, "always_return_pooled": pooled, "legacy": legacy,
    });
    let unread = unread_of_text(&settings, pooled || layer == "last", pooled);
    let mut unread: Vec<&str> = unread.iter().map(String::as_str).collect();
    if !legacy && !pooled {
        // Upstream computes a pooled text and throws it away.
        unread.push("model.ln_final.");
    }
    let loaded = Loaded::new(case, "open-clip-text2", settings, &unread)?;
    let names: &[&str] = if pooled { &["out.emb", "out.pooled"] } else { &["out.emb"] };
    name(names, loaded.forward(case, &["tokens"], 1, Given::none())?)
}

/// `embedder.frozen_clip`.
pub fn clip_text(case: &Case, config: &Options) -> Result<Outputs, String> {
    let version = config.table("version")?;
    for key in ["device", "freeze"] {
        let _: Option<Value> = config.optional(key)?;
    }
    // What the tokenizer and the projection behind the model use.
    for key in ["bos_token_id", "pad_token_id", "projection_dim", "attention_dropout", "initializer_range"] {
        let _: Option<Value> = version.optional(key)?;
    }
    let act = match version.or("hidden_act", "quick_gelu".to_owned())?.as_str() {
        "quick_gelu" => "quick-gelu",
        "gelu" => "gelu",
        "gelu_new" | "gelu_pytorch_tanh" => "gelu-tanh",
        "relu" => "relu",
        "silu" | "swish" => "silu",
        other => return Err(format!("no activation is called `{other}`")),
    };
    let layers: i64 = version.or("num_hidden_layers", 12)?;
    let text = json!({
        "vocab_size": version.or("vocab_size", 49408)?, "width": version.or("hidden_size", 512)?,
        "hidden": version.or("intermediate_size", 2048)?, "layers": layers, "act": act,
        "heads": version.or("num_attention_heads", 8)?, "eps": version.or("layer_norm_eps", 1e-5)?,
        "context_length": version.or("max_position_embeddings", 77)?, "eos_token_id": version.or("eos_token_id", 49407)?,
    });
    version.finish()?;
    let layer: String = config.or("layer", "last".to_owned())?;
    let idx: Option<i64> = config.optional("layer_idx")?;
    let pooled: bool = config.or("always_return_pooled", false)?;
    let settings = json!({
        "text": text, "layer": layer, "layer_idx": idx, "always_return_pooled": pooled,
        "max_length": config.or("max_length", 77)?,
    });
    let mut unread = Vec::new();
    if layer == "hidden" && !pooled {
        let idx = idx.ok_or("`layer_idx` is missing")?;
        let first = if idx < 0 { layers + 1 + idx } else { idx };
        unread.push("transformer.text_model.final_layer_norm.".to_owned());
        unread.extend((first..layers).map(|i| format!("transformer.text_model.encoder.layers.{i}.")));
    }
    let unread: Vec<&str> = unread.iter().map(String::as_str).collect();
    let loaded = Loaded::new(case, "clip-text", settings, &unread)?;
    let names: &[&str] = if pooled { &["out.emb", "out.pooled"] } else { &["out.emb"] };
    name(names, loaded.forward(case, &["tokens"], 1, Given::none())?)
}

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

/// `embedder.video_prediction_with_encoder`.
pub fn video_prediction(case: &Case, config: &Options) -> Result<Outputs, String> {
    let n_cond_frames: i64 = config.get("n_cond_frames")?;
    let _: bool = config.or("disable_encoder_autocast", false)?;
    let mut settings = json!({
        "n_cond_frames": n_cond_frames, "n_copies": config.get::<i64>("n_copies")?,
        "scale_factor": config.or("scale_factor", 1.0)?,
        "en_and_decode_n_samples_a_time": config.optional::<i64>("en_and_decode_n_samples_a_time")?,
    });
    encoder_settings(&config.table("encoder_config")?, config.or("is_ae", false)?, &mut settings)?;
    let mut given = Given::draws([]);
    if let Some(sampler) = config.maybe_table("sigma_sampler_config")? {
        match sampler.kind()?.as_str() {
            "edm" => {
                settings["noise_p_mean"] = json!(sampler.or("p_mean", -1.2)?);
                settings["noise_p_std"] = json!(sampler.or("p_std", 1.2)?);
                given = given.and("sigma", case.input("rand")?);
            }
            "discrete" => {
                let table = table_of(&sampler)?;
                given = given.and("sigma", normals_of(&case.input("rand_idx")?, table.len() as i64));
                settings["noise_sigmas"] = json!(table);
            }
            "zero" => {
                // Upstream draws and throws away.
                let _ = case.optional("rand");
                settings["noise_sigma"] = json!(1e-5);
            }
            other => return Err(format!("no sigma sampling is called `{other}`")),
        }
        sampler.finish()?;
        given = given.and("noise", case.input("noise")?);
    }
    let mut names = vec!["out.emb"];
    if let Some(cond) = config.maybe_table("sigma_cond_config")? {
        if cond.kind()? != "concat_timestep_nd" {
            return Err("a noise level is embedded by sinusoids only".to_owned());
        }
        settings["sigma_dim"] = json!(cond.get::<i64>("outdim")?);
        cond.finish()?;
        names.push("out.sigma_cond");
    }
    if let Some(noise) = posterior(case) {
        given = given.and("posterior", noise);
    }
    let unread = ["encoder.decoder.", "encoder.post_quant_conv."];
    let loaded = Loaded::new(case, "video-prediction-with-encoder", settings, &unread)?;
    let scenes = case.input("vid")?.size()[0] / n_cond_frames;
    name(&names, loaded.forward(case, &["vid"], scenes, given)?)
}

/// The noise of the posterior: what was drawn after the frames' own, in chunks.
fn posterior(case: &Case) -> Option<Tensor> {
    let mut chunks = case.numbered("noise");
    chunks.extend(case.optional("posterior_noise"));
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

/// `embedder.low_scale_encoder`. Decoding is not the plugin's affair, and for the identity it is a division.
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
    let inner = config.table("model_config")?;
    let is_identity = inner.kind()? == "identity";
    encoder_settings(&inner, true, &mut settings)?;
    let tables = ["betas", "alphas_cumprod", "sqrt_", "log_one_minus_alphas_cumprod"];
    let unread = [&tables[..], &["model.decoder.", "model.post_quant_conv."]].concat();
    let loaded = Loaded::new(case, "low-scale-encoder", settings, &unread)?;
    let levels = case.input("noise_level")?;
    let mut given = Given::draws([("noise_level", normals_of(&levels, max_noise_level))]);
    given = given.and("noise", case.input("noise")?);
    if let Some(noise) = posterior(case) {
        given = given.and("posterior", noise);
    }
    let outputs = loaded.forward(case, &["x"], levels.size()[0], given)?;
    let mut outputs = name(&["out.z", "out.noise_level"], outputs)?;
    if let Some(level) = outputs.get_mut("out.noise_level") {
        *level = level.squeeze_dim(1).to_kind(Kind::Int64);
    }
    if case.call.or("decode", false)? {
        if !is_identity {
            return Err("an embedder's plugin does not decode".to_owned());
        }
        let decoded = &outputs["out.z"] / scale_factor;
        outputs.insert("out.decoded".to_owned(), decoded);
    }
    Ok(outputs)
}
