//! open_clip's text transformer.

use plugin_api::tch::prelude::*;

use crate::layers::{Activation, Attend, LayerNorm};
use crate::open_clip_blocks::{Block, EPS, Sizes};
use crate::tokens::{beside, check_ids};
use crate::tree::Tree;

/// Sizes of a text tower, as in open_clip's model configs.
#[derive(Config, Clone, Copy)]
#[config(check = check)]
pub struct Text {
    /// Width of a text's embedding.
    #[config(min = 1)]
    pub embed_dim: i64,
    /// Tokens of a text.
    #[config(default = 77, min = 1)]
    pub context_length: i64,
    /// Number of different tokens.
    #[config(default = 49408, min = 1)]
    pub vocab_size: i64,
    /// Width of a token.
    #[config(default = 512, min = 1)]
    pub width: i64,
    /// Number of heads.
    #[config(default = 8, min = 1)]
    pub heads: i64,
    /// Number of blocks.
    #[config(default = 12, min = 1)]
    pub layers: i64,
    /// Width inside a block's feed-forward network, in widths of a token.
    #[config(default = 4.0, exclusive_min = 0.0)]
    pub mlp_ratio: f64,
    /// Non-linearity of the feed-forward networks.
    #[config(default = Activation::Gelu)]
    pub act: Activation,
    /// Scale each branch of a block by a learned factor a channel.
    #[config(default)]
    pub layer_scale: bool,
}

fn check(text: &Text) -> std::result::Result<(), ConfigError> {
    match text.width % text.heads {
        0 => Ok(()),
        _ => Err(ConfigError::new("/heads", format!("{} do not divide the width of {}", text.heads, text.width))),
    }
}

/// The block whose tokens are the embedding.
#[derive(Config, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The last.
    Last,
    /// The one before it.
    Penultimate,
}

/// The tokens of a text after the last two blocks, before the final norm.
pub struct Hidden {
    last: Option<Tensor>,
    penultimate: Tensor,
}

impl Hidden {
    /// The tokens after a block.
    ///
    /// # Errors
    /// When the last block was not declared.
    pub fn layer(&self, layer: Layer) -> Result<Tensor> {
        let tokens = match layer {
            Layer::Last => self.last.as_ref(),
            Layer::Penultimate => Some(&self.penultimate),
        };
        tokens.map(Tensor::shallow_clone).ok_or_else(|| Error::argument("the last block is not declared"))
    }
}

/// The tower up to its final norm.
pub struct TextTower {
    token_embedding: Param,
    positional_embedding: Param,
    blocks: Vec<Block>,
    /// The norm behind the last block.
    pub ln_final: LayerNorm,
    text: Text,
}

impl TextTower {
    /// Keys as in open_clip's `CLIP`; without its last block where only the penultimate one is wanted.
    pub fn new(mut at: Tree<'_>, text: Text, with_last: bool) -> Self {
        let Text { width, .. } = text;
        let sizes = Sizes {
            width,
            num_heads: text.heads,
            mlp_ratio: text.mlp_ratio,
            act: text.act,
            layer_scale: text.layer_scale,
        };
        let num_blocks = if with_last { text.layers } else { text.layers - 1 };
        let normal = |std| Init::Normal { std };
        Self {
            token_embedding: at.param("token_embedding.weight", &[text.vocab_size, width], normal(0.02)),
            positional_embedding: at.param("positional_embedding", &[text.context_length, width], normal(0.01)),
            blocks: (0..num_blocks).map(|i| Block::new(at.sub("transformer").sub("resblocks").sub(i), sizes)).collect(),
            ln_final: LayerNorm::new(at.sub("ln_final"), width, EPS),
            text,
        }
    }

    /// # Shapes
    /// - `ids`: `[n, context_length]`, integers
    /// - results: `[n, context_length, width]`, before the final norm
    pub fn forward(&self, call: &Call<'_>, ids: &Tensor) -> Result<Hidden> {
        let Text { context_length, vocab_size, layers, .. } = self.text;
        check_ids(ids, vocab_size, Some(context_length))?;
        let table = call.param(self.token_embedding);
        let x = Tensor::f_embedding(table, &beside(ids, table), -1, false, false)?;
        let mut x = x + call.param(self.positional_embedding);
        let mut penultimate = None;
        for (i, block) in self.blocks.iter().enumerate() {
            if i as i64 == layers - 1 {
                penultimate = Some(x.shallow_clone());
            }
            x = block.forward(call, &x, &Attend::Causal)?;
        }
        Ok(match penultimate {
            Some(penultimate) => Hidden { last: Some(x), penultimate },
            None => Hidden { last: None, penultimate: x },
        })
    }
}
