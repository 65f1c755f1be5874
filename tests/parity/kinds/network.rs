//! Whole networks, built from upstream's constructor options as a config would.

use anneal::config::NetworkConfig;
use anneal_nn::{Network, NetworkInput, Path, SpatialUNetWithTime, UNet, VideoUNet};
use serde_json::{Map, Value, json};

use crate::case::{Case, Outputs};
use crate::module::{self, Inputs};
use crate::options::Options;

/// All tensors that upstream's networks take.
const INPUTS: [&str; 9] =
    ["x", "timesteps", "context", "y", "cam", "time_context", "image_only_indicator", "cond_view", "cond_motion"];

/// Runs a case of a network.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let params = module::params();
    let network = build(&config, &params.root())?;
    module::load(&params, case.weights(""))?;
    let inputs = Inputs::new(case, &INPUTS);
    for key in ["_none_args", "time_step", "name"] {
        let _ = case.call.raw(key);
    }
    let y = network.forward(&NetworkInput {
        x: inputs.need("x")?,
        c_noise: inputs.need("timesteps")?,
        context: inputs.get("context"),
        y: inputs.get("y"),
        time_context: inputs.get("time_context"),
        num_video_frames: case.call.optional("num_video_frames")?,
        image_only_indicator: inputs.get("image_only_indicator"),
        cond_view: inputs.get("cond_view"),
        cond_motion: inputs.get("cond_motion"),
        train: false,
    });
    Ok(module::outputs(case, &y, &inputs, &params))
}

/// Upstream's network, its parameters at `path`.
pub fn build(config: &Options, path: &Path) -> Result<Box<dyn Network>, String> {
    Ok(match &settings(config)? {
        NetworkConfig::Unet(unet) => Box::new(UNet::new(unet, path)),
        NetworkConfig::VideoUnet(unet) => Box::new(VideoUNet::new(unet, path)),
        NetworkConfig::SpatialUnetWithTime(unet) => Box::new(SpatialUNetWithTime::new(unet, path)),
    })
}

/// Upstream's options as our settings, which have the same names, less what upstream takes without effect.
fn settings(config: &Options) -> Result<NetworkConfig, String> {
    let kind = config.kind()?;
    let Value::Object(mut options) = config.rest() else { return Err("options are no table".to_owned()) };
    options.retain(|_, value| !value.is_null());
    shared(&mut options)?;
    let on = |options: &Map<String, Value>, key: &str, default: bool| {
        options.get(key).and_then(Value::as_bool).unwrap_or(default)
    };
    let kind = match kind.as_str() {
        "unet" => {
            if !options.contains_key("context_dim") {
                options.remove("disable_self_attentions");
            }
            "unet"
        }
        "video_unet" => {
            if on(&options, "disable_temporal_crossattention", false) {
                options.remove("use_spatial_context");
                options.remove("time_context_dim");
            }
            "video-unet"
        }
        "spatial_unet_with_time" => {
            for key in ["view_context_dim", "view_block_merge_factor", "use_new_attention_order"] {
                options.remove(key);
            }
            if on(&options, "time_mix_legacy", true) {
                options.remove("separate_motion_merge_factor");
            }
            "spatial-unet-with-time"
        }
        other => return Err(format!("no network is called `{other}`")),
    };
    if on(&options, "use_spatial_context", false) {
        options.remove("time_context_dim");
    }
    options.insert("kind".to_owned(), json!(kind));
    serde_json::from_value(Value::Object(options)).map_err(|error| format!("network: {error}"))
}

fn shared(options: &mut Map<String, Value>) -> Result<(), String> {
    for key in ["num_heads", "num_head_channels"] {
        if options.get(key) == Some(&json!(-1)) {
            options.remove(key);
        }
    }
    if options.contains_key("num_head_channels") {
        options.remove("num_heads");
    }
    options.remove("num_heads_upsample");
    options.remove("time_downup");
    let camera = options.get("use_camera_emb") == Some(&json!(true));
    if options.get("num_classes") != Some(&json!("sequential")) && !camera {
        options.remove("adm_in_channels");
    }
    // Upstream does not mind factors of levels that do not exist.
    let levels = options.get("channel_mult").and_then(Value::as_array).map_or(4, Vec::len);
    if let Some(Value::Array(factors)) = options.get_mut("attention_resolutions") {
        factors.retain(|factor| (0..levels).any(|level| factor.as_u64() == Some(1 << level)));
    }
    // A list of widths has to hold one width, as all blocks get the same context.
    if let Some(Value::Array(widths)) = options.get("context_dim") {
        let first = widths.first().cloned().ok_or("context_dim is an empty list")?;
        if widths.iter().any(|width| *width != first) {
            return Err("context_dim lists several widths for one context".to_owned());
        }
        options.insert("context_dim".to_owned(), first);
    }
    Ok(())
}
