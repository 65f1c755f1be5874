//! Single attentions.

use anneal_nn::Path;
use anneal_nn::blocks::{AttentionBlock, AttentionPool, QkvOrder, SpatialSelfAttention};
use anneal_nn::layers::{
    AttentionExtras, CrossAttention, CrossAttentionConfig, LinearAttention, SelfAttention, SelfAttentionConfig,
};
use tch::{Kind, Tensor};

use super::{Forward, ignore_implementation};
use crate::case::Case;
use crate::module::Inputs;
use crate::options::Options;

/// The order of queries, keys and values.
pub fn order(config: &Options) -> Result<QkvOrder, String> {
    let new: bool = config.or("use_new_attention_order", false)?;
    Ok(if new { QkvOrder::QkvFirst } else { QkvOrder::HeadsFirst })
}

/// `AttentionBlock`
pub fn attention_block(config: &Options, root: &Path) -> Result<Forward, String> {
    ignore_implementation(config)?;
    let channels: i64 = config.get("channels")?;
    let num_heads = config.or("num_heads", 1)?;
    let num_heads = match config.or("num_head_channels", -1)? {
        -1 => num_heads,
        width => channels / width,
    };
    let block = AttentionBlock::new(root, channels, num_heads, order(config)?);
    Ok(Box::new(move |_, inputs| Ok(block.forward(inputs.need("x")?))))
}

/// `AttentionPool2d`
pub fn attention_pool(config: &Options, root: &Path) -> Result<Forward, String> {
    let channels = config.get("embed_dim")?;
    let outputs = config.optional("output_dim")?.filter(|&width| width != 0).unwrap_or(channels);
    let pool =
        AttentionPool::new(root, config.get("spacial_dim")?, channels, config.get("num_heads_channels")?, outputs);
    Ok(Box::new(move |_, inputs| Ok(pool.forward(inputs.need("x")?))))
}

/// `LinearAttention`
pub fn linear_attention(config: &Options, root: &Path) -> Result<Forward, String> {
    let attention = LinearAttention::new(root, config.get("dim")?, config.or("heads", 4)?, config.or("dim_head", 32)?);
    Ok(Box::new(move |_, inputs| Ok(attention.forward(inputs.need("x")?))))
}

/// `SelfAttention`
pub fn self_attention(config: &Options, root: &Path) -> Result<Forward, String> {
    let scale: Option<f64> = config.optional("qk_scale")?;
    let attention_dropout = config.or("attn_drop", 0.0)?;
    // Only the mode `math` looks at the scale and drops weights.
    let (scale, attention_dropout) = match config.or("attn_mode", "xformers".to_owned())?.as_str() {
        "math" => (scale.filter(|&scale| scale != 0.0), attention_dropout),
        "xformers" | "torch" => (None, 0.0),
        other => return Err(format!("unknown attn_mode {other}")),
    };
    let attention = SelfAttention::new(
        root,
        SelfAttentionConfig {
            width: config.get("dim")?,
            num_heads: config.or("num_heads", 8)?,
            qkv_bias: config.or("qkv_bias", false)?,
            scale,
            attention_dropout,
            dropout: config.or("proj_drop", 0.0)?,
        },
    );
    Ok(Box::new(move |_, inputs| Ok(attention.forward(inputs.need("x")?, false))))
}

/// `SpatialSelfAttention`
pub fn spatial_self_attention(config: &Options, root: &Path) -> Result<Forward, String> {
    let attention = SpatialSelfAttention::new(root, config.get("in_channels")?);
    Ok(Box::new(move |_, inputs| Ok(attention.forward(inputs.need("x")?))))
}

/// `CrossAttention`
pub fn cross_attention(config: &Options, root: &Path) -> Result<Forward, String> {
    ignore_implementation(config)?;
    let attention = CrossAttention::new(
        root,
        CrossAttentionConfig {
            width: config.get("query_dim")?,
            context_width: config.optional("context_dim")?,
            num_heads: config.or("heads", 8)?,
            head_width: config.or("dim_head", 64)?,
            dropout: config.or("dropout", 0.0)?,
        },
    );
    Ok(Box::new(move |case, inputs| {
        let mask = mask(inputs);
        let (x, context) = (inputs.need("x")?, inputs.get("context"));
        let extras = AttentionExtras { mask: mask.as_ref(), ..extras(case, inputs)? };
        if extras.mask.is_none() && extras.additional_tokens.is_none() && extras.crossframe.is_none() {
            return Ok(attention.forward(x, context, false));
        }
        Ok(attention.forward_with(x, context, extras, false))
    }))
}

/// Additional tokens and attention across frames.
pub fn extras<'a>(case: &Case, inputs: &'a Inputs) -> Result<AttentionExtras<'a>, String> {
    let crossframe = Some(case.call.or("n_times_crossframe_attn_in_self", 0)?).filter(|&n| n != 0);
    Ok(AttentionExtras { additional_tokens: inputs.get("additional_tokens"), mask: None, crossframe })
}

/// Integers are what may be attended to, floats what is added.
fn mask(inputs: &Inputs) -> Option<Tensor> {
    let mask = inputs.get("mask")?;
    Some(if mask.kind() == Kind::Int64 { mask.to_kind(Kind::Bool) } else { mask.shallow_clone() })
}
