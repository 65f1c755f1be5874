//! CLIP's text transformer as the transformers library writes it.

use plugin_api::tch::prelude::*;

use crate::layers::{Activation, Attend, LayerNorm, Linear, attention};
use crate::named::named;
use crate::open_clip_text2::at_positions;
use crate::tokens::{beside, check_ids};
use crate::tree::Tree;

named! {
    /// A model by its name in the hub, under `openai/`.
    pub enum Clip {
        /// SD 1's and SDXL's first.
        LargePatch14 = "clip-vit-large-patch14",
        /// The small one.
        BasePatch32 = "clip-vit-base-patch32",
    }
}

/// Sizes of a text model.
#[derive(Config, Clone, Copy)]
#[config(check = check)]
pub struct ClipText {
    /// Width of a token.
    #[config(default = 512, min = 1)]
    pub width: i64,
    /// Width inside a block's feed-forward network.
    #[config(default = 2048, min = 1)]
    pub hidden: i64,
    /// Number of blocks.
    #[config(default = 12, min = 1)]
    pub layers: i64,
    /// Number of heads.
    #[config(default = 8, min = 1)]
    pub heads: i64,
    /// Most tokens of a text.
    #[config(default = 77, min = 1)]
    pub context_length: i64,
    /// Number of different tokens.
    #[config(default = 49408, min = 1)]
    pub vocab_size: i64,
    /// Non-linearity of the feed-forward networks.
    #[config(default = Activation::QuickGelu)]
    pub act: Activation,
    /// Added to the variance in the norms.
    #[config(default = 1e-5, exclusive_min = 0.0)]
    pub eps: f64,
    /// The end token, whose first occurrence stands for the whole text. With 2, as in old model configs, that of the
    /// highest id does.
    #[config(default = 49407, min = 0)]
    pub eos_token_id: i64,
}

fn check(text: &ClipText) -> std::result::Result<(), ConfigError> {
    match text.width % text.heads {
        0 => Ok(()),
        _ => Err(ConfigError::new("/heads", format!("{} do not divide the width of {}", text.heads, text.width))),
    }
}

impl Clip {
    /// Its sizes.
    pub fn text(self) -> ClipText {
        let (width, hidden, heads) = match self {
            Self::LargePatch14 => (768, 3072, 12),
            Self::BasePatch32 => (512, 2048, 8),
        };
        let (layers, context_length, vocab_size, eps, eos_token_id) = (12, 77, 49408, 1e-5, 49407);
        let act = Activation::QuickGelu;
        ClipText { width, hidden, layers, heads, context_length, vocab_size, act, eps, eos_token_id }
    }
}

struct Block {
    layer_norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    text: ClipText,
}

impl Block {
    fn new(mut at: Tree<'_>, text: ClipText) -> Self {
        let ClipText { width, hidden, eps, .. } = text;
        let mut square = |name: &str| Linear::new(at.sub("self_attn").sub(name), width, width, true);
        let (k, v, q, out) = (square("k_proj"), square("v_proj"), square("q_proj"), square("out_proj"));
        Self {
            layer_norm1: LayerNorm::new(at.sub("layer_norm1"), width, eps),
            q,
            k,
            v,
            out,
            layer_norm2: LayerNorm::new(at.sub("layer_norm2"), width, eps),
            fc1: Linear::new(at.sub("mlp").sub("fc1"), width, hidden, true),
            fc2: Linear::new(at.sub("mlp").sub("fc2"), hidden, width, true),
            text,
        }
    }

    fn forward(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        let normed = self.layer_norm1.forward(call, x)?;
        let project = |layer: &Linear| layer.forward(call, &normed);
        let (q, k, v) = (project(&self.q)?, project(&self.k)?, project(&self.v)?);
        let x = x + self.out.forward(call, &attention(&q, &k, &v, self.text.heads, &Attend::Causal)?)?;
        let hidden = self.fc1.forward(call, &self.layer_norm2.forward(call, &x)?)?;
        Ok(&x + self.fc2.forward(call, &self.text.act.apply(&hidden))?)
    }
}

/// What a pass gives; `None` is what was not declared or not asked for.
pub struct States {
    /// The tokens after the last block and the final norm.
    pub last: Option<Tensor>,
    /// The tokens after the block that was asked for.
    pub hidden: Option<Tensor>,
}

/// The model.
pub struct ClipTextModel {
    token_embedding: Param,
    position_embedding: Param,
    blocks: Vec<Block>,
    final_layer_norm: Option<LayerNorm>,
    text: ClipText,
}

impl ClipTextModel {
    /// Keys as in `CLIPTextModel`. With `last_read` blocks behind that one and the final norm are left out.
    pub fn new(mut at: Tree<'_>, text: ClipText, last_read: Option<i64>) -> Self {
        let mut at = at.sub("text_model");
        let ClipText { width, eps, .. } = text;
        let init = Init::Normal { std: 0.02 };
        let mut embeddings = at.sub("embeddings");
        let token_embedding = embeddings.param("token_embedding.weight", &[text.vocab_size, width], init);
        let position_embedding = embeddings.param("position_embedding.weight", &[text.context_length, width], init);
        let num_blocks = last_read.unwrap_or(text.layers);
        Self {
            token_embedding,
            position_embedding,
            blocks: (0..num_blocks).map(|i| Block::new(at.sub("encoder").sub("layers").sub(i), text)).collect(),
            final_layer_norm: last_read.is_none().then(|| LayerNorm::new(at.sub("final_layer_norm"), width, eps)),
            text,
        }
    }

    /// # Shapes
    /// - `ids`: `[n, s]`, integers
    /// - results: `[n, s, width]`
    pub fn forward(&self, call: &Call<'_>, ids: &Tensor, hidden_block: Option<i64>) -> Result<States> {
        check_ids(ids, self.text.vocab_size, None)?;
        let length = ids.size()[1];
        let most = self.text.context_length;
        if length > most {
            return Err(Error::argument(format!("{length} tokens are more than the model's {most}")));
        }
        let table = call.param(self.token_embedding);
        let mut x = Tensor::f_embedding(table, &beside(ids, table), -1, false, false)?;
        x += call.param(self.position_embedding).narrow(0, 0, length);
        let mut hidden = (hidden_block == Some(0)).then(|| x.shallow_clone());
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(call, &x)?;
            if hidden_block == Some(i as i64 + 1) {
                hidden = Some(x.shallow_clone());
            }
        }
        let last = self.final_layer_norm.as_ref().map(|norm| norm.forward(call, &x)).transpose()?;
        Ok(States { last, hidden })
    }

    /// The state of each text's first end token; that of the first token where there is none.
    ///
    /// # Shapes
    /// - `last`: `[n, s, d]`
    /// - `ids`: `[n, s]`
    /// - result: `[n, d]`
    pub fn pool(&self, last: &Tensor, ids: &Tensor) -> Tensor {
        let ids = beside(ids, last);
        let ends = match self.text.eos_token_id {
            2 => ids,
            eos => ids.eq(eos).to_kind(Kind::Int64),
        };
        at_positions(last, &ends.argmax(-1, false))
    }
}
