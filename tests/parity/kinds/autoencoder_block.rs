//! `block.ae*`: the blocks of encoders and decoders.

use anneal_nn::autoencoder::{
    AttnBlock, DoublingLayer, HalvingLayer, LinAttnBlock, ResnetBlock, ResnetBlockConfig, TimeConv, TimeMerge,
    VideoAttnBlock, VideoResnetBlock, VideoTimeConfig,
};
use anneal_nn::layers::ConvConfig;
use anneal_nn::{KernelSize, Path};
use serde_json::Value;
use tch::Tensor;

use crate::case::{Case, Outputs};
use crate::module::{self, Inputs};
use crate::options::Options;

/// A block as a function of its input, its embedding and the frames of a clip (none where time is skipped).
type Block = Box<dyn Fn(&Tensor, Option<&Tensor>, Option<i64>) -> Tensor>;

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let params = module::params();
    let block = build(&config, &params.root())?;
    config.finish()?;
    module::load(&params, case.weights(""))?;
    let t = frames(&case.call)?;
    case.call.raw("_none_args");
    let inputs = Inputs::new(case, &["x", "input", "temb"]);
    let x = inputs.get("input").map_or_else(|| inputs.need("x"), Ok)?;
    let y = block(x, inputs.get("temb"), t);
    Ok(module::outputs(case, &y, &inputs, &params))
}

/// Frames of a clip; none where layers over time are skipped.
pub fn frames(call: &Options) -> Result<Option<i64>, String> {
    let timesteps = call.optional("timesteps")?;
    let [skip_video, skip_time_block] = [call.or("skip_video", false)?, call.or("skip_time_block", false)?];
    Ok(timesteps.filter(|_| !skip_video && !skip_time_block))
}

fn build(config: &Options, path: &Path) -> Result<Block, String> {
    Ok(match config.kind()?.as_str() {
        "ae_resnet_block" => {
            let block = ResnetBlock::new(path, resnet(config, config.optional("out_channels")?)?);
            Box::new(move |x, temb, _| block.forward(x, temb, false))
        }
        "ae_video_resblock" => {
            let image = ResnetBlockConfig { dropout: config.or("dropout", 0.0)?, ..resnet_of_video(config)? };
            // Without a kernel upstream takes one over time alone.
            let kernel = config.or("video_kernel_size", Some(KernelSize::Cube(3)))?;
            let time = VideoTimeConfig {
                video_kernel: kernel.unwrap_or(KernelSize::Each([3, 1, 1])).sizes(),
                merge_strategy: config.or("merge_strategy", TimeMerge::Learned)?,
                alpha: config.or("alpha", 0.0)?,
            };
            let block = VideoResnetBlock::new(path, image, time);
            Box::new(move |x, temb, t| block.forward(x, temb, t, false))
        }
        "ae_attn_block" => {
            let block = AttnBlock::new(path, config.get("in_channels")?);
            Box::new(move |x, _, _| block.forward(x))
        }
        "ae_lin_attn_block" => {
            let block = LinAttnBlock::new(path, config.get("in_channels")?);
            Box::new(move |x, _, _| block.forward(x))
        }
        "ae_video_block" => {
            let merge_strategy = config.or("merge_strategy", TimeMerge::Learned)?;
            let alpha = config.or("alpha", 0.0)?;
            let block = VideoAttnBlock::new(path, config.get("in_channels")?, merge_strategy, alpha);
            Box::new(move |x, _, t| block.forward(x, t, false))
        }
        "ae3d_conv" => {
            let kernel: KernelSize = config.or("video_kernel_size", KernelSize::Cube(3))?;
            let conv = TimeConv::new(path, conv(config)?, kernel.sizes());
            Box::new(move |x, _, t| conv.forward(x, t))
        }
        "ae_upsample" => {
            let layer = DoublingLayer::new(path, config.get("in_channels")?, config.get("with_conv")?);
            Box::new(move |x, _, _| layer.forward(x))
        }
        "ae_downsample" => {
            let layer = HalvingLayer::new(path, config.get("in_channels")?, config.get("with_conv")?);
            Box::new(move |x, _, _| layer.forward(x))
        }
        other => return Err(format!("no block of an autoencoder is called `{other}`")),
    })
}

fn resnet(config: &Options, out_channels: Option<i64>) -> Result<ResnetBlockConfig, String> {
    let in_channels = config.get("in_channels")?;
    let temb_channels: i64 = config.or("temb_channels", 512)?;
    Ok(ResnetBlockConfig {
        in_channels,
        out_channels: out_channels.unwrap_or(in_channels),
        conv_shortcut: config.or("conv_shortcut", false)?,
        dropout: config.or("dropout", 0.0)?,
        temb_channels: (temb_channels > 0).then_some(temb_channels),
    })
}

fn resnet_of_video(config: &Options) -> Result<ResnetBlockConfig, String> {
    resnet(config, Some(config.get("out_channels")?))
}

/// Upstream's convolution over pixels, each size given once or for rows and columns.
fn conv(config: &Options) -> Result<ConvConfig, String> {
    let pair = |key: &str, default: Option<i64>| -> Result<Vec<i64>, String> {
        let value = config.raw(key).cloned().or_else(|| default.map(Value::from));
        let value = value.ok_or_else(|| format!("{key} is missing"))?;
        match value.as_i64() {
            Some(both) => Ok(vec![both; 2]),
            None => serde_json::from_value(value).map_err(|error| format!("{key}: {error}")),
        }
    };
    Ok(ConvConfig {
        inputs: config.get("in_channels")?,
        outputs: config.get("out_channels")?,
        kernel: pair("kernel_size", None)?,
        stride: pair("stride", Some(1))?,
        padding: pair("padding", Some(0))?,
        zeroed: false,
    })
}
