//! Texts to token ids.

use plugin_api::config::{Bounds, Setting, Value};
use plugin_api::tch::prelude::*;
use tokenizers::{Tokenizer, TruncationParams};

/// A `tokenizer.json` as the tokenizers library writes it; the host makes the path absolute and sees that it is there.
#[derive(Clone, Debug)]
pub struct TokenizerFile(String);

impl Setting for TokenizerFile {
    fn read(value: &Value, bounds: &Bounds, at: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        String::read(value, bounds, at, errors).map(Self)
    }

    fn schema(bounds: &Bounds) -> Value {
        let mut schema = String::schema(bounds);
        schema["x-anneal-path"] = Value::from("file");
        schema
    }

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

/// How the texts of an encoder become rows of one length.
pub struct Tokens {
    tokenizer: Option<Tokenizer>,
    length: i64,
    pad: u32,
}

impl Tokens {
    /// Rows of `length` ids, cut (the end token stays) or filled with `pad`. Without a file only ids are taken.
    ///
    /// # Errors
    /// When the file cannot be read, or is no tokenizer.
    pub fn new(file: Option<&TokenizerFile>, length: i64, pad: u32) -> Result<Self> {
        let tokenizer = file.map(|file| open(&file.0, length)).transpose().map_err(|reason| {
            let path = file.map_or("", |file| file.0.as_str());
            Error::config("/tokenizer", format!("{path} is no tokenizer: {reason}"))
        })?;
        Ok(Self { tokenizer, length, pad })
    }

    /// The ids of a call's only input: its texts, or the ids themselves.
    ///
    /// # Shapes
    /// - input: texts, or integers `[n, s]`
    /// - result: `[n, s]`, where `s` is `length` for texts; those of texts are on the CPU
    pub fn of(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        if let Ok(ids) = inputs.tensor() {
            return Ok(ids.shallow_clone());
        }
        let texts = inputs.texts()?;
        let Some(tokenizer) = &self.tokenizer else {
            return Err(Error::argument("was given texts, but no `tokenizer`; name a tokenizer.json in the settings"));
        };
        let mut ids = Vec::with_capacity(texts.len() * self.length as usize);
        for text in texts {
            let encoding = tokenizer.encode(text.as_str(), true);
            let encoding = encoding.map_err(|error| Error::argument(format!("{text:?} has no tokens: {error}")))?;
            ids.extend(row(encoding.get_ids(), self.length, self.pad));
        }
        Ok(Tensor::from_slice(&ids).reshape([texts.len() as i64, self.length]))
    }
}

fn open(path: &str, length: i64) -> std::result::Result<Tokenizer, tokenizers::Error> {
    let mut tokenizer = Tokenizer::from_file(path)?;
    // The file may hold other lengths, which belong to the library it was written by.
    tokenizer.with_padding(None);
    let truncation = TruncationParams { max_length: length as usize, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation))?;
    Ok(tokenizer)
}

/// `ids` filled with `pad` up to `length`.
pub fn row(ids: &[u32], length: i64, pad: u32) -> impl Iterator<Item = i64> + '_ {
    ids.iter().copied().chain(std::iter::repeat(pad)).take(length as usize).map(i64::from)
}

/// `ids` where `like` is, which may be where tensors have shapes and no values.
pub fn beside(ids: &Tensor, like: &Tensor) -> Tensor {
    // A device without values has no name in tch, but its tensors can be imitated.
    ids.type_as(&like.narrow(0, 0, 0).to_kind(ids.kind()))
}

/// Refuses ids that are none: on a GPU an id out of range would end the process instead of returning an error.
///
/// # Shapes
/// - `ids`: `[n, s]`; `s` must be `length` if that is given
///
/// # Errors
/// When the shape, the kind or a value is wrong.
pub fn check_ids(ids: &Tensor, vocab_size: i64, length: Option<i64>) -> Result<()> {
    let size = ids.size();
    if size.len() != 2 || ids.is_floating_point() || length.is_some_and(|length| length != size[1]) || ids.numel() == 0
    {
        let wanted = length.map_or("s".to_owned(), |length| length.to_string());
        return Err(Error::argument(format!(
            "wants token ids [n, {wanted}], integers; got {size:?} of {:?}",
            ids.kind()
        )));
    }
    let (low, high) = (ids.min().int64_value(&[]), ids.max().int64_value(&[]));
    if low < 0 || high >= vocab_size {
        let message = format!("token ids reach from {low} to {high}, the vocabulary from 0 to {}", vocab_size - 1);
        return Err(Error::argument(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_filled_and_ids_checked() {
        assert_eq!(row(&[5, 6], 4, 9).collect::<Vec<_>>(), [5, 6, 9, 9]);
        let ids = Tensor::from_slice2(&[[0_i64, 3], [1, 2]]);
        assert!(check_ids(&ids, 4, Some(2)).is_ok());
        let message = |vocab, length| check_ids(&ids, vocab, length).unwrap_err().message;
        assert!(message(3, None).contains("from 0 to 3"));
        assert!(message(4, Some(3)).contains("[n, 3]"));
        assert!(check_ids(&ids.to_kind(Kind::Float), 4, None).is_err());
    }

    #[test]
    fn texts_become_ids_of_one_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        let vocab = serde_json::json!({ "[UNK]": 0, "a": 1, "fox": 2, "turns": 3, "<s>": 4, "</s>": 5 });
        let special = |text: &str, id: i64| {
            serde_json::json!({ "id": id, "content": text, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true })
        };
        let file = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
            "added_tokens": [special("<s>", 4), special("</s>", 5)],
            "pre_tokenizer": { "type": "Whitespace" },
            "post_processor": { "type": "BertProcessing", "sep": ["</s>", 5], "cls": ["<s>", 4] },
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
        });
        std::fs::write(&path, file.to_string()).unwrap();
        let file = TokenizerFile(path.to_string_lossy().into_owned());
        let tokens = Tokens::new(Some(&file), 5, 7).unwrap();
        let encode = |text: &str| {
            let encoding = tokens.tokenizer.as_ref().unwrap().encode(text, true).unwrap();
            row(encoding.get_ids(), 5, 7).collect::<Vec<_>>()
        };
        assert_eq!(encode("a fox"), [4, 1, 2, 5, 7]);
        // What is too long loses words, not its end token.
        assert_eq!(encode("a fox turns a fox turns"), [4, 1, 2, 3, 5]);
        let missing = TokenizerFile(dir.path().join("none.json").to_string_lossy().into_owned());
        let error = Tokens::new(Some(&missing), 5, 7).err().unwrap();
        assert_eq!(error.config_path.as_deref(), Some("/tokenizer"));
    }
}
