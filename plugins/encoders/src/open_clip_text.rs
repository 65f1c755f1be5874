//! `open-clip-text`: texts by open_clip's text transformer.

use plugin_api::tch::prelude::*;

use crate::named::one_of;
use crate::open_clip_archs::Arch;
use crate::open_clip_text_tower::{Layer, Text, TextTower};
use crate::tokens::{TokenizerFile, Tokens};
use crate::tree::Tree;

/// Texts become the tokens of a context.
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
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    one_of(settings.arch, settings.text, Arch::text, ["arch", "text"]).map(|_| ())
}

/// Upstream's `FrozenOpenCLIPEmbedder`. What it keeps and never reads is not declared: the projection, and the last
/// block where the penultimate one is wanted.
pub struct OpenClipText {
    tower: TextTower,
    tokens: Tokens,
    layer: Layer,
}

impl Embedder<Tensor> for OpenClipText {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let text = one_of(settings.arch, settings.text, Arch::text, ["arch", "text"])?;
        let layer = settings.layer;
        Ok(Self {
            tower: TextTower::new(Tree::new(params).sub("model"), text, layer == Layer::Last),
            tokens: Tokens::new(settings.tokenizer.as_ref(), text.context_length, 0)?,
            layer,
        })
    }

    /// # Shapes
    /// - input: texts, or token ids `[n, context_length]`, filled up with zeros
    /// - output: crossattn `[n, context_length, width]`, after the final norm
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let ids = self.tokens.of(inputs)?;
        let hidden = self.tower.forward(call, &ids)?.layer(self.layer)?;
        Ok(Outputs::to(Slot::Crossattn, self.tower.ln_final.forward(call, &hidden)?))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn fixture(layer: &str) -> Fixture<OpenClipText> {
        let text = json!({ "embed_dim": 6, "width": 8, "heads": 2, "layers": 2, "context_length": 4, "vocab_size": 9 });
        Fixture::new(json!({ "text": text, "layer": layer })).unwrap()
    }

    #[test]
    fn a_token_sees_itself_and_those_before_it() {
        let embed = |ids: [i64; 4]| {
            let mut fixture = fixture("last");
            for name in fixture.declared().iter().map(|decl| decl.name.clone()).collect::<Vec<_>>() {
                let param = fixture.param(&name);
                let count = param.numel() as i64;
                let values = Tensor::arange(count, (Kind::Float, plugin_api::tch::Device::Cpu));
                *param = (values * 0.7).sin().reshape(param.size());
            }
            fixture.sample(&[&Tensor::from_slice(&ids).reshape([1, 4])]).unwrap().remove(0).1.get(0)
        };
        let (a, b) = (embed([1, 2, 3, 0]), embed([1, 2, 4, 0]));
        assert!(a.narrow(0, 0, 2).allclose(&b.narrow(0, 0, 2), 1e-5, 1e-6, false));
        assert!(!a.get(3).allclose(&b.get(3), 1e-5, 1e-6, false));
    }

    #[test]
    fn what_is_not_read_is_not_declared() {
        let blocks = |layer: &str| {
            let names: Vec<String> = fixture(layer).declared().iter().map(|decl| decl.name.clone()).collect();
            assert!(names.contains(&"model.ln_final.weight".to_owned()));
            names.iter().filter(|name| name.ends_with("attn.in_proj_weight")).count()
        };
        assert_eq!((blocks("last"), blocks("penultimate")), (2, 1));
    }

    #[test]
    fn ids_of_another_length_or_vocabulary_and_settings_without_sizes_are_refused() {
        let message =
            |ids: &[i64]| fixture("last").sample(&[&Tensor::from_slice(ids).reshape([1, -1])]).unwrap_err().message;
        assert!(message(&[1, 2, 3]).contains("[n, 4]"));
        assert!(message(&[1, 2, 3, 9]).contains("from 0 to 8"));
        let settings: Value = json!({ "layer": "last" });
        assert!(Fixture::<OpenClipText>::new(settings).err().unwrap().message.contains("`arch`"));
    }
}
