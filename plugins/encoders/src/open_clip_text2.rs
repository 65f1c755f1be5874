//! `open-clip-text2`: texts by open_clip's text transformer, with the embedding of the whole text if asked.

use plugin_api::tch::prelude::*;

use crate::named::one_of;
use crate::open_clip_archs::Arch;
use crate::open_clip_text_tower::{Layer, Text, TextTower};
use crate::tokens::{TokenizerFile, Tokens, beside};
use crate::tree::Tree;

/// Texts become the tokens of a context and, if asked, a vector.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// A model by name, instead of `text`.
    pub arch: Option<Arch>,
    /// A model by its sizes, instead of `arch`.
    pub text: Option<Text>,
    /// CLIP's `tokenizer.json`. Without it only token ids are taken.
    pub tokenizer: Option<TokenizerFile>,
    /// The block whose tokens are the context.
    #[config(default = Layer::Last)]
    pub layer: Layer,
    /// Emit the embedding of the whole text as a vector, too.
    #[config(default)]
    pub always_return_pooled: bool,
    /// Put the final norm behind the context (upstream's default; SDXL was trained without).
    #[config(default = true)]
    pub legacy: bool,
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    one_of(settings.arch, settings.text, Arch::text, ["arch", "text"])?;
    match settings.legacy && settings.always_return_pooled {
        false => Ok(()),
        true => Err(ConfigError::new("/legacy", "must be false where `always_return_pooled` is true")),
    }
}

/// Upstream's `FrozenOpenCLIPEmbedder2`. What it keeps and does not read is not declared.
pub struct OpenClipText2 {
    tower: TextTower,
    text_projection: Option<Param>,
    tokens: Tokens,
    settings: Settings,
}

impl Embedder<Tensor> for OpenClipText2 {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let text = one_of(settings.arch, settings.text, Arch::text, ["arch", "text"])?;
        let pooled = settings.always_return_pooled;
        let mut tree = Tree::new(params);
        let tower = TextTower::new(tree.sub("model"), text, pooled || settings.layer == Layer::Last);
        let init = Init::Normal { std: (text.width as f64).powf(-0.5) };
        let text_projection =
            pooled.then(|| tree.sub("model").param("text_projection", &[text.width, text.embed_dim], init));
        let tokens = Tokens::new(settings.tokenizer.as_ref(), text.context_length, 0)?;
        Ok(Self { tower, text_projection, tokens, settings })
    }

    /// # Shapes
    /// - input: texts, or token ids `[n, context_length]`, filled up with zeros
    /// - outputs: crossattn `[n, context_length, width]`; with `always_return_pooled` vector `[n, embed_dim]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let ids = self.tokens.of(inputs)?;
        let hidden = self.tower.forward(call, &ids)?;
        let context = hidden.layer(self.settings.layer)?;
        if self.settings.legacy {
            return Ok(Outputs::to(Slot::Crossattn, self.tower.ln_final.forward(call, &context)?));
        }
        let outputs = Outputs::to(Slot::Crossattn, context);
        let Some(projection) = self.text_projection else { return Ok(outputs) };
        let last = self.tower.ln_final.forward(call, &hidden.layer(Layer::Last)?)?;
        // The end token has the highest id.
        let pooled = at_positions(&last, &beside(&ids, &last).argmax(-1, false)).f_matmul(call.param(projection))?;
        Ok(outputs.and(Slot::Vector, pooled))
    }
}

/// One token of each row.
///
/// # Shapes
/// - `tokens`: `[n, s, d]`
/// - `positions`: `[n]`
/// - result: `[n, d]`
pub fn at_positions(tokens: &Tensor, positions: &Tensor) -> Tensor {
    let index = positions.reshape([-1, 1, 1]).expand([-1, 1, tokens.size()[2]], false);
    tokens.gather(1, &index, false).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn settings(more: Value) -> Value {
        let text = json!({ "embed_dim": 6, "width": 8, "heads": 2, "layers": 2, "context_length": 4, "vocab_size": 9 });
        let mut settings = json!({ "text": text });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    #[test]
    fn the_pooled_text_is_that_of_its_end_token() {
        let fixture = Fixture::<OpenClipText2>::new(settings(
            json!({ "layer": "penultimate", "legacy": false, "always_return_pooled": true }),
        ))
        .unwrap();
        let ids = Tensor::from_slice2(&[[7_i64, 1, 8, 0], [7, 1, 8, 5]]);
        let outputs = fixture.sample(&[&ids]).unwrap();
        assert_eq!((outputs[0].0, outputs[0].1.size()), (Some(Slot::Crossattn), vec![2, 4, 8]));
        assert_eq!((outputs[1].0, outputs[1].1.size()), (Some(Slot::Vector), vec![2, 6]));
        // What comes after the end token does not change it.
        assert!(outputs[1].1.get(0).allclose(&outputs[1].1.get(1), 1e-5, 1e-6, false));
        assert!(!outputs[0].1.get(0).allclose(&outputs[0].1.get(1), 1e-5, 1e-6, false));
    }

    #[test]
    fn the_final_norm_is_legacys() {
        let variance = |legacy: bool| {
            let mut fixture = Fixture::<OpenClipText2>::new(settings(json!({ "legacy": legacy }))).unwrap();
            // Far from a variance of one, whatever the random numbers.
            let table = fixture.declared().iter().find(|decl| decl.name.ends_with("token_embedding.weight"));
            let table = table.unwrap().name.clone();
            let large = fixture.param(&table) as &Tensor * 100.0;
            *fixture.param(&table) = large;
            let output = fixture.sample(&[&Tensor::from_slice2(&[[7_i64, 1, 8, 0]])]).unwrap().remove(0).1;
            output.get(0).get(1).std(false).double_value(&[])
        };
        assert!((variance(true) - 1.0).abs() < 1e-2 && (variance(false) - 1.0).abs() > 1e-2);
        let both = settings(json!({ "always_return_pooled": true }));
        assert!(Fixture::<OpenClipText2>::new(both).err().unwrap().to_string().starts_with("/legacy"));
    }
}
