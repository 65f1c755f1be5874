//! `gaussian-encoder`: images as samples of a Gaussian whose moments an encoder gives.

use plugin_api::tch::prelude::*;

use crate::frame_encoder::{EncoderSizes, FrameEncoder};
use crate::tree::Tree;

/// Images become latents, the tokens of a context or an image to concatenate.
#[derive(Config)]
pub struct Settings {
    /// The encoder.
    pub encoder: EncoderSizes,
    /// Make the positions of a latent the tokens of a context.
    #[config(default = true)]
    pub flatten_output: bool,
}

/// Upstream's `GaussianEncoder`, without the divergence, which its conditioner cannot take.
pub struct GaussianEncoder {
    encoder: FrameEncoder,
    settings: Settings,
}

impl Embedder<Tensor> for GaussianEncoder {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let encoder = FrameEncoder::sampling(Tree::new(params), &settings.encoder)?;
        Ok(Self { encoder, settings })
    }

    /// # Shapes
    /// - input: images `[n, c, h, w]`
    /// - output: crossattn `[n, h' * w', z]`, or concat `[n, z, h', w']` without `flatten_output`
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let latents = self.encoder.forward(call, inputs.tensor()?, None)?;
        Ok(match self.settings.flatten_output {
            true => Outputs::to(Slot::Crossattn, latents.flatten(2, 3).transpose(1, 2)), // [n, c, h, w] -> [n, h*w, c]
            false => Outputs::to(Slot::Concat, latents),
        })
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;
    use plugin_api::tch::testing::Fixture;
    use serde_json::json;

    use super::*;

    #[test]
    fn positions_are_tokens_and_noise_moves_them() {
        let encoder = json!({ "ch": 32, "ch_mult": [1, 1], "num_res_blocks": 0, "attn_resolutions": [], "resolution": 8,
            "z_channels": 4 });
        let images = Tensor::randn([2, 3, 8, 8], (Kind::Float, Device::Cpu));
        let noise = |value: f64| Tensor::full([2, 4, 4, 4], value, (Kind::Float, Device::Cpu));
        let fixture = Fixture::<GaussianEncoder>::new(json!({ "encoder": encoder })).unwrap();
        assert_eq!(fixture.declared()[0].name, "conv_in.weight");
        let fixture = fixture.draw("posterior", noise(0.0));
        let (slot, mean) = fixture.train(&[&images]).unwrap().remove(0);
        assert_eq!((slot, mean.size()), (Some(Slot::Crossattn), vec![2, 16, 4]));
        let fixture = fixture.draw("posterior", noise(1.0));
        let moved = fixture.train(&[&images]).unwrap().remove(0).1;
        assert_eq!(moved.gt_tensor(&mean).all().int64_value(&[]), 1);
    }
}
