//! `t5`: texts by T5's encoder.

use plugin_api::tch::prelude::*;

use crate::named::{named, one_of};
use crate::t5_model::{T5Encoder, T5Sizes};
use crate::tokens::{TokenizerFile, Tokens};
use crate::tree::Tree;

named! {
    /// A model by its name in the hub, under `google/`.
    pub enum Arch {
        /// 8 blocks.
        Small = "t5-v1_1-small",
        /// 12 blocks.
        Base = "t5-v1_1-base",
        /// 24 blocks.
        Large = "t5-v1_1-large",
        /// 24 blocks, twice as wide.
        Xl = "t5-v1_1-xl",
        /// 24 blocks, four times as wide.
        Xxl = "t5-v1_1-xxl",
    }
}

impl Arch {
    /// Its sizes.
    pub fn sizes(self) -> T5Sizes {
        let sizes = match self {
            Self::Small => [512, 1024, 8, 6],
            Self::Base => [768, 2048, 12, 12],
            Self::Large => [1024, 2816, 24, 16],
            Self::Xl => [2048, 5120, 24, 32],
            Self::Xxl => [4096, 10240, 24, 64],
        };
        T5Sizes::v1_1(32128, sizes)
    }
}

/// Texts become the tokens of a context.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// A model by name, instead of `text`.
    pub arch: Option<Arch>,
    /// A model by its sizes, instead of `arch`.
    pub text: Option<T5Sizes>,
    /// The model's `tokenizer.json`. Without it only token ids are taken.
    pub tokenizer: Option<TokenizerFile>,
    /// Tokens of a text.
    #[config(default = 77, min = 1)]
    pub max_length: i64,
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    one_of(settings.arch, settings.text, Arch::sizes, ["arch", "text"]).map(|_| ())
}

/// Upstream's `FrozenT5Embedder`.
pub struct T5 {
    model: T5Encoder,
    tokens: Tokens,
}

impl Embedder<Tensor> for T5 {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let sizes = one_of(settings.arch, settings.text, Arch::sizes, ["arch", "text"])?;
        Ok(Self {
            model: T5Encoder::new(Tree::new(params).sub("transformer"), sizes),
            tokens: Tokens::new(settings.tokenizer.as_ref(), settings.max_length, 0)?,
        })
    }

    /// # Shapes
    /// - input: texts, or token ids `[n, s]`, filled up with zeros
    /// - output: crossattn `[n, s, width]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let ids = self.tokens.of(inputs)?;
        Ok(Outputs::to(Slot::Crossattn, self.model.forward(call, &ids)?))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;
    use crate::formula::{check, fill};

    #[test]
    fn keys_are_those_of_the_transformers_library() {
        let text = |feed_forward: &str| {
            json!({ "text": { "width": 8, "heads": 2, "head_width": 3, "hidden": 10, "layers": 2, "vocab_size": 9,
                "feed_forward": feed_forward } })
        };
        let fixture = Fixture::<T5>::new(text("gated-gelu")).unwrap();
        let names: Vec<&str> = fixture.declared().iter().map(|decl| decl.name.as_str()).collect();
        let block = |i: i64| format!("transformer.encoder.block.{i}.layer");
        assert_eq!(names[0], "transformer.shared.weight");
        assert!(names.contains(&format!("{}.0.SelfAttention.relative_attention_bias.weight", block(0)).as_str()));
        assert!(!names.contains(&format!("{}.0.SelfAttention.relative_attention_bias.weight", block(1)).as_str()));
        assert!(names.contains(&format!("{}.1.DenseReluDense.wi_1.weight", block(1)).as_str()));
        assert_eq!(names.len(), 2 + 1 + 2 * 9);
        let plain = Fixture::<T5>::new(text("relu")).unwrap();
        assert!(plain.declared().iter().any(|decl| decl.name.ends_with("DenseReluDense.wi.weight")));
        let ids = Tensor::from_slice2(&[[3_i64, 4, 1, 0, 0]]);
        assert_eq!(fixture.sample(&[&ids]).unwrap()[0].1.size(), [1, 5, 8]);
        assert!(plain.sample(&[&(ids + 5)]).unwrap_err().message.contains("from 5 to 9"));
    }

    // The expected numbers come from the transformers library.

    #[test]
    fn equals_the_transformers_library() {
        let settings = |feed_forward: &str| {
            json!({ "text": { "width": 8, "heads": 2, "head_width": 3, "hidden": 10, "layers": 2, "vocab_size": 20,
                "num_buckets": 8, "max_distance": 6, "feed_forward": feed_forward } })
        };
        let run = |feed_forward: &str| {
            let mut fixture = Fixture::<T5>::new(settings(feed_forward)).unwrap();
            fill(&mut fixture);
            let ids = Tensor::from_slice2(&[[3_i64, 4, 5, 6, 7, 8, 9, 10, 11, 1, 0, 0]]);
            fixture.sample(&[&ids]).unwrap().remove(0).1
        };
        check(
            &run("gated-gelu"),
            [-0.979364, 1.031332, -0.261625, -1.61585, 1.666798, 0.188996, -0.79129, 0.776012],
            [1.012115, -0.600554, -0.617688, 2.324218, -0.606767, -0.838988, 0.978569, -0.549694],
            1.187_549_5,
        );
        check(
            &run("relu"),
            [-0.828331, 0.768251, 0.209528, -1.70765, 1.420409, 0.464255, -1.279004, 0.789663],
            [0.165063, 1.315975, -0.888467, -0.036299, 1.412362, -1.925437, -0.519093, 0.846612],
            1.138_538,
        );
    }
}
