//! The autoencoder's modules in both libraries.

use std::collections::HashSet;

use tch::Tensor;

use super::names::Names;

/// A residual block over pixels; where it stands alone, and within one over time.
const RESNET: [(&str, &str); 5] =
    [("norm1", "norm1"), ("conv1", "conv1"), ("norm2", "norm2"), ("conv2", "conv2"), ("nin_shortcut", "conv_shortcut")];

/// The part over time of a residual block of a video decoder.
const TIME_STACK: [(&str, &str); 4] = [
    ("time_stack.in_layers.0", "temporal_res_block.norm1"),
    ("time_stack.in_layers.2", "temporal_res_block.conv1"),
    ("time_stack.out_layers.0", "temporal_res_block.norm2"),
    ("time_stack.out_layers.3", "temporal_res_block.conv2"),
];

/// Attention over pixels: convolutions of one pixel there, linear layers here.
const ATTENTION: [(&str, &str); 5] =
    [("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")];

/// More levels or blocks than any autoencoder has, so that names need not be counted first.
const LEVELS_MAX: usize = 8;
const LAYERS_MAX: usize = 8;

/// The modules of an autoencoder.
#[derive(Debug)]
pub(super) struct Vae {
    encoder: Names,
    decoder: Names,
}

fn ends(names: &mut Names) {
    for (ours, theirs) in [("conv_in", "conv_in"), ("norm_out", "conv_norm_out"), ("conv_out", "conv_out")] {
        names.add(ours, theirs);
    }
    names.add_below("mid.attn_1", "mid_block.attentions.0", &ATTENTION);
}

fn encoder() -> Names {
    let mut names = Names::default();
    ends(&mut names);
    for (ours, theirs) in [("mid.block_1", "mid_block.resnets.0"), ("mid.block_2", "mid_block.resnets.1")] {
        names.add_below(ours, theirs, &RESNET);
    }
    for level in 0..LEVELS_MAX {
        for layer in 0..LAYERS_MAX {
            let theirs = format!("down_blocks.{level}.resnets.{layer}");
            names.add_below(&format!("down.{level}.block.{layer}"), &theirs, &RESNET);
        }
        names.add(format!("down.{level}.downsample.conv"), format!("down_blocks.{level}.downsamplers.0.conv"));
    }
    names
}

fn decoder(levels: usize) -> Names {
    let mut names = Names::default();
    ends(&mut names);
    names.add("conv_out.time_mix_conv", "time_conv_out");
    let mut block = |ours: &str, theirs: &str| {
        names.add_below(ours, &format!("{theirs}.spatial_res_block"), &RESNET);
        names.add_below(ours, theirs, &TIME_STACK);
        // A parameter of the block itself.
        names.add(ours, format!("{theirs}.time_mixer"));
    };
    block("mid.block_1", "mid_block.resnets.0");
    block("mid.block_2", "mid_block.resnets.1");
    for level in 0..levels {
        for layer in 0..LAYERS_MAX {
            let theirs = format!("up_blocks.{}.resnets.{layer}", levels - 1 - level);
            block(&format!("up.{level}.block.{layer}"), &theirs);
        }
    }
    for level in 0..levels {
        let theirs = format!("up_blocks.{}.upsamplers.0.conv", levels - 1 - level);
        names.add(format!("up.{level}.upsample.conv"), theirs);
    }
    names
}

/// A tensor of attention as a linear layer has it: `[c, c, 1, 1] -> [c, c]`.
fn linear(name: &str, tensor: &Tensor) -> Tensor {
    match (name.contains(".attentions."), &tensor.size()[..]) {
        (true, &[outputs, inputs, 1, 1]) => tensor.view([outputs, inputs]),
        _ => tensor.shallow_clone(),
    }
}

/// A tensor of attention as a convolution has it: `[c, c] -> [c, c, 1, 1]`.
fn pointwise(name: &str, tensor: &Tensor) -> Tensor {
    match (name.contains(".attn_"), &tensor.size()[..]) {
        (true, &[outputs, inputs]) => tensor.view([outputs, inputs, 1, 1]),
        _ => tensor.shallow_clone(),
    }
}

impl Vae {
    /// The modules, from the keys of the reference's decoder.
    pub fn of_reference(keys: &HashSet<&str>) -> Self {
        Self::counted(keys, "up.")
    }

    /// The modules, from the keys of a pipeline's vae.
    pub fn of_diffusers(keys: &HashSet<&str>) -> Self {
        Self::counted(keys, "decoder.up_blocks.")
    }

    fn counted(keys: &HashSet<&str>, place: &str) -> Self {
        let has = |level: &usize| keys.iter().any(|key| key.starts_with(&format!("{place}{level}.")));
        let levels = (0..LEVELS_MAX).take_while(has).count();
        Self { encoder: encoder(), decoder: decoder(levels) }
    }

    /// A key of an encoder of the reference, and its tensor, in a pipeline.
    pub fn encoder_to_diffusers(&self, key: &str, tensor: &Tensor) -> Option<(String, Tensor)> {
        self.encoder.to_diffusers(key).map(|name| (linear(&name, tensor), name)).map(swapped)
    }

    /// A key of a pipeline's encoder, and its tensor, in the reference.
    pub fn encoder_to_reference(&self, key: &str, tensor: &Tensor) -> Option<(String, Tensor)> {
        self.encoder.to_reference(key).map(|name| (pointwise(&name, tensor), name)).map(swapped)
    }

    /// A key of a video decoder of the reference, and its tensor, in a pipeline.
    pub fn decoder_to_diffusers(&self, key: &str, tensor: &Tensor) -> Option<(String, Tensor)> {
        self.decoder.to_diffusers(key).map(|name| (linear(&name, tensor), name)).map(swapped)
    }

    /// A key of a pipeline's decoder, and its tensor, in the reference.
    pub fn decoder_to_reference(&self, key: &str, tensor: &Tensor) -> Option<(String, Tensor)> {
        self.decoder.to_reference(key).map(|name| (pointwise(&name, tensor), name)).map(swapped)
    }
}

fn swapped((tensor, name): (Tensor, String)) -> (String, Tensor) {
    (name, tensor)
}

/// A convolution followed by one of a single pixel, as one: weight and bias of each.
pub(super) fn fold(first: [&Tensor; 2], second: [&Tensor; 2]) -> [Tensor; 2] {
    let kind = first[0].kind();
    let [weight, bias, mix, shift] = [first[0], first[1], second[0], second[1]].map(|t| t.to_kind(tch::Kind::Double));
    let mix = mix.flatten(1, -1); // [c, c, 1, 1] -> [c, c]
    let size = weight.size();
    let folded = mix.matmul(&weight.flatten(1, -1)).view(&size[..]);
    [folded.to_kind(kind), (mix.mv(&bias) + shift).to_kind(kind)]
}
