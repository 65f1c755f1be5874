//! Stable Video Diffusion as a diffusers pipeline: the same tensors under other keys, in one folder a component.
//!
//! The pipeline has one autoencoder, where the reference has two: its encoder is that of the condition, and its decoder
//! that of the first stage.

mod image_encoder;
mod names;
mod settings;
mod unet;
mod vae;

pub use settings::{PipelineSettings, SettingsFile, files};

use std::collections::HashSet;
use std::fmt;

use tch::Tensor;

use crate::weights::Named;

/// A component of a pipeline.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// Its folder.
    pub folder: &'static str,
    /// The names that its weights may have, the one that is written first.
    pub files: [&'static str; 2],
}

/// The components with weights.
pub const COMPONENTS: [Component; 3] = [
    Component {
        folder: "unet",
        files: ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"],
    },
    Component {
        folder: "vae",
        files: ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"],
    },
    Component { folder: "image_encoder", files: ["model.safetensors", "model.fp16.safetensors"] },
];

/// Where a component's tensors stand among the reference's keys.
const UNET: &str = "model.diffusion_model.";
const DECODER: &str = "first_stage_model.decoder.";
const ENCODER: &str = "first_stage_model.encoder.";
const CONDITION: &str = "conditioner.embedders.3.encoder.";
const CLIP: &str = "conditioner.embedders.0.open_clip.model.visual.";

/// Tensors under their other keys.
#[derive(Debug, Default)]
pub struct Converted {
    /// The tensors; those of a pipeline begin with their component.
    pub tensors: Vec<Named>,
    /// Keys that have no place in the other layout.
    pub left: Vec<String>,
}

/// Why weights cannot be laid out in another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit(pub String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From the reference's keys to a pipeline's.
///
/// # Errors
/// When a component is missing.
pub fn from_reference(given: &[Named]) -> Result<Converted, Unfit> {
    let unet = unet::Pairs::of_reference(&below(given, UNET));
    let vae = vae::Vae::of_reference(&below(given, DECODER));
    let mut converted = Converted::default();
    for (key, tensor) in given {
        let placed = if let Some(rest) = key.strip_prefix(UNET) {
            unet.to_diffusers(rest).map(|name| vec![(format!("unet.{name}"), tensor.shallow_clone())])
        } else if let Some(rest) = key.strip_prefix(DECODER) {
            vae.decoder_to_diffusers(rest, tensor).map(|(name, tensor)| vec![(format!("vae.decoder.{name}"), tensor)])
        } else if let Some(rest) = key.strip_prefix(CONDITION) {
            condition_to_diffusers(&vae, rest, tensor).map(|named| vec![named])
        } else if let Some(rest) = key.strip_prefix(CLIP) {
            image_encoder::to_diffusers(rest, tensor)
                .map(|all| all.into_iter().map(|(name, tensor)| (format!("image_encoder.{name}"), tensor)).collect())
        } else {
            None
        };
        match placed {
            Some(placed) => converted.tensors.extend(placed),
            None => converted.left.push(key.clone()),
        }
    }
    for (component, prefix) in [("unet", UNET), ("vae", DECODER), ("vae", CONDITION), ("image_encoder", CLIP)] {
        if !given.iter().any(|(key, _)| key.starts_with(prefix)) {
            return Err(Unfit(format!("the pipeline's {component} is missing: no key begins with `{prefix}`")));
        }
    }
    Ok(converted)
}

/// The condition's autoencoder, of which the pipeline keeps the encoder.
fn condition_to_diffusers(vae: &vae::Vae, rest: &str, tensor: &Tensor) -> Option<Named> {
    let (name, tensor) = match rest.strip_prefix("encoder.") {
        Some(rest) => {
            let (name, tensor) = vae.encoder_to_diffusers(rest, tensor)?;
            (format!("encoder.{name}"), tensor)
        }
        None if rest.starts_with("quant_conv.") => (rest.to_owned(), tensor.shallow_clone()),
        None => return None,
    };
    Some((format!("vae.{name}"), tensor))
}

/// From a pipeline's keys to the reference's.
///
/// The first stage's encoder is made from the condition's: its last convolution and `quant_conv` are one, as the
/// reference's first stage has no `quant_conv`.
///
/// # Errors
/// When a component is missing, or its tensors belong to another kind of model.
pub fn to_reference(given: &[Named]) -> Result<Converted, Unfit> {
    for component in COMPONENTS {
        let prefix = format!("{}.", component.folder);
        if !given.iter().any(|(key, _)| key.starts_with(&prefix)) {
            return Err(Unfit(format!("the pipeline has no {}", component.folder)));
        }
    }
    let unet = unet::Pairs::of_diffusers(&below(given, "unet."));
    let vae = vae::Vae::of_diffusers(&below(given, "vae."));
    let mut converted = Converted::default();
    let mut clip = Vec::new();
    for (key, tensor) in given {
        let placed = if let Some(rest) = key.strip_prefix("unet.") {
            unet.to_reference(rest).map(|name| (format!("{UNET}{name}"), tensor.shallow_clone()))
        } else if let Some(rest) = key.strip_prefix("vae.decoder.") {
            vae.decoder_to_reference(rest, tensor).map(|(name, tensor)| (format!("{DECODER}{name}"), tensor))
        } else if let Some(rest) = key.strip_prefix("vae.encoder.") {
            vae.encoder_to_reference(rest, tensor).map(|(name, tensor)| (format!("{CONDITION}encoder.{name}"), tensor))
        } else if let Some(rest) = key.strip_prefix("vae.quant_conv.") {
            Some((format!("{CONDITION}quant_conv.{rest}"), tensor.shallow_clone()))
        } else if let Some(rest) = key.strip_prefix("image_encoder.") {
            clip.push((rest.to_owned(), tensor.shallow_clone()));
            continue;
        } else {
            None
        };
        match placed {
            Some(placed) => converted.tensors.push(placed),
            None => converted.left.push(key.clone()),
        }
    }
    let (clip, left) = image_encoder::to_reference(&clip).map_err(Unfit)?;
    converted.tensors.extend(clip.into_iter().map(|(name, tensor)| (format!("{CLIP}{name}"), tensor)));
    converted.left.extend(left.into_iter().map(|name| format!("image_encoder.{name}")));
    let encoder = first_stage_encoder(&converted.tensors)?;
    converted.tensors.extend(encoder);
    Ok(converted)
}

fn first_stage_encoder(tensors: &[Named]) -> Result<Vec<Named>, Unfit> {
    let find = |name: &str| {
        let key = format!("{CONDITION}{name}");
        let found = tensors.iter().find(|(name, _)| *name == key).map(|(_, tensor)| tensor);
        found.ok_or_else(|| Unfit(format!("the pipeline's vae has no tensor for `{key}`")))
    };
    let folded = vae::fold(
        [find("encoder.conv_out.weight")?, find("encoder.conv_out.bias")?],
        [find("quant_conv.weight")?, find("quant_conv.bias")?],
    );
    let own = format!("{CONDITION}encoder.");
    let others = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&own)?, tensor)));
    let others = others.filter(|(name, _)| !name.starts_with("conv_out."));
    let mut encoder: Vec<Named> =
        others.map(|(name, tensor)| (format!("{ENCODER}{name}"), tensor.shallow_clone())).collect();
    for (name, tensor) in ["weight", "bias"].into_iter().zip(folded) {
        encoder.push((format!("{ENCODER}conv_out.{name}"), tensor));
    }
    Ok(encoder)
}

fn below<'a>(given: &'a [Named], prefix: &str) -> HashSet<&'a str> {
    given.iter().filter_map(|(key, _)| key.strip_prefix(prefix)).collect()
}

#[cfg(test)]
mod tests;
