//! Transformer blocks over the pixels of an image.

use anneal_nn::Path;
use anneal_nn::blocks::{
    SingleLayerTransformerBlock, SpatialTransformer, SpatialTransformerConfig, TransformerBlock, TransformerBlockConfig,
};
use anneal_nn::layers::{FeedForward, FeedForwardConfig};
use serde_json::Value;
use tch::Tensor;

use super::{Forward, attention, ignore_implementation};
use crate::options::Options;

/// `FeedForward`
pub fn feed_forward(config: &Options, root: &Path) -> Result<Forward, String> {
    let inputs: i64 = config.get("dim")?;
    let mult: f64 = config.or("mult", 4.0)?;
    let settings = FeedForwardConfig {
        inputs,
        hidden: (inputs as f64 * mult) as i64,
        outputs: config.optional("dim_out")?.unwrap_or(inputs),
        gated: config.or("glu", false)?,
        dropout: config.or("dropout", 0.0)?,
    };
    let layer = FeedForward::new(root, settings);
    Ok(Box::new(move |_, inputs| Ok(layer.forward(inputs.need("x")?, false))))
}

/// A block of `width` tokens with upstream's options, without the width of its context.
pub fn block(config: &Options, width: i64) -> Result<TransformerBlockConfig, String> {
    ignore_implementation(config)?;
    Ok(TransformerBlockConfig {
        width,
        num_heads: config.get("n_heads")?,
        head_width: config.get("d_head")?,
        context_width: None,
        gated_ff: true,
        dropout: config.or("dropout", 0.0)?,
    })
}

fn block_with_context(config: &Options) -> Result<TransformerBlockConfig, String> {
    Ok(TransformerBlockConfig {
        context_width: config.optional("context_dim")?,
        gated_ff: config.or("gated_ff", true)?,
        ..block(config, config.get("dim")?)?
    })
}

/// `BasicTransformerBlock`
pub fn basic_block(config: &Options, root: &Path) -> Result<Forward, String> {
    // Upstream's checkpointing forgets whatever is not input or context.
    let forgets: bool = config.or("checkpoint", true)?;
    let block = TransformerBlock::new(root, block_with_context(config)?, config.or("disable_self_attn", false)?);
    Ok(Box::new(move |case, inputs| {
        let extras = attention::extras(case, inputs)?;
        let (x, context) = (inputs.need("x")?, inputs.get("context"));
        if forgets || (extras.additional_tokens.is_none() && extras.crossframe.is_none()) {
            return Ok(block.forward(x, context, false));
        }
        Ok(block.forward_with(x, context, extras, false))
    }))
}

/// `BasicTransformerSingleLayerBlock`
pub fn single_layer_block(config: &Options, root: &Path) -> Result<Forward, String> {
    let block = SingleLayerTransformerBlock::new(root, block_with_context(config)?);
    Ok(Box::new(move |_, inputs| Ok(block.forward(inputs.need("x")?, inputs.get("context"), false))))
}

/// What the transformers over pixels share, without the width of the context.
pub fn spatial(config: &Options) -> Result<SpatialTransformerConfig, String> {
    let (heads, width): (i64, i64) = (config.get("n_heads")?, config.get("d_head")?);
    Ok(SpatialTransformerConfig {
        channels: config.get("in_channels")?,
        depth: config.or("depth", 1)?,
        use_linear: config.or("use_linear", false)?,
        disable_self_attn: config.or("disable_self_attn", false)?,
        block: block(config, heads * width)?,
    })
}

/// `SpatialTransformer`
pub fn spatial_transformer(config: &Options, root: &Path) -> Result<Forward, String> {
    let settings = spatial(config)?;
    let widths = context_widths(config, settings.depth as usize)?;
    let transformer = SpatialTransformer::with_contexts(root, settings, &widths);
    Ok(Box::new(move |case, inputs| {
        let num_contexts: usize = case.call.or("_context_list", 0)?;
        let listed: Vec<Option<&Tensor>> = (0..num_contexts).map(|i| inputs.get(&format!("context.{i}"))).collect();
        let contexts = match &listed[..] {
            [] => vec![inputs.get("context"); widths.len()],
            [one] => vec![*one; widths.len()],
            _ => listed,
        };
        let contexts = contexts.get(..widths.len()).ok_or("fewer contexts than blocks")?;
        Ok(transformer.forward_each(inputs.need("x")?, contexts, false))
    }))
}

/// One width for each block: of a list as long as the blocks are many its own, else the first for all.
fn context_widths(config: &Options, depth: usize) -> Result<Vec<Option<i64>>, String> {
    let listed: Vec<i64> = match config.raw("context_dim") {
        None | Some(Value::Null) => return Ok(vec![None; depth]),
        Some(Value::Array(_)) => config.get("context_dim")?,
        Some(_) => vec![config.get("context_dim")?],
    };
    if listed.len() == depth {
        return Ok(listed.into_iter().map(Some).collect());
    }
    match listed.first() {
        Some(&first) if listed.iter().all(|&width| width == first) => Ok(vec![Some(first); depth]),
        _ => Err(format!("context_dim = {listed:?} fits no depth of {depth}")),
    }
}
