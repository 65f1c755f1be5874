//! Weights of blends.

use anneal_nn::blocks::{AlphaBlender, BlendConfig, LegacyMergeStrategy, get_alpha as legacy_alpha};
use anneal_nn::{MergeStrategy, Path};
use tch::Tensor;

use super::Forward;
use crate::case::{Case, Outputs};
use crate::options::Options;

/// Upstream's blend of a block with both kinds; `time_mix_legacy` is its default.
pub fn blend(config: &Options, legacy: bool) -> Result<BlendConfig, String> {
    let factor = config.or("merge_factor", 0.5)?;
    let apply_sigmoid = config.or("apply_sigmoid_to_merge", true)?;
    if legacy {
        let strategy = legacy_strategy(config)?;
        return Ok(BlendConfig::Legacy { strategy, factor, apply_sigmoid });
    }
    Ok(BlendConfig::Mixer { strategy: config.or("merge_strategy", MergeStrategy::Fixed)?, factor })
}

fn legacy_strategy(config: &Options) -> Result<LegacyMergeStrategy, String> {
    match config.or("merge_strategy", "fixed".to_owned())?.as_str() {
        "fixed" => Ok(LegacyMergeStrategy::Fixed),
        "learned" => Ok(LegacyMergeStrategy::Learned),
        "learned_with_images" => Ok(LegacyMergeStrategy::LearnedWithImages),
        "fixed_with_images" => Ok(LegacyMergeStrategy::FixedWithImages),
        other => Err(format!("unknown merge strategy {other}")),
    }
}

/// `AlphaBlender`
pub fn alpha_blender(config: &Options, root: &Path) -> Result<Forward, String> {
    let strategy = config.or("merge_strategy", MergeStrategy::LearnedWithImages)?;
    let pattern: String = config.or("rearrange_pattern", "b t -> (b t) 1 1".to_owned())?;
    let blender = AlphaBlender::new(root, strategy, config.get("alpha")?);
    Ok(Box::new(move |_, inputs| {
        let (spatial, temporal) = (inputs.need("x_spatial")?, inputs.need("x_temporal")?);
        let alpha = rearrange(&blender.alpha(inputs.get("image_only_indicator")), &pattern)?;
        Ok(spatial * &alpha + temporal * (1.0f64 - &alpha))
    }))
}

/// Weights `[b, t]` by a pattern of einops that keeps their order.
fn rearrange(alpha: &Tensor, pattern: &str) -> Result<Tensor, String> {
    let (b, t) = alpha.size2().map_err(|error| error.to_string())?;
    let (_, to) = pattern.split_once("->").ok_or_else(|| format!("no pattern: {pattern}"))?;
    let axes: Vec<i64> = to
        .replace("(b t)", "bt")
        .split_whitespace()
        .map(|axis| match axis {
            "bt" => Ok(b * t),
            "b" => Ok(b),
            "t" => Ok(t),
            "1" => Ok(1),
            other => Err(format!("no axis of {pattern} is called {other}")),
        })
        .collect::<Result<_, String>>()?;
    Ok(alpha.reshape(axes))
}

/// `get_alpha`
pub fn get_alpha(case: &Case, config: &Options) -> Result<Outputs, String> {
    let strategy = legacy_strategy(config)?;
    let (apply_sigmoid, is_attn) = (config.or("apply_sigmoid", true)?, config.or("is_attn", false)?);
    config.finish()?;
    let (mix, images) = (case.optional("mix_factor"), case.optional("image_only_indicator"));
    let alpha = legacy_alpha(strategy, mix.as_ref(), images.as_ref(), apply_sigmoid);
    let alpha = match strategy {
        LegacyMergeStrategy::Fixed | LegacyMergeStrategy::Learned => alpha.squeeze_dim(0),
        _ => rearrange(&alpha, if is_attn { "b t -> (b t) 1 1" } else { "b t -> b 1 t 1 1" })?,
    };
    Ok(Outputs::from([("out.alpha".to_owned(), alpha)]))
}
