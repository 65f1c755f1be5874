//! `fourier`: coordinates as sinusoids, so that a network can make sharp shapes of them.

use std::f64::consts::PI;

use plugin_api::native::prelude::*;

/// Coordinates in `[-1, 1]` become sines and cosines of doubling frequency.
#[derive(Config)]
pub struct Settings {
    /// Frequencies: pi, 2 pi, 4 pi and so on.
    #[config(default = 4, min = 1, max = 16)]
    pub octaves: i64,
    /// Emit the coordinates themselves, too.
    #[config(default = true)]
    pub include_input: bool,
}

/// The positional encoding of Mildenhall et al. 2020 (NeRF), equation 4.
pub struct Fourier {
    settings: Settings,
}

impl Embedder for Fourier {
    type Config = Settings;

    fn new(settings: Settings, _: &mut Params) -> Result<Self> {
        Ok(Self { settings })
    }

    /// # Shapes
    /// - input: `[n, c]` or `[n, c, h, w]`
    /// - output: the same with `c * 2 * octaves` channels, `c` more with the input: first it, then all sines and all
    ///   cosines of each octave; rank decides where they go
    fn forward(&self, _: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let input = inputs.tensor()?;
        let mut parts: Vec<Tensor> = self.settings.include_input.then(|| input.shallow_clone()).into_iter().collect();
        for octave in 0..self.settings.octaves {
            let angle = input * (PI * f64::from(1 << octave));
            parts.extend([angle.sin(), angle.cos()]);
        }
        Ok(Outputs::by_rank(Tensor::f_cat(&parts, 1)?))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::native::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn embedded(settings: Value, input: &Tensor) -> Tensor {
        Fixture::<Fourier>::new(settings).unwrap().train(&[input]).unwrap().remove(0).1
    }

    #[test]
    fn octaves_come_after_the_input_sines_before_cosines() {
        let input = Tensor::from_slice(&[0.5_f32, -1.0]).view([1, 2]);
        let got = Vec::<f32>::try_from(embedded(json!({ "octaves": 2 }), &input).view([-1])).unwrap();
        let want = [0.5, -1.0, 1.0, 0.0, 0.0, -1.0, 0.0, 0.0, -1.0, 1.0];
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5), "{got:?}");
        assert_eq!(got.len(), want.len());
    }

    #[test]
    fn pictures_keep_their_pixels() {
        let input = Tensor::zeros([2, 6, 4, 5], (Kind::Float, plugin_api::native::tch::Device::Cpu));
        assert_eq!(embedded(json!({}), &input).size(), [2, 54, 4, 5]);
        assert_eq!(embedded(json!({ "include_input": false, "octaves": 1 }), &input).size(), [2, 12, 4, 5]);
    }
}
