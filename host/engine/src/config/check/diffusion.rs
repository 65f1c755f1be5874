//! Settings of a diffusion model, its data and its loss that do not fit each other.

use std::collections::BTreeMap;

use super::source::{self, sides};
use super::{Finding, TRAINING, finding};
use crate::config::suggest::{closest, did_you_mean};
use crate::config::{
    ClipConfig, Distance, EmbedderConfig, LossConfig, ModelConfig, NetworkConfig, SamplingConfig, SourceConfig,
};

/// Entries of a batch that a network may take as they are.
const EXTRA_INPUTS: [&str; 3] = ["num_video_frames", "image_only_indicator", "time_context"];

/// Conditions that only some networks have.
const ADDITIONAL_CONDITIONS: [&str; 2] = ["cond_view", "cond_motion"];

pub(super) fn embedders(embedders: &[EmbedderConfig], found: &mut Vec<Finding>) {
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

pub(super) fn network(model: &ModelConfig, found: &mut Vec<Finding>) {
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
    if let NetworkConfig::VideoUnet(unet) = &model.network
        && unet.time_context_dim.is_some()
        && !model.extra_inputs.iter().any(|key| key == EXTRA_INPUTS[2])
    {
        let message = "the context over time is an entry of the batch, which the network does not get";
        found.push(finding("/model/network/time_context_dim", message, "add \"time_context\" to model.extra_inputs"));
    }
}

/// Copies of a condition over the frames of a scene are as many as the frames.
pub(super) fn frames(at: &str, source: &SourceConfig, model: &ModelConfig, found: &mut Vec<Finding>) {
    let num_frames: Option<Vec<u32>> = match source {
        SourceConfig::Emoji(_) | SourceConfig::Idx(_) | SourceConfig::Cifar10(_) => Some(vec![1]),
        // With several views at several times, what is repeated over what is the embedder's own choice.
        SourceConfig::MeshOrbit(orbit) => {
            (orbit.num_views == 1 || orbit.num_times == 1).then(|| vec![orbit.num_views * orbit.num_times])
        }
        SourceConfig::FramesDir(frames) => Some(vec![frames.num_frames]),
        SourceConfig::Webdataset(shards) => shards.clip.as_ref().map(ClipConfig::all_lengths),
        SourceConfig::VideoDir(videos) => Some(videos.clip.all_lengths()),
        SourceConfig::VideoList(videos) => Some(videos.clip.all_lengths()),
        SourceConfig::MultiviewDir(views) => {
            (views.num_views == 1 || views.num_frames == 1).then(|| vec![views.num_views * views.num_frames])
        }
    };
    for (idx, embedder) in model.embedders.iter().enumerate() {
        let n_copies = embedder.params.get("n_copies").and_then(serde_json::Value::as_u64);
        // 0 is counted in each batch.
        if let (Some(n_copies @ 1..), Some(all)) = (n_copies, &num_frames)
            && let Some(num_frames) = all.iter().find(|num_frames| u64::from(**num_frames) != n_copies)
        {
            if at == TRAINING {
                let message = format!("is {n_copies}, but a scene of the data has {num_frames} frames");
                let help = match all.len() {
                    1 => format!("write {num_frames}"),
                    _ => "write 0: as many as the scenes of a batch have".to_owned(),
                };
                found.push(finding(format!("/model/embedders/{idx}/n_copies"), message, help));
            } else {
                let message =
                    format!("a scene has {num_frames} frames, but model.embedders.{idx}.n_copies is {n_copies}");
                found.push(finding(at, message, "give it as many frames as the scenes that are trained on have"));
            }
        }
    }
}

/// An embedder of the emoji's classes knows as many as there are.
pub(super) fn classes(at: &str, source: &SourceConfig, model: &ModelConfig, found: &mut Vec<Finding>) {
    let SourceConfig::Emoji(emoji) = source else { return };
    let num_classes = emoji.classes.len() as u64;
    for (idx, embedder) in model.embedders.iter().enumerate() {
        let known = embedder.params.get("n_classes").and_then(serde_json::Value::as_u64);
        if let (Some("class"), Some(known)) = (embedder.input_key.as_deref(), known)
            && known != num_classes
        {
            if at == TRAINING {
                let message = format!("is {known}, but the data has {num_classes} classes");
                found.push(finding(
                    format!("/model/embedders/{idx}/n_classes"),
                    message,
                    format!("write {num_classes}"),
                ));
            } else {
                let message = format!("has {num_classes}, but model.embedders.{idx}.n_classes is {known}");
                found.push(finding(format!("{at}/classes"), message, "give it the classes that are trained on"));
            }
        }
    }
}

/// The perceptual distance has its weights, and colours to compare.
pub(super) fn perceptual(model: &ModelConfig, loss: &LossConfig, found: &mut Vec<Finding>) {
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

/// The images, or their latents, can be halved as often as the network does.
pub(super) fn pixels(at: &str, source: &SourceConfig, model: &ModelConfig, found: &mut Vec<Finding>) {
    let divisor = model.pixels_divisor();
    if let Some(side) = sides(source).iter().find(|side| i64::from(**side) % divisor != 0) {
        let who = match divisor == model.network.min_divisor() {
            true => "the network halves its input",
            false => "first stage and network halve an image",
        };
        let message = format!("{who} until {divisor} pixels are one, and {side} is no multiple");
        let (low, high) = (i64::from(*side) / divisor * divisor, (i64::from(*side) / divisor + 1) * divisor);
        let help = match low {
            0 => format!("use {high}, or take a level out of `channel_mult`"),
            _ => format!("use {low} or {high}, or take a level out of `channel_mult`"),
        };
        found.push(finding(format!("{at}/size"), message, help));
    }
}

/// The network takes and gives the channels of images, or of their latents.
pub(super) fn channels(source: &SourceConfig, model: &ModelConfig, found: &mut Vec<Finding>) {
    let autoencoder = model.first_stage.autoencoder();
    let (in_channels, out_channels) = model.network.channels();
    let (channels, what, why) = match &autoencoder {
        None => (source::channels(source), "images", "the identity first stage makes pixels the latents"),
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

/// What guidance doubles beyond what every network has are conditions.
pub(super) fn additional_cond_keys(sampling: &SamplingConfig, found: &mut Vec<Finding>) {
    for (idx, key) in sampling.additional_cond_keys.iter().enumerate() {
        if !ADDITIONAL_CONDITIONS.contains(&key.as_str()) {
            let message = format!("{key:?} is no such condition");
            let help = did_you_mean(key, ADDITIONAL_CONDITIONS);
            found.push(finding(format!("/sampling/additional_cond_keys/{idx}"), message, help));
        }
    }
}

pub(super) fn force_uc_zero(model: &ModelConfig, sampling: &SamplingConfig, found: &mut Vec<Finding>) {
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
