//! `byt5`: texts, byte by byte, by ByT5's encoder.

use plugin_api::tch::prelude::*;

use crate::named::{named, one_of};
use crate::t5_model::{T5Encoder, T5Sizes};
use crate::tokens::row;
use crate::tree::Tree;

named! {
    /// A model by its name in the hub, under `google/`.
    pub enum Arch {
        /// 12 blocks.
        Small = "byt5-small",
        /// 18 blocks.
        Base = "byt5-base",
        /// 36 blocks.
        Large = "byt5-large",
        /// 36 blocks, wider.
        Xl = "byt5-xl",
        /// 36 blocks, the widest.
        Xxl = "byt5-xxl",
    }
}

impl Arch {
    /// Its sizes.
    pub fn sizes(self) -> T5Sizes {
        let sizes = match self {
            Self::Small => [1472, 3584, 12, 6],
            Self::Base => [1536, 3968, 18, 12],
            Self::Large => [1536, 3840, 36, 16],
            Self::Xl => [2560, 6720, 36, 32],
            Self::Xxl => [4672, 12352, 36, 64],
        };
        T5Sizes::v1_1(384, sizes)
    }
}

/// Texts become the tokens of a context, one a byte.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// A model by name, instead of `text`.
    pub arch: Option<Arch>,
    /// A model by its sizes, instead of `arch`.
    pub text: Option<T5Sizes>,
    /// Tokens of a text, the end token among them.
    #[config(default = 77, min = 1)]
    pub max_length: i64,
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    let sizes = one_of(settings.arch, settings.text, Arch::sizes, ["arch", "text"])?;
    match sizes.vocab_size >= FIRST_BYTE + 256 {
        true => Ok(()),
        false => Err(ConfigError::new("/text/vocab_size", format!("{} are too few for bytes", sizes.vocab_size))),
    }
}

/// The id of byte 0, after those of padding, end and unknown.
const FIRST_BYTE: i64 = 3;
const PADDING: u32 = 0;
const END: u32 = 1;

/// The ids of a text: its bytes, cut so that the end token fits.
fn ids(text: &str, length: i64) -> Vec<u32> {
    let bytes = text.bytes().take(length as usize - 1).map(|byte| u32::from(byte) + FIRST_BYTE as u32);
    bytes.chain([END]).collect()
}

/// Upstream's `FrozenByT5Embedder`.
pub struct ByT5 {
    model: T5Encoder,
    max_length: i64,
}

impl Embedder<Tensor> for ByT5 {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let sizes = one_of(settings.arch, settings.text, Arch::sizes, ["arch", "text"])?;
        let model = T5Encoder::new(Tree::new(params).sub("transformer"), sizes);
        Ok(Self { model, max_length: settings.max_length })
    }

    /// # Shapes
    /// - input: texts, or token ids `[n, s]`, filled up with zeros
    /// - output: crossattn `[n, s, width]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let ids = match inputs.tensor() {
            Ok(ids) => ids.shallow_clone(),
            Err(_) => {
                let texts = inputs.texts()?;
                let rows: Vec<i64> = texts
                    .iter()
                    .flat_map(|text| row(&ids(text, self.max_length), self.max_length, PADDING).collect::<Vec<_>>())
                    .collect();
                Tensor::from_slice(&rows).reshape([texts.len() as i64, self.max_length])
            }
        };
        Ok(Outputs::to(Slot::Crossattn, self.model.forward(call, &ids)?))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;
    use crate::formula::fill;

    #[test]
    fn bytes_are_tokens_and_the_end_stays() {
        assert_eq!(ids("aé", 9), [100, 198, 172, 1]);
        assert_eq!(ids("fox", 3), [105, 114, 1]);
        let text = |vocab_size: i64| json!({ "text": { "width": 8, "heads": 2, "hidden": 10, "layers": 1, "vocab_size": vocab_size } });
        let fixture = Fixture::<ByT5>::new(text(259)).unwrap();
        let ids = Tensor::from_slice2(&[[258_i64, 1, 0]]);
        assert_eq!(fixture.sample(&[&ids]).unwrap()[0].1.size(), [1, 3, 8]);
        assert!(Fixture::<ByT5>::new(text(258)).err().unwrap().to_string().starts_with("/text/vocab_size"));
    }

    // The expected numbers come from the transformers library.

    #[test]
    fn equals_the_transformers_library() {
        let tokens = |text: &str, length: i64| row(&ids(text, length), length, PADDING).collect::<Vec<_>>();
        assert_eq!(tokens("aé", 9), [100, 198, 172, 1, 0, 0, 0, 0, 0]);
        assert_eq!(tokens("a fox turns", 5), [100, 35, 105, 114, 1]);
        assert_eq!(tokens("", 3), [1, 0, 0]);
        let text = json!({ "width": 8, "heads": 2, "head_width": 3, "hidden": 10, "layers": 2, "vocab_size": 384,
            "num_buckets": 8, "max_distance": 6 });
        let mut fixture = Fixture::<ByT5>::new(json!({ "text": text })).unwrap();
        fill(&mut fixture);
        let ids = Tensor::from_slice(&tokens("aé fox", 9)).unsqueeze(0);
        crate::formula::check(
            &fixture.sample(&[&ids]).unwrap()[0].1,
            [0.910933, -1.073915, 0.369662, 1.669246, -1.607662, -0.088938, 0.762397, -0.82629],
            [1.008667, -0.460646, -0.768222, 2.378071, -0.397727, -0.979508, 0.968579, -0.483011],
            1.154_506_4,
        );
    }
}
