//! `clip-t5`: texts by CLIP's and by T5's encoder, side by side in the context.

use plugin_api::tch::prelude::*;

use crate::clip_text_model::{Clip, ClipText, ClipTextModel};
use crate::named::one_of;
use crate::t5::Arch;
use crate::t5_model::{T5Encoder, T5Sizes};
use crate::tokens::{TokenizerFile, Tokens};
use crate::tree::Tree;

/// Texts become the tokens of two contexts, which the conditioner joins by width.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// A CLIP model by name, instead of `clip`.
    pub clip_arch: Option<Clip>,
    /// A CLIP model by its sizes, instead of `clip_arch`.
    pub clip: Option<ClipText>,
    /// A T5 model by name, instead of `t5`.
    pub t5_arch: Option<Arch>,
    /// A T5 model by its sizes, instead of `t5_arch`.
    pub t5: Option<T5Sizes>,
    /// CLIP's `tokenizer.json`. Without it only token ids are taken.
    pub clip_tokenizer: Option<TokenizerFile>,
    /// T5's `tokenizer.json`. Without it only token ids are taken.
    pub t5_tokenizer: Option<TokenizerFile>,
    /// CLIP's tokens of a text.
    #[config(default = 77, min = 1)]
    pub clip_max_length: i64,
    /// T5's tokens of a text; as many as CLIP's, as both stand side by side.
    #[config(default = 77, min = 1)]
    pub t5_max_length: i64,
    /// Fills up texts that are shorter, for CLIP: the end token, in OpenAI's models.
    #[config(default = 49407)]
    pub clip_pad_token_id: u32,
}

impl Settings {
    fn sizes(&self) -> std::result::Result<(ClipText, T5Sizes), ConfigError> {
        Ok((
            one_of(self.clip_arch, self.clip, Clip::text, ["clip_arch", "clip"])?,
            one_of(self.t5_arch, self.t5, Arch::sizes, ["t5_arch", "t5"])?,
        ))
    }
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    let (clip, _) = settings.sizes()?;
    if settings.clip_max_length > clip.context_length {
        let message = format!("{} is more than the model's {} tokens", settings.clip_max_length, clip.context_length);
        return Err(ConfigError::new("/clip_max_length", message));
    }
    if settings.clip_max_length != settings.t5_max_length {
        let message = format!("{} is not the {} tokens of CLIP", settings.t5_max_length, settings.clip_max_length);
        return Err(ConfigError::new("/t5_max_length", message));
    }
    Ok(())
}

/// Upstream's `FrozenCLIPT5Encoder`.
pub struct ClipT5 {
    clip: ClipTextModel,
    clip_tokens: Tokens,
    t5: T5Encoder,
    t5_tokens: Tokens,
}

impl Embedder<Tensor> for ClipT5 {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let (clip, t5) = settings.sizes()?;
        let tokens = |key: &str, file: &Option<TokenizerFile>, length, pad| {
            Tokens::new(file.as_ref(), length, pad)
                .map_err(|error| Error { config_path: Some(format!("/{key}")), ..error })
        };
        let mut tree = Tree::new(params);
        Ok(Self {
            clip: ClipTextModel::new(tree.sub("clip_encoder").into_sub("transformer"), clip, None),
            clip_tokens: tokens(
                "clip_tokenizer",
                &settings.clip_tokenizer,
                settings.clip_max_length,
                settings.clip_pad_token_id,
            )?,
            t5: T5Encoder::new(tree.sub("t5_encoder").into_sub("transformer"), t5),
            t5_tokens: tokens("t5_tokenizer", &settings.t5_tokenizer, settings.t5_max_length, 0)?,
        })
    }

    /// # Shapes
    /// - inputs: texts; or token ids `[n, s]` of CLIP, then those of T5
    /// - outputs: crossattn `[n, s, width]` of CLIP, then that of T5
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let given: Vec<&Input<'_>> = inputs.iter().collect();
        let (clip_ids, t5_ids) = match given[..] {
            [clip, t5] => (clip.tensor()?.shallow_clone(), t5.tensor()?.shallow_clone()),
            [_] => {
                // One row of ids cannot be that of both vocabularies.
                inputs.texts()?;
                (self.clip_tokens.of(inputs)?, self.t5_tokens.of(inputs)?)
            }
            _ => return Err(Error::argument("wants texts, or the token ids of CLIP and those of T5")),
        };
        let clip = self.clip.forward(call, &clip_ids, None)?.last;
        let clip = clip.ok_or_else(|| Error::argument("the final norm is not declared"))?;
        let t5 = self.t5.forward(call, &t5_ids)?;
        Ok(Outputs::to(Slot::Crossattn, clip).and(Slot::Crossattn, t5))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;
    use crate::clip_text::ClipTextEmbedder;
    use crate::formula::fill;
    use crate::t5::T5;

    fn clip() -> Value {
        json!({ "width": 8, "hidden": 16, "heads": 2, "layers": 1, "context_length": 5, "vocab_size": 9,
            "eos_token_id": 8 })
    }

    fn t5() -> Value {
        json!({ "width": 6, "hidden": 10, "heads": 2, "head_width": 3, "layers": 1, "vocab_size": 12 })
    }

    #[test]
    fn each_context_is_that_of_its_encoder_alone() {
        let both = json!({ "clip": clip(), "t5": t5(), "clip_max_length": 4, "t5_max_length": 4 });
        let mut both = Fixture::<ClipT5>::new(both).unwrap();
        let mut alone = (
            Fixture::<ClipTextEmbedder>::new(json!({ "text": clip(), "max_length": 4 })).unwrap(),
            Fixture::<T5>::new(json!({ "text": t5() })).unwrap(),
        );
        fill(&mut alone.0);
        fill(&mut alone.1);
        for decl in both.declared().to_vec() {
            let (encoder, name) = decl.name.split_once('.').unwrap();
            *both.param(&decl.name) = match encoder {
                "clip_encoder" => alone.0.param(name).shallow_clone(),
                _ => alone.1.param(name).shallow_clone(),
            };
        }
        let (clip_ids, t5_ids) = (Tensor::from_slice2(&[[7_i64, 1, 8, 8]]), Tensor::from_slice2(&[[10_i64, 11, 1, 0]]));
        let outputs = both.sample(&[&clip_ids, &t5_ids]).unwrap();
        let want = [alone.0.sample(&[&clip_ids]).unwrap().remove(0), alone.1.sample(&[&t5_ids]).unwrap().remove(0)];
        assert_eq!(outputs.len(), 2);
        for ((slot, got), (_, want)) in outputs.iter().zip(&want) {
            assert!(*slot == Some(Slot::Crossattn) && got.equal(want));
        }
        assert!(both.sample(&[&clip_ids]).unwrap_err().message.contains("texts are wanted"));
    }

    #[test]
    fn contexts_of_different_lengths_do_not_join() {
        let error = |settings: Value| Fixture::<ClipT5>::new(settings).err().unwrap().to_string();
        let lengths = json!({ "clip": clip(), "t5": t5(), "clip_max_length": 4, "t5_max_length": 5 });
        assert!(error(lengths).starts_with("/t5_max_length"));
        assert!(error(json!({ "clip": clip(), "t5": t5() })).starts_with("/clip_max_length"));
        assert!(error(json!({ "clip": clip() })).contains("`t5_arch`"));
    }
}
