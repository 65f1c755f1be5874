//! The network's modules in both libraries.

use std::collections::HashSet;

use super::names::Names;

/// A residual block, over pixels and over time.
const RESNET: [(&str, &str); 12] = [
    ("in_layers.0", "spatial_res_block.norm1"),
    ("in_layers.2", "spatial_res_block.conv1"),
    ("emb_layers.1", "spatial_res_block.time_emb_proj"),
    ("out_layers.0", "spatial_res_block.norm2"),
    ("out_layers.3", "spatial_res_block.conv2"),
    ("skip_connection", "spatial_res_block.conv_shortcut"),
    ("time_stack.in_layers.0", "temporal_res_block.norm1"),
    ("time_stack.in_layers.2", "temporal_res_block.conv1"),
    ("time_stack.emb_layers.1", "temporal_res_block.time_emb_proj"),
    ("time_stack.out_layers.0", "temporal_res_block.norm2"),
    ("time_stack.out_layers.3", "temporal_res_block.conv2"),
    ("time_mixer", "time_mixer"),
];

/// A transformer, over pixels and over time.
const TRANSFORMER: [(&str, &str); 8] = [
    ("norm", "norm"),
    ("proj_in", "proj_in"),
    ("proj_out", "proj_out"),
    ("transformer_blocks", "transformer_blocks"),
    ("time_stack", "temporal_transformer_blocks"),
    ("time_pos_embed.0", "time_pos_embed.linear_1"),
    ("time_pos_embed.2", "time_pos_embed.linear_2"),
    ("time_mixer", "time_mixer"),
];

/// The network's modules.
#[derive(Debug)]
pub(super) struct Pairs(Names);

/// How many levels, and residual blocks at each on the way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Structure {
    pub levels: usize,
    pub layers: usize,
}

impl Pairs {
    /// The modules of a network with these keys of the reference.
    pub fn of_reference(keys: &HashSet<&str>) -> Self {
        let below = |prefix: &str| keys.iter().any(|key| key.starts_with(prefix));
        let num_inputs = (0..).take_while(|i| below(&format!("input_blocks.{i}."))).count();
        let halvings = (0..num_inputs).filter(|i| below(&format!("input_blocks.{i}.0.op."))).count();
        let levels = halvings + 1;
        // The first convolution, then each level's blocks and, but for the last, a halving.
        let layers = num_inputs.saturating_sub(1 + halvings) / levels;
        let structure = Structure { levels, layers };
        Self::new(structure, |level| {
            let first = (structure.levels - 1 - level) * (structure.layers + 1);
            below(&format!("output_blocks.{first}.1.proj_in."))
        })
    }

    /// The modules of a network with these keys of a pipeline.
    pub fn of_diffusers(keys: &HashSet<&str>) -> Self {
        let structure = structure_of_diffusers(keys);
        let attends = |level: usize| {
            let up = format!("up_blocks.{}.attentions.", structure.levels - 1 - level);
            keys.iter().any(|key| key.starts_with(&up))
        };
        Self::new(structure, attends)
    }

    /// `attends` says whether a level, finest first, has transformers.
    fn new(structure: Structure, attends: impl Fn(usize) -> bool) -> Self {
        let Structure { levels, layers } = structure;
        let mut names = Names::default();
        for (ours, theirs) in [
            ("time_embed.0", "time_embedding.linear_1"),
            ("time_embed.2", "time_embedding.linear_2"),
            ("label_emb.0.0", "add_embedding.linear_1"),
            ("label_emb.0.2", "add_embedding.linear_2"),
            ("input_blocks.0.0", "conv_in"),
            ("out.0", "conv_norm_out"),
            ("out.2", "conv_out"),
        ] {
            names.add(ours, theirs);
        }
        for level in 0..levels {
            for layer in 0..layers {
                let input = 1 + level * (layers + 1) + layer;
                let down = format!("down_blocks.{level}");
                names.add_below(&format!("input_blocks.{input}.0"), &format!("{down}.resnets.{layer}"), &RESNET);
                names.add_below(
                    &format!("input_blocks.{input}.1"),
                    &format!("{down}.attentions.{layer}"),
                    &TRANSFORMER,
                );
            }
            if level + 1 < levels {
                let input = 1 + level * (layers + 1) + layers;
                names.add(format!("input_blocks.{input}.0.op"), format!("down_blocks.{level}.downsamplers.0.conv"));
            }
        }
        for (ours, theirs) in [("0", "resnets.0"), ("2", "resnets.1")] {
            names.add_below(&format!("middle_block.{ours}"), &format!("mid_block.{theirs}"), &RESNET);
        }
        names.add_below("middle_block.1", "mid_block.attentions.0", &TRANSFORMER);
        for up in 0..levels {
            let level = levels - 1 - up;
            for layer in 0..=layers {
                let output = up * (layers + 1) + layer;
                let theirs = format!("up_blocks.{up}");
                names.add_below(&format!("output_blocks.{output}.0"), &format!("{theirs}.resnets.{layer}"), &RESNET);
                if attends(level) {
                    let attention = format!("{theirs}.attentions.{layer}");
                    names.add_below(&format!("output_blocks.{output}.1"), &attention, &TRANSFORMER);
                }
            }
            if level > 0 {
                let place = if attends(level) { 2 } else { 1 };
                let output = up * (layers + 1) + layers;
                names.add(format!("output_blocks.{output}.{place}.conv"), format!("up_blocks.{up}.upsamplers.0.conv"));
            }
        }
        Self(names)
    }

    /// A key of the reference, below the network, as the pipeline's unet has it.
    pub fn to_diffusers(&self, key: &str) -> Option<String> {
        self.0.to_diffusers(key)
    }

    /// A key of the pipeline's unet as the reference has it below the network.
    pub fn to_reference(&self, key: &str) -> Option<String> {
        self.0.to_reference(key)
    }
}

/// Levels and blocks of a pipeline's unet.
pub(super) fn structure_of_diffusers(keys: &HashSet<&str>) -> Structure {
    let below = |prefix: String| keys.iter().any(|key| key.starts_with(&prefix));
    let levels = (0..).take_while(|level| below(format!("down_blocks.{level}."))).count();
    let layers = (0..).take_while(|layer| below(format!("down_blocks.0.resnets.{layer}."))).count();
    Structure { levels, layers }
}
