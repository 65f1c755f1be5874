//! `open-clip-image`: images by open_clip's vision transformer.

use plugin_api::tch::prelude::*;

use crate::named::one_of;
use crate::open_clip_archs::Arch;
use crate::open_clip_vision::{Vision, VisionTower};
use crate::resize::preprocess;
use crate::tree::Tree;

/// Images are resized to 224 by 224 pixels and embedded by the vision tower of a CLIP.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// A model by name, instead of `vision`.
    pub arch: Option<Arch>,
    /// A model by its sizes, instead of `arch`.
    pub vision: Option<Vision>,
    /// Blur images before they are shrunk.
    #[config(default = true)]
    pub antialias: bool,
    /// Probability that an image's embedding is zeroed in training, drawn here for each image (each crop, if there
    /// are crops) and again for its tokens. Conditions are dropped by the host's `ucg_rate` otherwise.
    #[config(default = 0.0, min = 0.0, max = 1.0)]
    pub drop_rate: f64,
    /// Make the embedding a context of one token, for cross-attention, instead of a vector.
    #[config(default)]
    pub unsqueeze_dim: bool,
    /// Emit the embedding `max_length` times as a context, too.
    #[config(default)]
    pub repeat_to_max_len: bool,
    /// Images of a row; their embeddings are the first tokens of a context of `max_length`, the rest is zero.
    #[config(default = 0, min = 0)]
    pub num_image_crops: i64,
    /// Emit the tokens of the image's patches, too.
    #[config(default)]
    pub output_tokens: bool,
    /// Tokens of a context that is repeated or filled up.
    #[config(default = 77, min = 1)]
    pub max_length: i64,
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    one_of(settings.arch, settings.vision, Arch::vision, ["arch", "vision"])?;
    let crops = settings.num_image_crops;
    let excluded = [
        ("/output_tokens", settings.output_tokens && crops > 0, "`num_image_crops`"),
        ("/output_tokens", settings.output_tokens && settings.repeat_to_max_len, "`repeat_to_max_len`"),
        ("/unsqueeze_dim", settings.unsqueeze_dim && crops > 0, "`num_image_crops`, which makes a context already"),
        ("/repeat_to_max_len", settings.repeat_to_max_len && crops > 0, "`num_image_crops`, which fills up instead"),
    ];
    if let Some((path, _, other)) = excluded.iter().find(|(_, both, _)| *both) {
        return Err(ConfigError::new(*path, format!("does not go with {other}")));
    }
    if crops > settings.max_length {
        return Err(ConfigError::new("/num_image_crops", format!("{crops} crops are more than `max_length` tokens")));
    }
    Ok(())
}

/// Upstream's `FrozenOpenCLIPImageEmbedder`. Parameters of the text tower that upstream keeps and never reads are not
/// declared.
pub struct OpenClipImage {
    tower: ImageTower,
    settings: Settings,
}

impl Embedder<Tensor> for OpenClipImage {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let vision = one_of(settings.arch, settings.vision, Arch::vision, ["arch", "vision"])?;
        let tower = ImageTower::new(Tree::new(params), vision, settings.antialias);
        Ok(Self { tower, settings })
    }

    /// # Shapes
    /// - input: images `[n, 3, h, w]` in `[-1, 1]`, or `[n, num_image_crops, 3, h, w]`
    /// - outputs, each where its rank belongs: the embedding `[n, d]`, or `[n, 1, d]` with `unsqueeze_dim`; before it
    ///   with `output_tokens` the tokens `[n, s, width]`, with `repeat_to_max_len` the context `[n, max_length, d]`.
    ///   With crops the context `[n, max_length, d]`, then its first token `[n, d]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let images = inputs.tensor()?;
        let (pooled, tokens) = self.tower.forward(call, &self.rows(images)?)?;
        let rate = self.settings.drop_rate;
        if self.settings.num_image_crops > 0 {
            return self.crops(&drop_rows(call, "drop", &pooled, rate)?);
        }
        let pooled = drop_rows(call, "drop", &pooled, rate)?.to_kind(images.kind());
        let pooled = if self.settings.unsqueeze_dim { pooled.unsqueeze(1) } else { pooled };
        if self.settings.output_tokens {
            let tokens = drop_rows(call, "drop_tokens", &tokens, rate)?;
            return Ok([tokens, pooled].into_iter().collect());
        }
        if self.settings.repeat_to_max_len {
            let token = if pooled.dim() == 2 { pooled.unsqueeze(1) } else { pooled.shallow_clone() };
            let repeated = token.repeat([1, self.settings.max_length, 1]);
            return Ok([repeated, pooled].into_iter().collect());
        }
        Ok(Outputs::by_rank(pooled))
    }
}

impl OpenClipImage {
    /// The images as rows: crops are rows of their own.
    fn rows(&self, images: &Tensor) -> Result<Tensor> {
        let (size, crops) = (images.size(), self.settings.num_image_crops);
        let fits = match size.len() {
            5 => size[1] == crops,
            _ => crops == 0 || size[0] % crops == 0,
        };
        if !fits {
            return Err(Error::argument(format!("{crops} crops of an image are wanted, got {size:?}")));
        }
        Ok(if size.len() == 5 { images.flatten(0, 1) } else { images.shallow_clone() })
    }

    /// # Shapes
    /// - `pooled`: `[n * num_image_crops, d]`
    fn crops(&self, pooled: &Tensor) -> Result<Outputs> {
        let Settings { num_image_crops, max_length, .. } = self.settings;
        let tokens = pooled.unflatten(0, [-1, num_image_crops]); // [n*s, d] -> [n, s, d]
        let filled = tokens.f_constant_pad_nd([0, 0, 0, max_length - num_image_crops])?;
        let first = filled.select(1, 0);
        Ok([filled, first].into_iter().collect())
    }
}

/// The vision tower behind CLIP's resizing, at upstream's keys.
pub struct ImageTower {
    visual: VisionTower,
    antialias: bool,
}

impl ImageTower {
    /// Keys `model.visual.*`.
    pub fn new(mut at: Tree<'_>, vision: Vision, antialias: bool) -> Self {
        Self { visual: VisionTower::new(at.sub("model").sub("visual"), vision), antialias }
    }

    /// # Shapes
    /// - `images`: `[n, 3, h, w]` in `[-1, 1]`
    /// - results: `[n, embed_dim]` and tokens `[n, s, width]`
    pub fn forward(&self, call: &Call<'_>, images: &Tensor) -> Result<(Tensor, Tensor)> {
        self.visual.forward(call, &preprocess(images, self.antialias)?)
    }
}

/// Zeroes rows with probability `rate` in training. A row is dropped where its normal number lies in the lower tail
/// of that probability.
///
/// # Shapes
/// - `value` and result: `[n, ...]`
pub fn drop_rows(call: &Call<'_>, purpose: &str, value: &Tensor, rate: f64) -> Result<Tensor> {
    if rate == 0.0 || !call.training() {
        return Ok(value.shallow_clone());
    }
    let mut shape = vec![1; value.dim()];
    shape[0] = value.size()[0];
    let kept = call.normal(purpose, &shape)?.special_ndtr().ge(rate);
    Ok(value * kept.type_as(value))
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn fixture(more: Value) -> Fixture<OpenClipImage> {
        let vision = json!({ "embed_dim": 6, "width": 8, "layers": 1, "head_width": 4, "patch_size": 112 });
        let mut settings = json!({ "vision": vision });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Fixture::new(settings).unwrap_or_else(|error| panic!("{error}"))
    }

    fn images(rows: i64) -> Tensor {
        Tensor::rand([rows, 3, 20, 24], (Kind::Float, Device::Cpu)) * 2.0 - 1.0
    }

    fn is_zero(value: &Tensor) -> bool {
        value.abs().max().double_value(&[]) == 0.0
    }

    #[test]
    fn keys_are_upstreams_and_only_what_is_read_is_declared() {
        let fixture = fixture(json!({}));
        let names: Vec<&str> = fixture.declared().iter().map(|decl| decl.name.as_str()).collect();
        assert_eq!(
            names[..3],
            ["model.visual.conv1.weight", "model.visual.class_embedding", "model.visual.positional_embedding"]
        );
        assert!(names.contains(&"model.visual.transformer.resblocks.0.attn.in_proj_weight"));
        assert!(names.iter().all(|name| name.starts_with("model.visual.")), "{names:?}");
        assert_eq!(fixture.declared()[2].shape, [5, 8]);
    }

    #[test]
    fn ranks_are_those_that_upstream_gives() {
        let shapes = |more: Value, input: &Tensor| -> Vec<Vec<i64>> {
            fixture(more).sample(&[input]).unwrap().iter().map(|(_, tensor)| tensor.size()).collect()
        };
        let input = images(2);
        assert_eq!(shapes(json!({}), &input), [[2, 6]]);
        assert_eq!(shapes(json!({ "unsqueeze_dim": true }), &input), [[2, 1, 6]]);
        assert_eq!(shapes(json!({ "output_tokens": true }), &input), [vec![2, 4, 8], vec![2, 6]]);
        assert_eq!(shapes(json!({ "repeat_to_max_len": true, "max_length": 3 }), &input), [vec![2, 3, 6], vec![2, 6]]);
        let crops = json!({ "num_image_crops": 2, "max_length": 5 });
        assert_eq!(shapes(crops.clone(), &images(6).unflatten(0, [3, 2])), [vec![3, 5, 6], vec![3, 6]]);
        let filled = fixture(crops).sample(&[&input]).unwrap().remove(0).1;
        assert!(!is_zero(&filled.select(1, 1)) && is_zero(&filled.narrow(1, 2, 3)));
    }

    #[test]
    fn rows_in_the_lower_tail_are_dropped_in_training_only() {
        let draws = Tensor::from_slice(&[-0.6_f32, -0.4]).reshape([2, 1]);
        let fixture = fixture(json!({ "drop_rate": 0.3 })).draw("drop", draws);
        let value = fixture.train(&[&images(2)]).unwrap().remove(0).1;
        assert!(is_zero(&value.get(0)) && !is_zero(&value.get(1)));
        let value = fixture.sample(&[&images(2)]).unwrap().remove(0).1;
        assert!(!is_zero(&value.get(0)));
    }

    #[test]
    fn settings_that_exclude_each_other_are_told() {
        let error = |settings: Value| Fixture::<OpenClipImage>::new(settings).err().unwrap().to_string();
        assert!(error(json!({})).contains("give `arch` or the table `vision`"));
        assert!(error(json!({ "arch": "ViT-H-15" })).contains("ViT-H-14"));
        let both = json!({ "arch": "ViT-H-14", "output_tokens": true, "repeat_to_max_len": true });
        assert!(error(both).starts_with("/output_tokens"));
        let head = json!({ "vision": { "embed_dim": 6, "width": 10, "head_width": 4 } });
        assert!(error(head).starts_with("/vision/head_width"));
    }
}
