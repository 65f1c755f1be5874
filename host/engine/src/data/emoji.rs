//! The `emoji` source: Twemoji's pictures with classes by words in their names.

use std::path::PathBuf;

use anneal_torch::random::Stream;
use image::{ImageFormat, imageops};
use twemoji_assets::png::PngTwemojiAsset;

use super::{DataError, Entry, Sample, SampleError, Source, pixels};
use crate::config::EmojiConfig;

/// Emoji as images of a class.
///
/// Taken are the emoji of one character, which have one picture an idea; sequences are mostly the same pictures in
/// other skin tones, and flags.
///
/// A sample has `image` `[1, 3, h, w]` in `[-1, 1]` over white, `class` `[1]` i64, and the texts `name` and
/// `class_name`.
pub struct Emoji {
    size: u32,
    class_names: Vec<String>,
    members: Vec<Member>,
}

struct Member {
    class: usize,
    name: &'static str,
    png: &'static [u8],
}

impl Emoji {
    /// Sorts the emoji into the classes.
    ///
    /// # Errors
    /// When a class has no emoji.
    pub fn open(config: &EmojiConfig) -> Result<Self, DataError> {
        let mut members = Vec::new();
        for (name, png) in pictures() {
            let words = words(name);
            let class = config
                .classes
                .iter()
                .position(|class| class.words.iter().any(|wanted| contains(&words, &self::words(wanted))));
            if let Some(class) = class {
                members.push(Member { class, name, png });
            }
        }
        for (i, class) in config.classes.iter().enumerate() {
            if !members.iter().any(|member| member.class == i) {
                let words = class.words.join(", ");
                let reason = format!(
                    "class {:?} is empty: no emoji's name has one of the words {words}, or an earlier class has them all",
                    class.name
                );
                return Err(DataError::Setting { key: "classes", reason });
            }
        }
        let class_names = config.classes.iter().map(|class| class.name.clone()).collect();
        Ok(Self { size: config.size, class_names, members })
    }
}

impl Source for Emoji {
    fn kind(&self) -> &'static str {
        "emoji"
    }

    fn num_samples(&self) -> usize {
        self.members.len()
    }

    fn sample(&self, index: usize, _draw: &mut Stream) -> Result<Sample, SampleError> {
        let member = &self.members[index];
        let image = image::load_from_memory_with_format(member.png, ImageFormat::Png).map_err(|source| {
            SampleError::Decode { path: PathBuf::from(format!("emoji {:?}", member.name)), source }
        })?;
        // Over white before scaling: colours of transparent pixels mean nothing and must not bleed in.
        let image = imageops::resize(&pixels::over_white(image), self.size, self.size, imageops::CatmullRom);
        let mut planes = Vec::new();
        pixels::append_planes(&image, &mut planes);

        let side = i64::from(self.size);
        let mut sample = Sample { frames: 1, ..Sample::default() };
        sample.put("image", Entry::f32(&[1, 3, side, side], planes));
        sample.put("class", Entry::class(member.class));
        sample.texts.insert("name".to_owned(), member.name.to_owned());
        sample.texts.insert("class_name".to_owned(), self.class_names[member.class].clone());
        Ok(sample)
    }
}

/// Names and PNGs of all emoji of one character, in code order.
fn pictures() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    // The crate has no list of its pictures; the last plane with emoji ends at U+1FFFF.
    ('\u{80}'..='\u{1ffff}').filter_map(|character| {
        let asset = PngTwemojiAsset::from_emoji(character.encode_utf8(&mut [0; 4]))?;
        Some((asset.label?, asset.data.0))
    })
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Whether `wanted`, one word or several in a row, stands in `words`.
fn contains(words: &[String], wanted: &[String]) -> bool {
    !wanted.is_empty() && words.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(classes: &str) -> Result<Emoji, DataError> {
        Emoji::open(&toml::from_str(&format!("size = 16\nclasses = [{classes}]")).unwrap())
    }

    #[test]
    fn an_emoji_is_in_the_first_class_with_a_whole_word_of_its_name() {
        let source = open(
            r#"{ name = "faces", words = ["face"] }, { name = "cats", words = ["cat"] }, { name = "red", words = ["red heart"] }"#,
        )
        .unwrap();
        let class = |name: &str| source.members.iter().find(|member| member.name == name).map(|member| member.class);
        assert_eq!(class("cat face"), Some(0), "the first class wins");
        assert_eq!(class("cat"), Some(1));
        assert_eq!(class("red heart"), Some(2), "words in a row");
        assert_eq!(class("red apple"), None);
        assert_eq!(class("eye"), None);
        assert!(source.members.iter().all(|member| !member.name.contains("caterpillar")));
    }

    #[test]
    fn a_sample_is_the_picture_over_white_with_its_names() {
        let source = open(r#"{ name = "fruit", words = ["red apple"] }"#).unwrap();
        assert_eq!(source.num_samples(), 1);
        let sample = source.sample(0, &mut Stream::new(0, "augment", 0, 0)).unwrap();
        assert_eq!((sample.texts["name"].as_str(), sample.texts["class_name"].as_str()), ("red apple", "fruit"));
        assert_eq!(sample.tensors["image"].shape, [1, 3, 16, 16]);
        let super::super::Values::F32(values) = &sample.tensors["image"].values else { panic!("images are floats") };
        let at = |c: usize, y: usize, x: usize| values[(c * 16 + y) * 16 + x];
        assert_eq!([at(0, 0, 0), at(1, 0, 0), at(2, 0, 0)], [1.0; 3], "a corner is white");
        assert!(at(0, 9, 8) > 0.5 && at(1, 9, 8) < 0.0 && at(2, 9, 8) < 0.0, "the middle is red");
    }

    #[test]
    fn an_empty_class_is_named() {
        let error =
            open(r#"{ name = "faces", words = ["face"] }, { name = "none", words = ["qwertz"] }"#).err().unwrap();
        assert!(error.to_string().starts_with("data.source.classes: class \"none\" is empty"), "{error}");
    }
}
