//! Blocks of networks, each built from upstream's constructor options.

mod alpha;
mod attention;
mod over_time;
mod pixels;
mod transformer;

use anneal_nn::Path;
use serde_json::Value;
use tch::Tensor;

use crate::case::{Case, Outputs};
use crate::module::{self, Inputs};
use crate::options::Options;

/// A built block: the case's inputs to `y`.
type Forward = Box<dyn Fn(&Case, &Inputs) -> Result<Tensor, String>>;

/// Builds a block at the root of the parameters, by upstream's options.
type Build = fn(&Options, &Path) -> Result<Forward, String>;

/// All tensors that upstream's blocks take.
const INPUTS: [&str; 13] = [
    "x",
    "emb",
    "context",
    "time_context",
    "image_only_indicator",
    "cond_view",
    "cond_motion",
    "cam",
    "additional_tokens",
    "mask",
    "x_spatial",
    "x_temporal",
    "conv_view",
];

/// Runs a case of a block.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let kind = config.kind()?;
    if kind == "get_alpha" {
        return alpha::get_alpha(case, &config);
    }
    let params = module::params();
    let forward = builder(&kind)?(&config, &params.root())?;
    config.finish()?;
    module::load(&params, case.weights(""))?;
    // Arguments given as null are those left out here.
    let _: Option<&Value> = case.call.raw("_none_args");
    let num_contexts: usize = case.call.or("_context_list", 0)?;
    let contexts: Vec<String> = (0..num_contexts).map(|i| format!("context.{i}")).collect();
    let names: Vec<&str> = INPUTS.into_iter().chain(contexts.iter().map(String::as_str)).collect();
    let inputs = Inputs::new(case, &names);
    let y = forward(case, &inputs)?;
    Ok(module::outputs(case, &y, &inputs, &params))
}

fn builder(kind: &str) -> Result<Build, String> {
    Ok(match kind {
        "resblock" => pixels::res_block,
        "video_resblock" => pixels::video_res_block,
        "posthoc_resblock_with_time" => pixels::posthoc_res_block,
        "upsample" => pixels::upsample,
        "downsample" => pixels::downsample,
        "alpha_blender" => alpha::alpha_blender,
        "attention_block" => attention::attention_block,
        "attention_pool2d" => attention::attention_pool,
        "linear_attention" => attention::linear_attention,
        "self_attention" => attention::self_attention,
        "spatial_self_attention" => attention::spatial_self_attention,
        "cross_attention" => attention::cross_attention,
        "feed_forward" => transformer::feed_forward,
        "basic_transformer_block" => transformer::basic_block,
        "single_layer_transformer_block" => transformer::single_layer_block,
        "spatial_transformer" => transformer::spatial_transformer,
        "video_transformer_block" | "time_mix_block" => over_time::time_block,
        "attention_block_time_mix" => over_time::attention_block_time_mix,
        "spatial_video_transformer" => over_time::spatial_video_transformer,
        "spatial_transformer_time_mix" => over_time::spatial_transformer_time_mix,
        "spatial_transformer_time_mix_motion" => over_time::spatial_transformer_time_mix_motion,
        other => return Err(format!("no block is called `{other}`")),
    })
}

/// Frames of a clip: those of the call, which a number given to the constructor has to agree with.
fn frames(case: &Case, key: &str, fixed: Option<i64>) -> Result<i64, String> {
    match (case.call.optional(key)?, fixed) {
        (Some(t), Some(fixed)) if t != fixed => Err(format!("built for {fixed} frames, and called with {t}")),
        (Some(t), _) | (None, Some(t)) => Ok(t),
        (None, None) => Err(format!("the case has no call.{key}")),
    }
}

/// A kernel's size along each of `dims` axes.
fn kernel(config: &Options, key: &str, dims: usize) -> Result<Vec<i64>, String> {
    match config.raw(key) {
        None => Ok(vec![3; dims]),
        Some(Value::Array(_)) => config.get(key),
        Some(_) => Ok(vec![config.get(key)?; dims]),
    }
}

/// A kernel's size over time, rows and columns.
fn video_kernel(config: &Options, key: &str) -> Result<[i64; 3], String> {
    kernel(config, key, 3)?.try_into().map_err(|sizes| format!("{key} = {sizes:?} are not three sizes"))
}

/// Options that change how a result is computed, and not the result.
fn ignore_implementation(config: &Options) -> Result<(), String> {
    for key in ["use_checkpoint", "checkpoint"] {
        let _: bool = config.or(key, false)?;
    }
    for key in ["attn_mode", "attn_type"] {
        let _: Option<anneal_nn::AttentionType> = config.optional(key)?;
    }
    for key in ["sdp_backend", "backend"] {
        let _: Option<String> = config.optional(key)?;
    }
    Ok(())
}
