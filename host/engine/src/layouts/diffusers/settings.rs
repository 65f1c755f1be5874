//! The settings files of a pipeline's folder, as far as weights do not say them.

use serde_json::{Value, json};

use super::{Unfit, below, unet};
use crate::weights::Named;

/// What a pipeline says beside its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineSettings {
    /// Frames of a clip: 14 of SVD, 25 of SVD-XT.
    pub num_frames: u32,
    /// Width of an attention head of the network: 64 in the published ones.
    pub head_width: u32,
    /// Width of an attention head of the image encoder: 80 in ViT-H.
    pub clip_head_width: u32,
    /// Pixels of a square image that the image encoder sees.
    pub clip_image_size: u32,
}

/// File of a pipeline's folder, and what it holds.
pub type SettingsFile = (&'static str, Value);

/// The settings files of a pipeline with these tensors.
///
/// # Errors
/// When a tensor that they are read from is missing.
pub fn files(tensors: &[Named], settings: PipelineSettings) -> Result<Vec<SettingsFile>, Unfit> {
    Ok(vec![
        ("model_index.json", index()),
        ("unet/config.json", unet_config(tensors, settings)?),
        ("vae/config.json", vae_config(tensors)?),
        ("image_encoder/config.json", clip_config(tensors, settings)?),
        ("scheduler/scheduler_config.json", scheduler()),
        ("feature_extractor/preprocessor_config.json", preprocessor(settings)),
    ])
}

fn index() -> Value {
    json!({
        "_class_name": "StableVideoDiffusionPipeline",
        "_diffusers_version": "0.24.0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
        "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
    })
}

/// The published pipelines' schedule.
fn scheduler() -> Value {
    json!({
        "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.24.0",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
        "prediction_type": "v_prediction", "interpolation_type": "linear", "use_karras_sigmas": true,
        "sigma_min": 0.002, "sigma_max": 700.0, "steps_offset": 1, "timestep_spacing": "leading",
        "timestep_type": "continuous", "trained_betas": null,
    })
}

fn preprocessor(settings: PipelineSettings) -> Value {
    let size = settings.clip_image_size;
    json!({
        "image_processor_type": "CLIPImageProcessor", "feature_extractor_type": "CLIPFeatureExtractor",
        "crop_size": { "height": size, "width": size }, "size": { "shortest_edge": size },
        "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3, "rescale_factor": 1.0 / 255.0,
    })
}

/// A size of a tensor.
fn size(tensors: &[Named], key: &str, axis: usize) -> Result<i64, Unfit> {
    let found = tensors.iter().find(|(name, _)| name == key).and_then(|(_, tensor)| tensor.size().get(axis).copied());
    found.ok_or_else(|| Unfit(format!("the pipeline lacks `{key}`")))
}

fn unet_config(tensors: &[Named], settings: PipelineSettings) -> Result<Value, Unfit> {
    let keys = below(tensors, "unet.");
    let unet::Structure { levels, layers } = unet::structure_of_diffusers(&keys);
    let attends = |level: usize| {
        let place = format!("down_blocks.{level}.attentions.");
        keys.iter().any(|key| key.starts_with(&place))
    };
    let channels: Vec<i64> = (0..levels)
        .map(|level| size(tensors, &format!("unet.down_blocks.{level}.resnets.0.spatial_res_block.conv1.weight"), 0))
        .collect::<Result<_, _>>()?;
    let block = |level: usize, way: &str| match attends(level) {
        true => format!("CrossAttn{way}BlockSpatioTemporal"),
        false => format!("{way}BlockSpatioTemporal"),
    };
    let middle = "unet.mid_block.attentions.0";
    let depth = (0..).take_while(|i| {
        keys.iter().any(|key| key.starts_with(&format!("mid_block.attentions.0.transformer_blocks.{i}.")))
    });
    let vector = size(tensors, "unet.add_embedding.linear_1.weight", 1)?;
    Ok(json!({
        "_class_name": "UNetSpatioTemporalConditionModel", "_diffusers_version": "0.24.0",
        "in_channels": size(tensors, "unet.conv_in.weight", 1)?,
        "out_channels": size(tensors, "unet.conv_out.weight", 0)?,
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": (0..levels).map(|level| block(level, "Down")).collect::<Vec<_>>(),
        "up_block_types": (0..levels).rev().map(|level| block(level, "Up")).collect::<Vec<_>>(),
        "cross_attention_dim":
            size(tensors, &format!("{middle}.transformer_blocks.0.attn2.to_k.weight"), 1)?,
        "num_attention_heads":
            channels.iter().map(|channels| channels / i64::from(settings.head_width)).collect::<Vec<_>>(),
        "transformer_layers_per_block": depth.count(),
        // Frame rate, motion and augmentation, each as wide as the others.
        "addition_time_embed_dim": vector / 3,
        "projection_class_embeddings_input_dim": vector,
        "num_frames": settings.num_frames,
        "sample_size": 96,
    }))
}

fn vae_config(tensors: &[Named]) -> Result<Value, Unfit> {
    let keys = below(tensors, "vae.encoder.");
    let has = |prefix: String| keys.iter().any(|key| key.starts_with(&prefix));
    let levels = (0..).take_while(|level| has(format!("down_blocks.{level}."))).count();
    let layers = (0..).take_while(|layer| has(format!("down_blocks.0.resnets.{layer}."))).count();
    let channels: Vec<i64> = (0..levels)
        .map(|level| size(tensors, &format!("vae.encoder.down_blocks.{level}.resnets.0.conv1.weight"), 0))
        .collect::<Result<_, _>>()?;
    Ok(json!({
        "_class_name": "AutoencoderKLTemporalDecoder", "_diffusers_version": "0.24.0",
        "in_channels": size(tensors, "vae.encoder.conv_in.weight", 1)?,
        "out_channels": size(tensors, "vae.decoder.conv_out.weight", 0)?,
        "latent_channels": size(tensors, "vae.decoder.conv_in.weight", 1)?,
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "layers_per_block": layers,
        "sample_size": 768, "scaling_factor": 0.18215, "force_upcast": true,
    }))
}

fn clip_config(tensors: &[Named], settings: PipelineSettings) -> Result<Value, Unfit> {
    let keys = below(tensors, "image_encoder.");
    let has = |layer: &usize| keys.iter().any(|key| key.starts_with(&format!("vision_model.encoder.layers.{layer}.")));
    let patch = "image_encoder.vision_model.embeddings.patch_embedding.weight";
    let width = size(tensors, patch, 0)?;
    Ok(json!({
        "architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model",
        "hidden_size": width,
        "patch_size": size(tensors, patch, 2)?,
        "num_channels": size(tensors, patch, 1)?,
        "image_size": settings.clip_image_size,
        "intermediate_size": size(tensors, "image_encoder.vision_model.encoder.layers.0.mlp.fc1.weight", 0)?,
        "projection_dim": size(tensors, "image_encoder.visual_projection.weight", 0)?,
        "num_hidden_layers": (0..).take_while(has).count(),
        "num_attention_heads": width / i64::from(settings.clip_head_width),
        "hidden_act": "gelu", "layer_norm_eps": 1e-05, "attention_dropout": 0.0,
    }))
}
