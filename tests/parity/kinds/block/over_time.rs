//! Transformer blocks over frames and views.

use anneal_nn::Path;
use anneal_nn::blocks::{
    AttentionBlockWithTime, AttentionBlockWithTimeConfig, BlendConfig, SecondAttention, SpatialTransformerConfig,
    SpatialVideoTransformer, SpatialVideoTransformerConfig, TimeKeys, TransformerBlockConfig, VideoTransformerBlock,
    VideoTransformerBlockConfig, ViewGrouping, ViewMotionInput, ViewMotionTransformer, ViewMotionTransformerConfig,
};

use super::{Forward, alpha, attention, frames, transformer};
use crate::options::Options;

/// `VideoTransformerBlock` and `BasicTransformerTimeMixBlock`
pub fn time_block(config: &Options, root: &Path) -> Result<Forward, String> {
    let width: i64 = config.get("dim")?;
    let inner: Option<i64> = config.optional("inner_dim")?;
    let inside = inner.unwrap_or(width);
    let (heads, head_width): (i64, i64) = (config.get("n_heads")?, config.get("d_head")?);
    if heads * head_width != inside {
        return Err(format!("{heads} heads of {head_width} are not {inside} wide"));
    }
    let (off, frames_only) = (crossattention_off(config)?, config.or("switch_temporal_ca_to_sa", false)?);
    let second = match (off, frames_only) {
        (true, true) => return Err("an attention that is off cannot be switched to self attention".to_owned()),
        (true, false) => SecondAttention::Off,
        (false, true) => SecondAttention::Frames,
        (false, false) => SecondAttention::Context,
    };
    let block = TransformerBlockConfig {
        context_width: config.optional("context_dim")?,
        gated_ff: config.or("gated_ff", true)?,
        ..transformer::block(config, inside)?
    };
    let ff_in = config.or("ff_in", false)? || inner.is_some();
    let disable_self_attn = config.or("disable_self_attn", false)?;
    let fixed = config.optional("timesteps")?;
    let settings = VideoTransformerBlockConfig { block, width, ff_in, disable_self_attn, second };
    let block = VideoTransformerBlock::new(root, settings);
    Ok(Box::new(move |case, inputs| {
        let t = frames(case, "timesteps", fixed)?;
        Ok(block.forward(inputs.need("x")?, inputs.get("context"), t, false))
    }))
}

fn crossattention_off(config: &Options) -> Result<bool, String> {
    config.or("disable_temporal_crossattention", false)
}

/// `PostHocAttentionBlockWithTimeMixing`
pub fn attention_block_time_mix(config: &Options, root: &Path) -> Result<Forward, String> {
    if config.or("use_spatial_context", false)? {
        return Err("upstream's context over time has an axis too few: `use_spatial_context` cannot run".to_owned());
    }
    let (heads, head_width): (i64, i64) = (config.get("n_heads")?, config.get("d_head")?);
    let block = transformer::block(config, heads * head_width)?;
    let off = crossattention_off(config)?;
    let time = VideoTransformerBlockConfig {
        ff_in: config.or("ff_in", false)?,
        second: if off { SecondAttention::Off } else { SecondAttention::Context },
        ..VideoTransformerBlockConfig::new(block)
    };
    let settings = AttentionBlockWithTimeConfig {
        channels: config.get("in_channels")?,
        order: attention::order(config)?,
        time,
        blend: alpha::blend(config, true)?,
    };
    let block = AttentionBlockWithTime::new(root, settings);
    Ok(Box::new(move |case, inputs| {
        if inputs.get("time_context").is_some() {
            return Err("upstream refuses a time_context here".to_owned());
        }
        Ok(block.forward(inputs.need("x")?, frames(case, "timesteps", None)?, false))
    }))
}

/// `SpatialVideoTransformer`
pub fn spatial_video_transformer(config: &Options, root: &Path) -> Result<Forward, String> {
    over_frames(config, root, TimeKeys::Stack, alpha::blend(config, false)?)
}

/// `PostHocSpatialTransformerWithTimeMixing`
pub fn spatial_transformer_time_mix(config: &Options, root: &Path) -> Result<Forward, String> {
    let legacy = config.or("time_mix_legacy", true)?;
    over_frames(config, root, TimeKeys::Mix, alpha::blend(config, legacy)?)
}

/// The transformer over pixels with a context, and the number of frames it was built for.
fn spatial(config: &Options) -> Result<(SpatialTransformerConfig, Option<i64>), String> {
    let settings = transformer::spatial(config)?;
    let block = TransformerBlockConfig { context_width: config.optional("context_dim")?, ..settings.block };
    // Upstream asks for both and never uses them: the first layer is always there.
    let _: bool = config.or("ff_in", false)?;
    let _: i64 = config.or("time_depth", 1)?;
    Ok((SpatialTransformerConfig { block, ..settings }, config.optional("timesteps")?))
}

fn over_frames(config: &Options, root: &Path, keys: TimeKeys, blend: BlendConfig) -> Result<Forward, String> {
    let (spatial, fixed) = spatial(config)?;
    let settings = SpatialVideoTransformerConfig {
        spatial,
        time_context_width: config.optional("time_context_dim")?,
        use_spatial_context: config.or("use_spatial_context", false)?,
        temporal_cross_attention: !crossattention_off(config)?,
        blend,
        keys,
        max_period: config.or("max_time_embed_period", 10_000.0)?,
    };
    let transformer = SpatialVideoTransformer::new(root, settings);
    Ok(Box::new(move |case, inputs| {
        let t = frames(case, "timesteps", fixed)?;
        for key in ["name", "time_step"] {
            let _ = case.call.raw(key);
        }
        let (context, time_context) = (inputs.get("context"), inputs.get("time_context"));
        let images = inputs.get("image_only_indicator");
        Ok(transformer.forward(inputs.need("x")?, context, time_context, t, images, false))
    }))
}

/// `PostHocSpatialTransformerWithTimeMixingAndMotion`
pub fn spatial_transformer_time_mix_motion(config: &Options, root: &Path) -> Result<Forward, String> {
    let (spatial, fixed) = spatial(config)?;
    let legacy = config.or("time_mix_legacy", true)?;
    let motion_factor: f64 = config.or("merge_factor_motion", 0.5)?;
    let separate_motion: bool = config.or("separate_motion_merge_factor", false)?;
    let time_context_width = config.optional("time_context_dim")?;
    let use_spatial_context: bool = config.or("use_spatial_context", false)?;
    let use_camera_emb: bool = config.or("use_camera_emb", false)?;
    let camera_width: Option<i64> = config.optional("adm_in_channels")?;
    let use_3d_attention: bool = config.or("use_3d_attention", false)?;
    let settings = ViewMotionTransformerConfig {
        spatial,
        view_context_width: if use_spatial_context { spatial.block.context_width } else { time_context_width },
        motion_context_width: config.optional("motion_context_dim")?,
        camera_width: camera_width.filter(|_| use_camera_emb),
        grouping: if use_3d_attention { ViewGrouping::Strided } else { ViewGrouping::Views },
        cross_attention: !crossattention_off(config)?,
        blend: alpha::blend(config, legacy)?,
        motion_factor: separate_motion.then_some(motion_factor),
        max_period: config.or("max_time_embed_period", 10_000.0)?,
    };
    let transformer = ViewMotionTransformer::new(root, settings);
    Ok(Box::new(move |case, inputs| {
        // Frames and views follow from the shapes; what is fixed has to be both.
        for key in ["timesteps", "name", "time_step"] {
            let _ = case.call.raw(key);
        }
        let (context, cond_view) = (inputs.need("context")?, inputs.need("cond_view")?);
        let (b, t) = (context.size()[0], context.size()[1]);
        if fixed.is_some_and(|fixed| fixed != t || fixed != cond_view.size()[0] / b) {
            return Err("a fixed number of timesteps has to be that of frames and of views".to_owned());
        }
        let input = ViewMotionInput { context, cond_view, camera: inputs.get("cam"), train: false };
        Ok(transformer.forward(inputs.need("x")?, input))
    }))
}
