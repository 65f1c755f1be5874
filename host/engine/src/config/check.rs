//! Settings that are right each by itself but do not fit each other. Needs no plugin and no data.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::PathPattern;
use super::suggest::{closest, did_you_mean};
use super::{AutoencoderLossConfig, AutoencoderSection, FirstStageConfig, LossConfig, Moments, OptimizerConfig};
use super::{ClipConfig, LoraConfig, MeshOrbitConfig, VideoDirConfig, VideoListConfig};
use super::{
    DataConfig, Distance, EmbedderConfig, ModelConfig, NetworkConfig, PluginsConfig, SamplingConfig, SourceConfig,
};

mod autoencoder;

/// Entries of a batch that a network may take as they are.
const EXTRA_INPUTS: [&str; 3] = ["num_video_frames", "image_only_indicator", "time_context"];

/// Channels of the images of every source.
const IMAGE_CHANNELS: u32 = 3;

/// A fault, and the JSON pointer of the setting to blame.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub(super) pointer: String,
    pub(super) message: String,
    pub(super) help: String,
}

fn finding(pointer: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding { pointer: pointer.into(), message: message.into(), help: help.into() }
}

/// A section that can be read in spite of faults elsewhere, so that what does not fit is found in the same go.
fn section<T: DeserializeOwned>(config: &Value, name: &str) -> Option<T> {
    serde_json::from_value(config.get(name)?.clone()).ok()
}

/// Everything that does not fit in the config of a diffusion model, within sections and between them.
pub(super) fn of_diffusion(config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    common(config, &mut found);
    let data: Option<DataConfig> = section(config, "data");
    let model: Option<ModelConfig> = section(config, "model");
    if let Some(model) = &model {
        embedders(&model.embedders, &mut found);
        network(model, &mut found);
        patterns("/model/trainable", model.trainable.as_deref(), &mut found);
        if let Some(lora) = &model.lora {
            adapters(lora, &mut found);
        }
        first_stage("/model/first_stage", &model.first_stage, &mut found);
    }
    if let (Some(data), Some(model)) = (&data, &model) {
        frames(&data.source, model, &mut found);
        classes(&data.source, model, &mut found);
        pixels(&data.source, model, &mut found);
    }
    if let (Some(model), Some(loss)) = (&model, section::<LossConfig>(config, "loss")) {
        perceptual(model, &loss, &mut found);
    }
    if let (Some(model), Some(sampling)) = (&model, section::<SamplingConfig>(config, "sampling")) {
        force_uc_zero(model, &sampling, &mut found);
    }
    found
}

/// Everything that does not fit in the config of an autoencoder, within sections and between them.
pub(super) fn of_autoencoder(config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    common(config, &mut found);
    let data: Option<DataConfig> = section(config, "data");
    let trained: Option<AutoencoderSection> = section(config, "autoencoder");
    let loss: Option<AutoencoderLossConfig> = section(config, "loss");
    if let Some(trained) = &trained {
        autoencoder::network(trained, &mut found);
    }
    if let Some(adversary) = loss.as_ref().and_then(|loss| loss.discriminator.as_ref()) {
        optimizer("/loss/discriminator/optimizer", &adversary.optimizer, &mut found);
    }
    if let (Some(trained), Some(loss)) = (&trained, &loss) {
        autoencoder::terms(trained, loss, &mut found);
    }
    if let (Some(data), Some(trained)) = (&data, &trained) {
        autoencoder::pixels(&sides(&data.source), trained, loss.as_ref(), &mut found);
    }
    found
}

/// What the configs of all kinds of run have.
fn common(config: &Value, found: &mut Vec<Finding>) {
    if let Some(plugins) = section(config, "plugins") {
        versions(&plugins, found);
    }
    if let Some(data) = section::<DataConfig>(config, "data") {
        source(&data.source, found);
    }
    if let Some(settings) = section(config, "optimizer") {
        optimizer("/optimizer", &settings, found);
    }
}

fn patterns(at: &str, patterns: Option<&[String]>, found: &mut Vec<Finding>) {
    for (idx, _) in patterns.iter().copied().flatten().enumerate().filter(|(_, text)| PathPattern::new(text).is_none())
    {
        found.push(finding(format!("{at}/{idx}"), "is empty", "write a pattern of keys, as \"*.attn1.*\""));
    }
}

fn adapters(lora: &LoraConfig, found: &mut Vec<Finding>) {
    patterns("/model/lora/targets", Some(&lora.targets), found);
    if lora.targets.is_empty() {
        let help = "name layers, as \"*.attn1.*\" or \"temporal\"; or take it out for those of all attention";
        found.push(finding("/model/lora/targets", "names no layer", help));
    }
}

fn versions(plugins: &PluginsConfig, found: &mut Vec<Finding>) {
    for (id, version) in &plugins.require {
        if let Err(error) = semver::VersionReq::parse(version) {
            let pointer = format!("/plugins/require/{}", id.replace('~', "~0").replace('/', "~1"));
            let message = format!("{version:?} is no version requirement: {error}");
            found.push(finding(pointer, message, "write it as Cargo does: \"^1.2\", \"=1.2.3\", \">=1, <3\""));
        }
    }
}

fn source(source: &SourceConfig, found: &mut Vec<Finding>) {
    match source {
        SourceConfig::Emoji(emoji) => {
            for (idx, class) in emoji.classes.iter().enumerate() {
                if let Some(first) = emoji.classes[..idx].iter().position(|other| other.name == class.name) {
                    let message = format!("class {first} is named {:?}, too", class.name);
                    found.push(finding(
                        format!("/data/source/classes/{idx}/name"),
                        message,
                        "give each class its own name",
                    ));
                }
            }
        }
        SourceConfig::MeshOrbit(orbit) => {
            let [low, high] = orbit.elevation_deg;
            if low > high {
                let message = format!("the range starts at {low}, above its end {high}");
                found.push(finding("/data/source/elevation_deg", message, format!("write [{high:?}, {low:?}]")));
            }
            orbit_ranges(orbit, found);
        }
        SourceConfig::FramesDir(_) => {}
        SourceConfig::Webdataset(shards) => {
            if let Some(clip) = &shards.clip {
                clip_ranges(clip, found);
            }
            if shards.resize && shards.size.is_none() {
                let help = "add `size`, rows and columns; or take `resize` out";
                found.push(finding("/data/source/resize", "there is no `size` to scale pictures to", help));
            }
            if !shards.sizes.is_empty() && !shards.resize {
                let help = "add `resize = true`; or take `sizes` out";
                found.push(finding("/data/source/sizes", "pictures are not scaled to them", help));
            }
        }
        SourceConfig::VideoDir(VideoDirConfig { clip, .. }) | SourceConfig::VideoList(VideoListConfig { clip, .. }) => {
            clip_ranges(clip, found);
        }
        SourceConfig::MultiviewDir(views) => strides("/data/source/stride", views.stride, found),
    }
}

fn orbit_ranges(orbit: &MeshOrbitConfig, found: &mut Vec<Finding>) {
    strides("/data/source/time_stride", orbit.time_stride, found);
    parts("/data/source/within", orbit.within, found);
    let [from, to] = orbit.turn_deg;
    if from > to {
        let message = format!("the range starts at {from}, above its end {to}");
        found.push(finding("/data/source/turn_deg", message, format!("write [{to:?}, {from:?}]")));
    }
    let given = orbit.azimuths_deg.len();
    if given != 0 && given != orbit.num_views as usize {
        let message = format!("has {given} angles for {} views", orbit.num_views);
        found.push(finding("/data/source/azimuths_deg", message, "give each view its angle, or none at all"));
    }
}

fn strides(pointer: &str, [least, most]: [u32; 2], found: &mut Vec<Finding>) {
    if least > most {
        let message = format!("the range starts at {least}, above its end {most}");
        found.push(finding(pointer, message, format!("write [{most}, {least}]")));
    }
}

fn parts(pointer: &str, [start, end]: [f64; 2], found: &mut Vec<Finding>) {
    if start >= end {
        let help = "give where the part starts and where it ends, like [0.0, 0.8]";
        found.push(finding(pointer, format!("there is no part from {start} to {end}"), help));
    }
}

fn clip_ranges(clip: &ClipConfig, found: &mut Vec<Finding>) {
    strides("/data/source/clip/stride", clip.stride, found);
    parts("/data/source/clip/within", clip.within, found);
}

fn embedders(embedders: &[EmbedderConfig], found: &mut Vec<Finding>) {
    let mut groups: BTreeMap<&str, f64> = BTreeMap::new();
    for (idx, embedder) in embedders.iter().enumerate() {
        let at = |key: &str| format!("/model/embedders/{idx}/{key}");
        match (&embedder.input_key, &embedder.input_keys) {
            (Some(_), Some(_)) => {
                let help = "take one of them out; `input_keys` is for several batch entries";
                found.push(finding(at("input_keys"), "`input_key` is given, too", help));
            }
            (None, None) => {
                // What is mistyped counts as a setting of the plugin.
                let typo = closest("input_key", embedder.params.keys().map(String::as_str));
                let help = match typo {
                    Some(typo) => format!("did you mean `input_key` by `{typo}`?"),
                    None => "add `input_key = ..`, the batch entry to embed; or `input_keys` for several".to_owned(),
                };
                found.push(finding(at(typo.unwrap_or("input_key")), "`input_key` is missing", help));
            }
            (None, Some(keys)) if keys.is_empty() => {
                found.push(finding(at("input_keys"), "names no batch entry", "name those that the embedder takes"));
            }
            _ => {}
        }
        if embedder.legacy_ucg_value.is_some() && embedder.ucg_rate == 0.0 {
            let help = "add `ucg_rate`, the probability of a drop; or take `legacy_ucg_value` out";
            found.push(finding(at("legacy_ucg_value"), "is never used, because nothing is dropped", help));
        }
        for (key, text) in [("weights_prefix", &embedder.weights_prefix), ("weights_at", &embedder.weights_at)] {
            if embedder.weights.is_none() && !text.is_empty() {
                found.push(finding(at(key), "is about a file, but no `weights` are given", "add `weights`, the file"));
            }
        }
        if let Some(group) = &embedder.ucg_group {
            let rate = *groups.entry(group).or_insert(embedder.ucg_rate);
            if rate != embedder.ucg_rate {
                let message = format!("is {}, but {rate} for others of group {group:?}", embedder.ucg_rate);
                found.push(finding(at("ucg_rate"), message, "one draw drops the whole group: give all the same rate"));
            }
        }
    }
}

fn network(model: &ModelConfig, found: &mut Vec<Finding>) {
    for (idx, key) in model.extra_inputs.iter().enumerate() {
        if !EXTRA_INPUTS.contains(&key.as_str()) {
            let message = format!("{key:?} is no argument of a network");
            found.push(finding(format!("/model/extra_inputs/{idx}"), message, did_you_mean(key, EXTRA_INPUTS)));
        }
    }
    let needs_frames = match &model.network {
        NetworkConfig::Unet(_) => false,
        NetworkConfig::VideoUnet(_) => true,
        NetworkConfig::SpatialUnetWithTime(unet) => unet.use_temporal_resblock,
    };
    for problem in model.network.check() {
        found.push(finding(format!("/model/network/{}", problem.key), problem.message, problem.help));
    }
    if needs_frames && !model.extra_inputs.iter().any(|key| key == EXTRA_INPUTS[0]) {
        let message = "a video network needs the number of frames";
        found.push(finding("/model/extra_inputs", message, "add \"num_video_frames\" to it"));
    }
}

fn optimizer(pointer: &str, optimizer: &OptimizerConfig, found: &mut Vec<Finding>) {
    for (idx, group) in optimizer.groups().iter().enumerate() {
        let at = format!("{pointer}/groups/{idx}");
        patterns(&format!("{at}/parameters"), Some(&group.parameters), found);
        if group.parameters.is_empty() {
            found.push(finding(format!("{at}/parameters"), "names no parameter", "write patterns, as \"*.bias\""));
        }
        if group.learning_rate_factor == 1.0 && group.weight_decay.is_none() {
            let help = "add `learning_rate_factor` or `weight_decay`, or take the group out";
            found.push(finding(at, "is moved as all others are", help));
        }
    }
    if optimizer.num_moments() == 0 && optimizer.moments() != Moments::F32 {
        let help = "set `momentum` above 0, or take `moments` out";
        found.push(finding(format!("{pointer}/moments"), "there are none without momentum", help));
    }
    match optimizer {
        OptimizerConfig::Adamw { betas, .. } | OptimizerConfig::Adam { betas, .. } => {
            for (idx, beta) in betas.iter().enumerate().filter(|(_, beta)| !(0.0..1.0).contains(*beta)) {
                let message = format!("{beta} is no decay rate");
                found.push(finding(format!("{pointer}/betas/{idx}"), message, "give a number from 0 to below 1"));
            }
        }
        OptimizerConfig::Sgd { nesterov: true, momentum, dampening, .. } => {
            if *momentum == 0.0 {
                let help = "set `momentum` above 0, or take `nesterov` out";
                found.push(finding(format!("{pointer}/nesterov"), "needs momentum", help));
            }
            if *dampening != 0.0 {
                let help = "take `dampening` or `nesterov` out";
                found.push(finding(format!("{pointer}/dampening"), "does not go with `nesterov`", help));
            }
        }
        OptimizerConfig::Sgd { .. } => {}
    }
}

/// Copies of a condition over the frames of a scene are as many as the frames.
fn frames(source: &SourceConfig, model: &ModelConfig, found: &mut Vec<Finding>) {
    let num_frames = match source {
        SourceConfig::Emoji(_) => Some(1),
        // With several views at several times, what is repeated over what is the embedder's own choice.
        SourceConfig::MeshOrbit(orbit) => {
            (orbit.num_views == 1 || orbit.num_times == 1).then_some(orbit.num_views * orbit.num_times)
        }
        SourceConfig::FramesDir(frames) => Some(frames.num_frames),
        SourceConfig::Webdataset(shards) => shards.clip.as_ref().map(|clip| clip.num_frames),
        SourceConfig::VideoDir(videos) => Some(videos.clip.num_frames),
        SourceConfig::VideoList(videos) => Some(videos.clip.num_frames),
        SourceConfig::MultiviewDir(views) => {
            (views.num_views == 1 || views.num_frames == 1).then_some(views.num_views * views.num_frames)
        }
    };
    for (idx, embedder) in model.embedders.iter().enumerate() {
        let n_copies = embedder.params.get("n_copies").and_then(serde_json::Value::as_u64);
        if let (Some(n_copies), Some(num_frames)) = (n_copies, num_frames)
            && n_copies != u64::from(num_frames)
        {
            let message = format!("is {n_copies}, but a scene of the data has {num_frames} frames");
            found.push(finding(format!("/model/embedders/{idx}/n_copies"), message, format!("write {num_frames}")));
        }
    }
}

/// An embedder of the emoji's classes knows as many as there are.
fn classes(source: &SourceConfig, model: &ModelConfig, found: &mut Vec<Finding>) {
    let SourceConfig::Emoji(emoji) = source else { return };
    let num_classes = emoji.classes.len() as u64;
    for (idx, embedder) in model.embedders.iter().enumerate() {
        let known = embedder.params.get("n_classes").and_then(serde_json::Value::as_u64);
        if let (Some("class"), Some(known)) = (embedder.input_key.as_deref(), known)
            && known != num_classes
        {
            let message = format!("is {known}, but the data has {num_classes} classes");
            found.push(finding(format!("/model/embedders/{idx}/n_classes"), message, format!("write {num_classes}")));
        }
    }
}

fn first_stage(at: &str, settings: &FirstStageConfig, found: &mut Vec<Finding>) {
    let Some(autoencoder) = settings.autoencoder() else { return };
    for problem in autoencoder.check() {
        let pointer = format!("{at}/{}", problem.key.replace('.', "/"));
        found.push(finding(pointer, problem.message, problem.help));
    }
    if let Some(channels) = autoencoder.encoded_pixels().filter(|channels| *channels != IMAGE_CHANNELS) {
        let message = format!("encodes {channels} channels, but images have {IMAGE_CHANNELS}");
        found.push(finding(at, message, format!("write in_channels = {IMAGE_CHANNELS}")));
    }
}

/// Rows and columns of the source's images; one number where they are square, none where they are as they come.
fn sides(source: &SourceConfig) -> Vec<u32> {
    let all = |size: &[u32], sizes: &[[u32; 2]]| [size, sizes.as_flattened()].concat();
    match source {
        SourceConfig::Emoji(emoji) => vec![emoji.size],
        SourceConfig::MeshOrbit(orbit) => vec![orbit.size],
        SourceConfig::FramesDir(frames) => frames.size.to_vec(),
        SourceConfig::Webdataset(shards) => all(shards.size.as_ref().map_or(&[], |size| &size[..]), &shards.sizes),
        SourceConfig::VideoDir(videos) => all(&videos.size, &videos.sizes),
        SourceConfig::VideoList(videos) => all(&videos.size, &videos.sizes),
        SourceConfig::MultiviewDir(views) => vec![views.size],
    }
}

/// The perceptual distance has its weights, and colours to compare.
fn perceptual(model: &ModelConfig, loss: &LossConfig, found: &mut Vec<Finding>) {
    match (&loss.distance, &loss.lpips) {
        (Distance::Lpips, None) => {
            let help = "add lpips = { weights = \"..\" }, a safetensors file with VGG16 and the distance's own weights";
            found.push(finding("/loss/lpips", "is missing, and the distance is \"lpips\"", help));
        }
        (Distance::L1 | Distance::L2, Some(_)) => {
            found.push(finding("/loss/lpips", "is never used", "write distance = \"lpips\", or take it out"));
        }
        _ => {}
    }
    if loss.distance == Distance::Lpips && model.first_stage.autoencoder().is_some() {
        let message = "compares colours, but the model works on an autoencoder's latents";
        found.push(finding("/loss/distance", message, "use \"l2\", or the first stage of kind \"identity\""));
    }
}

/// The images, or their latents, fit the network.
fn pixels(source: &SourceConfig, model: &ModelConfig, found: &mut Vec<Finding>) {
    let autoencoder = model.first_stage.autoencoder();
    let factor = autoencoder.as_ref().map_or(1, |autoencoder| autoencoder.downsampling());
    let divisor = model.network.min_divisor();
    let (in_channels, out_channels) = model.network.channels();
    let divisor = divisor * factor;
    if let Some(side) = sides(source).iter().find(|side| i64::from(**side) % divisor != 0) {
        let who = if factor == 1 { "the network halves its input" } else { "first stage and network halve an image" };
        let message = format!("{who} until {divisor} pixels are one, and {side} is no multiple");
        let (low, high) = (i64::from(*side) / divisor * divisor, (i64::from(*side) / divisor + 1) * divisor);
        let help = match low {
            0 => format!("use {high}, or take a level out of `channel_mult`"),
            _ => format!("use {low} or {high}, or take a level out of `channel_mult`"),
        };
        found.push(finding("/data/source/size", message, help));
    }
    let (channels, what, why) = match &autoencoder {
        None => (IMAGE_CHANNELS, "images", "the identity first stage makes pixels the latents"),
        Some(autoencoder) => (autoencoder.decoded_channels() as u32, "latents", "the first stage decodes so many"),
    };
    if out_channels != channels {
        let message = format!("is {out_channels}, but {what} have {channels} channels");
        found.push(finding("/model/network/out_channels", message, format!("write {channels}: {why}")));
    } else if in_channels < out_channels {
        let message = format!("is {in_channels}, but {what} have {channels} channels");
        let help = format!("write {channels} plus the channels of the conditions that are concatenated");
        found.push(finding("/model/network/in_channels", message, help));
    }
}

fn force_uc_zero(model: &ModelConfig, sampling: &SamplingConfig, found: &mut Vec<Finding>) {
    let inputs = |embedder: &'_ EmbedderConfig| {
        let keys = embedder.input_keys.iter().flatten().chain(&embedder.input_key);
        keys.map(String::clone).collect::<Vec<_>>()
    };
    let inputs: Vec<String> = model.embedders.iter().flat_map(inputs).collect();
    for (idx, key) in sampling.force_uc_zero.iter().flatten().enumerate() {
        if !inputs.contains(key) {
            let message = format!("no embedder takes {key:?}");
            let help = did_you_mean(key, inputs.iter().map(String::as_str));
            found.push(finding(format!("/sampling/force_uc_zero/{idx}"), message, help));
        }
    }
}
