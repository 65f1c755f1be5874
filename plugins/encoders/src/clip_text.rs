//! `clip-text`: texts by CLIP's text transformer, at the keys of the transformers library.

use plugin_api::tch::prelude::*;

use crate::clip_text_model::{Clip, ClipText, ClipTextModel};
use crate::named::one_of;
use crate::tokens::{TokenizerFile, Tokens};
use crate::tree::Tree;

/// Texts become the tokens of a context and, if asked, a vector.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// A model by name, instead of `text`.
    pub arch: Option<Clip>,
    /// A model by its sizes, instead of `arch`.
    pub text: Option<ClipText>,
    /// The model's `tokenizer.json`. Without it only token ids are taken.
    pub tokenizer: Option<TokenizerFile>,
    /// Tokens of a text.
    #[config(default = 77, min = 1)]
    pub max_length: i64,
    /// Fills up texts that are shorter: the end token, in OpenAI's models.
    #[config(default = 49407)]
    pub pad_token_id: u32,
    /// What is emitted as the context.
    #[config(default = Layer::Last)]
    pub layer: Layer,
    /// The block whose tokens `hidden` emits: 0 is before the first, negative numbers count from the last.
    #[config(min = -12, max = 12)]
    pub layer_idx: Option<i64>,
    /// Emit the embedding of the whole text as a vector, too.
    #[config(default)]
    pub always_return_pooled: bool,
}

/// What is emitted as the context.
#[derive(Config, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The tokens after the last block and the final norm.
    Last,
    /// The end token alone, after the final norm.
    Pooled,
    /// The tokens after a block, without the final norm.
    Hidden,
}

impl Settings {
    /// Blocks whose output is read, and what of it: `None` is the final norm's.
    fn hidden_block(&self, text: &ClipText) -> std::result::Result<Option<i64>, ConfigError> {
        if self.layer != Layer::Hidden {
            return Ok(None);
        }
        let Some(idx) = self.layer_idx else {
            return Err(ConfigError::new("/layer_idx", "is needed where `layer` is \"hidden\""));
        };
        let block = if idx < 0 { text.layers + 1 + idx } else { idx };
        match (0..=text.layers).contains(&block) {
            true => Ok(Some(block)),
            false => Err(ConfigError::new("/layer_idx", format!("{idx} is none of the {} blocks", text.layers))),
        }
    }
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    let text = one_of(settings.arch, settings.text, Clip::text, ["arch", "text"])?;
    settings.hidden_block(&text)?;
    match settings.max_length <= text.context_length {
        true => Ok(()),
        false => {
            let message = format!("{} is more than the model's {} tokens", settings.max_length, text.context_length);
            Err(ConfigError::new("/max_length", message))
        }
    }
}

/// Upstream's `FrozenCLIPEmbedder`. What it keeps and does not read is not declared: blocks behind a hidden one, and
/// the final norm.
pub struct ClipTextEmbedder {
    model: ClipTextModel,
    tokens: Tokens,
    layer: Layer,
    hidden_block: Option<i64>,
    always_return_pooled: bool,
}

impl Embedder<Tensor> for ClipTextEmbedder {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let text = one_of(settings.arch, settings.text, Clip::text, ["arch", "text"])?;
        let hidden_block = settings.hidden_block(&text)?;
        let last_read = hidden_block.filter(|_| !settings.always_return_pooled);
        Ok(Self {
            model: ClipTextModel::new(Tree::new(params).sub("transformer"), text, last_read),
            tokens: Tokens::new(settings.tokenizer.as_ref(), settings.max_length, settings.pad_token_id)?,
            layer: settings.layer,
            hidden_block,
            always_return_pooled: settings.always_return_pooled,
        })
    }

    /// # Shapes
    /// - input: texts, or token ids `[n, s]`
    /// - outputs: crossattn `[n, s, width]`, or `[n, 1, width]` for the pooled layer; with `always_return_pooled`
    ///   vector `[n, width]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let ids = self.tokens.of(inputs)?;
        let states = self.model.forward(call, &ids, self.hidden_block)?;
        let pooled = || states.last.as_ref().map(|last| self.model.pool(last, &ids));
        let context = match self.layer {
            Layer::Last => states.last.as_ref().map(Tensor::shallow_clone),
            Layer::Pooled => pooled().map(|pooled| pooled.unsqueeze(1)), // [n, d] -> [n, s=1, d]
            Layer::Hidden => states.hidden.as_ref().map(Tensor::shallow_clone),
        };
        let missing = || Error::argument("a block that is read is not declared");
        let outputs = Outputs::to(Slot::Crossattn, context.ok_or_else(missing)?);
        if !self.always_return_pooled {
            return Ok(outputs);
        }
        Ok(outputs.and(Slot::Vector, pooled().ok_or_else(missing)?))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn fixture(more: Value) -> Result<Fixture<ClipTextEmbedder>> {
        let text = json!({ "width": 8, "hidden": 16, "heads": 2, "layers": 2, "context_length": 5, "vocab_size": 9,
            "eos_token_id": 8 });
        let mut settings = json!({ "text": text, "max_length": 4 });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Fixture::new(settings)
    }

    #[test]
    fn layers_have_their_shapes_and_their_parameters() {
        let ids = Tensor::from_slice2(&[[7_i64, 1, 8, 8], [7, 8, 8, 8]]);
        let run = |more: Value| {
            let fixture = fixture(more).unwrap();
            let shapes: Vec<_> = fixture.sample(&[&ids]).unwrap().iter().map(|(_, tensor)| tensor.size()).collect();
            let blocks = fixture.declared().iter().filter(|decl| decl.name.ends_with("fc1.weight")).count();
            (shapes, blocks)
        };
        assert_eq!(run(json!({})), (vec![vec![2, 4, 8]], 2));
        assert_eq!(run(json!({ "layer": "pooled" })), (vec![vec![2, 1, 8]], 2));
        assert_eq!(run(json!({ "layer": "hidden", "layer_idx": -2 })), (vec![vec![2, 4, 8]], 1));
        let pooled = json!({ "layer": "hidden", "layer_idx": 0, "always_return_pooled": true });
        assert_eq!(run(pooled), (vec![vec![2, 4, 8], vec![2, 8]], 2));
    }

    #[test]
    fn the_first_end_token_is_pooled() {
        let fixture = fixture(json!({ "always_return_pooled": true })).unwrap();
        let outputs = fixture.sample(&[&Tensor::from_slice2(&[[7_i64, 1, 8, 8], [7, 8, 8, 8]])]).unwrap();
        for (row, position) in [(0, 2), (1, 1)] {
            assert!(outputs[1].1.get(row).equal(&outputs[0].1.get(row).get(position)));
        }
    }

    #[test]
    fn layers_that_are_not_there_are_refused() {
        let error = |more: Value| fixture(more).err().unwrap().to_string();
        assert!(error(json!({ "layer": "hidden" })).starts_with("/layer_idx"));
        assert!(error(json!({ "layer": "hidden", "layer_idx": 3 })).contains("none of the 2 blocks"));
        assert!(error(json!({ "max_length": 6 })).starts_with("/max_length"));
    }
}
