//! Upstream's options of CLIP's towers as settings of ours.

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::embedder::{Given, Loaded, name, normals_of_mask};
use super::model::Entry;
use super::recorded::DrawRule;
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
        // Crops: the first tokens of each row.
        (None, Some(out)) if out.dim() == 3 && rows % out.size()[0] == 0 => {
            out.narrow(1, 0, rows / out.size()[0]).abs().amax([2], false).gt(0.0)
        }
        (None, _) => Tensor::ones([rows], (Kind::Float, tch::Device::Cpu)),
    };
    let has_pooled = case.want("out.pooled").is_some_and(|out| out.size()[0] == pooled);
    let pooled_out = if has_pooled { "out.pooled" } else { "out.emb" };
    let draws = Given::draws([("drop", normals_of_mask(&next(pooled, pooled_out)))]);
    draws.and("drop_tokens", normals_of_mask(&next(tokens, "out.tokens")))
}

/// Upstream's image tower.
pub fn open_clip_image_entry(config: &Options) -> Result<Entry, String> {
    let mut settings = image_settings(config)?;
    let crops: i64 = config.or("num_image_crops", 0)?;
    let repeated = config.or("repeat_to_max_len", false)? && crops == 0;
    let table = settings.as_object_mut().ok_or("no table")?;
    table.extend(Map::from_iter([
        ("num_image_crops".to_owned(), json!(crops)),
        ("output_tokens".to_owned(), json!(config.or("output_tokens", false)?)),
        ("repeat_to_max_len".to_owned(), json!(repeated)),
        ("unsqueeze_dim".to_owned(), json!(config.or("unsqueeze_dim", false)?)),
        ("max_length".to_owned(), json!(config.or("max_length", 77)?)),
    ]));
    let (plugin, unread, draws) = ("open-clip-image", unread_of_image(""), Some(DrawRule::BY_ROW));
    Ok(Entry { plugin, settings, unread, draws })
}

/// `embedder.frozen_openclip_image`.
pub fn open_clip_image(case: &Case, config: &Options) -> Result<Outputs, String> {
    let entry = open_clip_image_entry(config)?;
    let flag = |key: &str| entry.settings[key] == json!(true);
    let (tokens, repeated) = (flag("output_tokens"), flag("repeat_to_max_len"));
    let crops: i64 = config.or("num_image_crops", 0)?;
    let rate: f64 = config.or("ucg_rate", 0.0)?;
    let loaded = Loaded::entry(case, entry)?;
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

/// Upstream's image tower over frames.
pub fn open_clip_image_prediction_entry(config: &Options) -> Result<Entry, String> {
    let inner = config.table("open_clip_embedding_config")?;
    if inner.kind()? != "frozen_openclip_image" {
        return Err("only the image tower of open_clip is known inside".to_owned());
    }
    let mut settings = image_settings(&inner)?;
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
    let (plugin, unread) = ("open-clip-image-prediction", unread_of_image("open_clip."));
    let draws = Some(DrawRule { rows_per_scene: config.get("n_cond_frames")?, ..DrawRule::BY_ROW });
    Ok(Entry { plugin, settings, unread, draws })
}

/// `embedder.frozen_openclip_image_prediction`.
pub fn open_clip_image_prediction(case: &Case, config: &Options) -> Result<Outputs, String> {
    let entry = open_clip_image_prediction_entry(config)?;
    let rate = entry.settings["drop_rate"].as_f64().unwrap_or_default();
    let loaded = Loaded::entry(case, entry)?;
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

/// Upstream's text tower.
pub fn open_clip_text_entry(config: &Options) -> Result<Entry, String> {
    skip_loading(config)?;
    let _: Option<i64> = config.optional("max_length")?;
    let layer: String = config.or("layer", "last".to_owned())?;
    let settings = json!({ "text": text(&config.table("arch")?)?, "layer": layer });
    let unread = unread_of_text(&settings, layer == "last", false);
    Ok(Entry { plugin: "open-clip-text", settings, unread, draws: None })
}

/// `embedder.frozen_openclip_text`.
pub fn open_clip_text(case: &Case, config: &Options) -> Result<Outputs, String> {
    let loaded = Loaded::entry(case, open_clip_text_entry(config)?)?;
    name(&["out.emb"], loaded.forward(case, &["tokens"], 1, Given::none())?)
}

/// Upstream's second text tower.
pub fn open_clip_text2_entry(config: &Options) -> Result<Entry, String> {
    skip_loading(config)?;
    let _: Option<i64> = config.optional("max_length")?;
    let layer: String = config.or("layer", "last".to_owned())?;
    let [pooled, legacy] = [config.or("always_return_pooled", false)?, config.or("legacy", true)?];
    let settings = json!({
        "text": text(&config.table("arch")?)?, "layer": layer, "always_return_pooled": pooled, "legacy": legacy,
    });
    let mut unread = unread_of_text(&settings, pooled || layer == "last", pooled);
    if !legacy && !pooled {
        // Upstream computes a pooled text and throws it away.
        unread.push("model.ln_final.".to_owned());
    }
    Ok(Entry { plugin: "open-clip-text2", settings, unread, draws: None })
}

/// `embedder.frozen_openclip_text2` and `embedder.frozen_clip`: a text, and its pooled form if that is asked for.
pub fn pooled_text(case: &Case, entry: Entry) -> Result<Outputs, String> {
    let pooled = entry.settings["always_return_pooled"] == json!(true);
    let loaded = Loaded::entry(case, entry)?;
    let names: &[&str] = if pooled { &["out.emb", "out.pooled"] } else { &["out.emb"] };
    name(names, loaded.forward(case, &["tokens"], 1, Given::none())?)
}

/// Upstream's CLIP of transformers.
pub fn clip_text_entry(config: &Options) -> Result<Entry, String> {
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
    Ok(Entry { plugin: "clip-text", settings, unread, draws: None })
}
