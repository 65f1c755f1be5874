//! `fourier`: coordinates as sinusoids, so that a network can make sharp shapes of them.

use std::f64::consts::PI;

use plugin_api::tch::prelude::*;

/// Coordinates in `[-1, 1]` become sines and cosines of doubling frequency.
#[derive(Config)]
pub struct Settings {
    /// Frequencies: pi, 2 pi, 4 pi and so on.
    #[config(default = 4, min = 1, max = 16)]
    pub octaves: i64,
    /// Emit the coordinates themselves, too.
    #[config(default = true)]
    pub include_input: bool,
    /// Average the coordinates of so many rows and columns first: as many as are one of a latent.
    #[config(default = 1, min = 1)]
    pub pool: i64,
}

/// The positional encoding of Mildenhall et al. 2020 (NeRF), equation 4.
pub struct Fourier {
    settings: Settings,
}

impl Embedder<Tensor> for Fourier {
    type Config = Settings;

    fn new(settings: Settings, _: &mut Params) -> Result<Self> {
        Ok(Self { settings })
    }

    /// # Shapes
    /// - input: `[n, c]` or `[n, c, h, w]`, `h` and `w` multiples of `pool`
    /// - output: the same with `c * 2 * octaves` channels, `c` more with the input: first it, then all sines and all
    ///   cosines of each octave; rank decides where they go;
    ///   `h` and `w` divided by `pool`
    fn forward(&self, _: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let input = self.pooled(inputs.tensor()?)?;
        let mut parts: Vec<Tensor> = self.settings.include_input.then(|| input.shallow_clone()).into_iter().collect();
        for octave in 0..self.settings.octaves {
            let angle = &input * (PI * f64::from(1 << octave));
            parts.extend([angle.sin(), angle.cos()]);
        }
        Ok(Outputs::by_rank(Tensor::f_cat(&parts, 1)?))
    }
}

impl Fourier {
    fn pooled(&self, input: &Tensor) -> Result<Tensor> {
        let pool = self.settings.pool;
        match input.size()[..] {
            _ if pool == 1 => Ok(input.shallow_clone()),
            [_, _, h, w] if h % pool == 0 && w % pool == 0 => {
                Ok(input.f_avg_pool2d([pool, pool], [pool, pool], [0, 0], false, true, None::<i64>)?)
            }
            _ => {
                let message =
                    format!("wants [n, c, h, w] with multiples of {pool} rows and columns; got {:?}", input.size());
                Err(Error::argument(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::testing::Fixture;
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
    fn coordinates_of_neighbours_are_averaged_first() {
        let input = Tensor::from_slice(&[0.0_f32, 0.5, 0.5, 1.0, -1.0, -1.0, 0.0, 0.0]).view([1, 1, 2, 4]);
        let got = embedded(json!({ "pool": 2, "octaves": 1, "include_input": true }), &input);
        assert_eq!(got.size(), [1, 3, 1, 2]);
        assert!((got.double_value(&[0, 0, 0, 0]) + 0.375).abs() < 1e-6);
        assert!((got.double_value(&[0, 1, 0, 1]) - (0.375 * PI).sin()).abs() < 1e-6);
        let odd = Tensor::zeros([1, 1, 3, 4], (Kind::Float, plugin_api::tch::Device::Cpu));
        let error = Fixture::<Fourier>::new(json!({ "pool": 2 })).unwrap().train(&[&odd]).unwrap_err();
        assert!(error.to_string().contains("multiples of 2"), "{error}");
    }

    #[test]
    fn pictures_keep_their_pixels() {
        let input = Tensor::zeros([2, 6, 4, 5], (Kind::Float, plugin_api::tch::Device::Cpu));
        assert_eq!(embedded(json!({}), &input).size(), [2, 54, 4, 5]);
        assert_eq!(embedded(json!({ "include_input": false, "octaves": 1 }), &input).size(), [2, 12, 4, 5]);
    }
}
