//! `open-clip-image-prediction`: conditioning frames as a context of CLIP embeddings, for each frame of a clip.

use plugin_api::tch::prelude::*;

use crate::named::one_of;
use crate::open_clip_archs::Arch;
use crate::open_clip_image::{ImageTower, drop_rows};
use crate::open_clip_vision::Vision;
use crate::tree::Tree;

/// The conditioning frames of a scene become the tokens of a context, which is repeated for each frame of the clip.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// A model by name, instead of `vision`.
    pub arch: Option<Arch>,
    /// A model by its sizes, instead of `arch`.
    pub vision: Option<Vision>,
    /// Conditioning frames of a scene.
    #[config(default = 1, min = 1)]
    pub n_cond_frames: i64,
    /// How often a scene's context is repeated: the frames of a clip, or 1 where the network repeats it. 0 counts the frames
    /// in each batch.
    #[config(default = 1, min = 0)]
    pub n_copies: i64,
    /// Blur images before they are shrunk.
    #[config(default = true)]
    pub antialias: bool,
    /// Probability that a frame's embedding is zeroed in training, drawn here for each frame. Conditions are dropped
    /// by the host's `ucg_rate` otherwise.
    #[config(default = 0.0, min = 0.0, max = 1.0)]
    pub drop_rate: f64,
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    one_of(settings.arch, settings.vision, Arch::vision, ["arch", "vision"]).map(|_| ())
}

/// Upstream's `FrozenOpenCLIPImagePredictionEmbedder`.
pub struct OpenClipImagePrediction {
    tower: ImageTower,
    settings: Settings,
}

impl Embedder<Tensor> for OpenClipImagePrediction {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let vision = one_of(settings.arch, settings.vision, Arch::vision, ["arch", "vision"])?;
        let tower = ImageTower::new(Tree::new(params).sub("open_clip"), vision, settings.antialias);
        Ok(Self { tower, settings })
    }

    /// # Shapes
    /// - input: conditioning frames `[b * n_cond_frames, 3, h, w]` in `[-1, 1]`
    /// - output: crossattn `[b * n_copies, n_cond_frames, embed_dim]`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let Settings { n_cond_frames, n_copies, drop_rate, .. } = self.settings;
        let frames = inputs.tensor()?;
        let size = frames.size();
        if size.first().is_none_or(|rows| rows % n_cond_frames != 0) {
            let message = format!("wants {n_cond_frames} conditioning frames for each scene, got {size:?}");
            return Err(Error::argument(message));
        }
        let (pooled, _) = self.tower.forward(call, frames)?;
        let pooled = drop_rows(call, "drop", &pooled, drop_rate)?.to_kind(frames.kind());
        let context = pooled.unflatten(0, [-1, n_cond_frames]); // [b*t, d] -> [b, t, d]
        let copies = if n_copies == 0 { call.frames_per_scene() } else { n_copies };
        Ok(Outputs::to(Slot::Crossattn, context.repeat_interleave_self_int(copies, 0, None)))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scenes_frames_are_its_tokens_in_every_copy() {
        let vision = json!({ "embed_dim": 6, "width": 8, "layers": 1, "head_width": 4, "patch_size": 112 });
        let settings = json!({ "vision": vision, "n_cond_frames": 2, "n_copies": 3 });
        let fixture = Fixture::<OpenClipImagePrediction>::new(settings).unwrap();
        assert_eq!(fixture.declared()[0].name, "open_clip.model.visual.conv1.weight");
        let frames = Tensor::rand([4, 3, 20, 20], (Kind::Float, Device::Cpu));
        let (slot, context) = fixture.train(&[&frames]).unwrap().remove(0);
        assert_eq!((slot, context.size()), (Some(Slot::Crossattn), vec![6, 2, 6]));
        let alone = fixture.train(&[&frames.flip([0])]).unwrap().remove(0).1;
        for copy in 0..3 {
            assert!(context.get(copy).equal(&context.get(0)));
            // The first scene's second frame is the last row but two.
            assert!(context.get(copy).get(1).allclose(&alone.get(3).get(0), 1e-4, 1e-5, false));
        }
        let settings = json!({ "vision": vision, "n_copies": 0 });
        let counted = Fixture::<OpenClipImagePrediction>::new(settings).unwrap().scenes(4, 7);
        assert_eq!(counted.train(&[&frames]).unwrap().remove(0).1.size(), [28, 1, 6]);
        assert!(fixture.train(&[&frames.narrow(0, 0, 3)]).unwrap_err().message.contains("2 conditioning frames"));
    }
}
