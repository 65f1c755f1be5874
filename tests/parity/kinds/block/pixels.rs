//! Residual blocks and resampling.

use anneal_nn::Path;
use anneal_nn::blocks::{
    PostHocResBlock, PostHocResBlockConfig, ResBlock, ResBlockConfig, Resample, VideoResBlock, VideoResBlockConfig,
};
use anneal_nn::layers::{Downsample, DownsampleConfig, Upsample, UpsampleConfig};

use super::{Forward, alpha, frames, ignore_implementation, kernel, video_kernel};
use crate::options::Options;

fn res_block_config(config: &Options) -> Result<ResBlockConfig, String> {
    ignore_implementation(config)?;
    let channels = config.get("channels")?;
    let (up, down): (bool, bool) = (config.or("up", false)?, config.or("down", false)?);
    let dims = config.or("dims", 2)?;
    Ok(ResBlockConfig {
        channels,
        out_channels: config.optional("out_channels")?.unwrap_or(channels),
        emb_channels: config.optional("emb_channels")?,
        dropout: config.or("dropout", 0.0)?,
        use_conv: config.or("use_conv", false)?,
        use_scale_shift_norm: config.or("use_scale_shift_norm", false)?,
        kernel: kernel(config, "kernel_size", dims)?,
        resample: if up {
            Resample::Up
        } else if down {
            Resample::Down
        } else {
            Resample::Keep
        },
        emb_per_frame: false,
    })
}

/// `ResBlock`
pub fn res_block(config: &Options, root: &Path) -> Result<Forward, String> {
    let skip_t_emb: bool = config.or("skip_t_emb", false)?;
    let emb_per_frame: bool = config.or("exchange_temb_dims", false)?;
    let mut settings = ResBlockConfig { emb_per_frame, ..res_block_config(config)? };
    if skip_t_emb {
        settings.emb_channels = None;
    }
    let block = ResBlock::new(root, settings);
    Ok(Box::new(move |_, inputs| {
        let emb = if skip_t_emb { None } else { Some(inputs.need("emb")?) };
        Ok(block.forward(inputs.need("x")?, emb, false))
    }))
}

/// `VideoResBlock`
pub fn video_res_block(config: &Options, root: &Path) -> Result<Forward, String> {
    let settings = VideoResBlockConfig {
        image: res_block_config(config)?,
        video_kernel: video_kernel(config, "video_kernel_size")?,
        merge_strategy: config.or("merge_strategy", anneal_nn::MergeStrategy::Fixed)?,
        merge_factor: config.or("merge_factor", 0.5)?,
    };
    let block = VideoResBlock::new(root, settings);
    Ok(Box::new(move |case, inputs| {
        let t = frames(case, "num_video_frames", None)?;
        Ok(block.forward(inputs.need("x")?, inputs.need("emb")?, t, inputs.get("image_only_indicator"), false))
    }))
}

/// `PostHocResBlockWithTime`
pub fn posthoc_res_block(config: &Options, root: &Path) -> Result<Forward, String> {
    // Upstream asks for it and never uses it.
    let _: bool = config.or("replicate_bug", false)?;
    let settings = PostHocResBlockConfig {
        image: res_block_config(config)?,
        time_kernel: video_kernel(config, "time_kernel_size")?,
        blend: alpha::blend(config, config.or("time_mix_legacy", true)?)?,
    };
    let block = PostHocResBlock::new(root, settings);
    Ok(Box::new(move |case, inputs| {
        let t = frames(case, "num_video_frames", None)?;
        Ok(block.forward(inputs.need("x")?, inputs.need("emb")?, t, false))
    }))
}

/// `Upsample`
pub fn upsample(config: &Options, root: &Path) -> Result<Forward, String> {
    let channels = config.get("channels")?;
    let layer = Upsample::with(
        root,
        &UpsampleConfig {
            channels,
            out_channels: config.optional("out_channels")?.unwrap_or(channels),
            use_conv: config.get("use_conv")?,
            dims: config.or("dims", 2)?,
            kernel: config.or("kernel_size", 3)?,
            padding: config.or("padding", 1)?,
            factor: config.or("scale_factor", 2)?,
            over_time: config.or("third_up", false)?,
        },
    );
    Ok(Box::new(move |_, inputs| Ok(layer.forward(inputs.need("x")?))))
}

/// `Downsample`
pub fn downsample(config: &Options, root: &Path) -> Result<Forward, String> {
    let channels = config.get("channels")?;
    let layer = Downsample::with(
        root,
        &DownsampleConfig {
            channels,
            out_channels: config.optional("out_channels")?.unwrap_or(channels),
            use_conv: config.get("use_conv")?,
            dims: config.or("dims", 2)?,
            padding: config.or("padding", 1)?,
            over_time: config.or("third_down", false)?,
        },
    );
    Ok(Box::new(move |_, inputs| Ok(layer.forward(inputs.need("x")?))))
}
