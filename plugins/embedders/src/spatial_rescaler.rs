//! `spatial-rescaler`: images or clips, resized in stages, and mapped to other channels if asked.

use plugin_api::tch::prelude::*;

/// Images are resized `n_stages` times by `multiplier`.
#[derive(Config)]
#[config(check = check)]
pub struct Settings {
    /// How often the size is multiplied.
    #[config(default = 1, min = 0)]
    pub n_stages: i64,
    /// How values between pixels are found.
    #[config(default = Method::Bilinear)]
    pub method: Method,
    /// Size after a stage, as a factor of that before it.
    #[config(default = 0.5, exclusive_min = 0.0)]
    pub multiplier: f64,
    /// Channels of the images; read only where they are mapped.
    #[config(default = 3, min = 1)]
    pub in_channels: i64,
    /// Map the resized images to this many channels by a convolution.
    #[config(min = 1)]
    pub out_channels: Option<i64>,
    /// Give the convolution a bias.
    #[config(default)]
    pub bias: bool,
    /// Size of the convolution's kernel, odd.
    #[config(default = 1, min = 1)]
    pub kernel_size: i64,
    /// Resize the frames of clips `[n, c, t, h, w]` one by one.
    #[config(default)]
    pub wrap_video: bool,
    /// Have the convolution also without `out_channels`; it keeps the number of channels.
    #[config(default)]
    pub remap_output: bool,
}

/// How values between pixels are found, as in `torch.nn.functional.interpolate` (corners not aligned).
#[derive(Config, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions.
    Bilinear,
    /// Cubic in both directions.
    Bicubic,
    /// The mean of the pixels a target pixel covers.
    Area,
    /// Linear over time, rows and columns; for clips.
    Trilinear,
}

fn check(settings: &Settings) -> std::result::Result<(), ConfigError> {
    if settings.kernel_size % 2 == 0 {
        return Err(ConfigError::new(
            "/kernel_size",
            format!("{} is even; the size is kept only by an odd kernel", settings.kernel_size),
        ));
    }
    if settings.method == Method::Trilinear && settings.wrap_video {
        return Err(ConfigError::new("/method", "trilinear resizes over time too, which `wrap_video` rules out"));
    }
    Ok(())
}

/// Upstream's `SpatialRescaler`.
pub struct SpatialRescaler {
    settings: Settings,
    mapper: Option<(Param, Option<Param>)>,
}

impl Embedder<Tensor> for SpatialRescaler {
    type Config = Settings;

    fn new(settings: Settings, params: &mut Params) -> Result<Self> {
        let Settings { in_channels, kernel_size, bias, .. } = settings;
        let mapped = settings.out_channels.or(settings.remap_output.then_some(in_channels));
        let mapper = mapped.map(|out_channels| {
            // PyTorch's default for convolutions.
            let init = Init::Uniform { bound: 1.0 / ((in_channels * kernel_size * kernel_size) as f64).sqrt() };
            let weight =
                params.declare("channel_mapper.weight", &[out_channels, in_channels, kernel_size, kernel_size], init);
            (weight, bias.then(|| params.declare("channel_mapper.bias", &[out_channels], init)))
        });
        Ok(Self { settings, mapper })
    }

    /// # Shapes
    /// - input: images `[n, c, h, w]` or clips `[n, c, t, h, w]`
    /// - output: concat, of the same rank; `c` is `out_channels` where they are mapped
    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let input = inputs.tensor()?;
        let size = input.size();
        let wrapped = self.settings.wrap_video && size.len() == 5;
        let mut value = input.shallow_clone();
        if wrapped {
            value = value.transpose(1, 2).flatten(0, 1); // [n, c, t, h, w] -> [n*t, c, h, w]
        }
        for _ in 0..self.settings.n_stages {
            value = self.resize(&value)?;
        }
        if let Some((weight, bias)) = self.mapper {
            let bias = bias.map(|bias| call.param(bias));
            let padding = [self.settings.kernel_size / 2; 2];
            value = value.f_conv2d(call.param(weight), bias, [1, 1], padding, [1, 1], 1)?;
        }
        if wrapped {
            value = value.unflatten(0, [size[0], size[2]]).transpose(1, 2); // [n*t, c, h, w] -> [n, c, t, h, w]
        }
        Ok(Outputs::to(Slot::Concat, value))
    }
}

impl SpatialRescaler {
    /// One stage.
    fn resize(&self, value: &Tensor) -> Result<Tensor> {
        let factor = self.settings.multiplier;
        if value.dim() < 2 || !value.is_floating_point() {
            let message = format!("cannot resize {:?} of shape {:?}", value.kind(), value.size());
            return Err(Error::argument(message));
        }
        let size: Vec<i64> = value.size()[2..].iter().map(|pixels| (*pixels as f64 * factor).floor() as i64).collect();
        let (f, size) = (Some(factor), size.as_slice());
        Ok(match (self.settings.method, size.len()) {
            (Method::Nearest, 2) => value.f_upsample_nearest2d(size, f, f)?,
            (Method::Nearest, 3) => value.f_upsample_nearest3d(size, f, f, f)?,
            (Method::Bilinear, 2) => value.f_upsample_bilinear2d(size, false, f, f)?,
            (Method::Bicubic, 2) => value.f_upsample_bicubic2d(size, false, f, f)?,
            (Method::Area, 2) => value.f_adaptive_avg_pool2d(size)?,
            (Method::Area, 3) => value.f_adaptive_avg_pool3d(size)?,
            (Method::Trilinear, 3) => value.f_upsample_trilinear3d(size, false, f, f, f)?,
            _ => {
                let message = format!("`method` cannot resize a tensor of shape {:?}", value.size());
                return Err(Error::argument(message));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;
    use plugin_api::tch::testing::Fixture;
    use serde_json::{Value, json};

    use super::*;

    fn image(shape: &[i64]) -> Tensor {
        Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu)).reshape(shape)
    }

    fn resized(settings: Value, input: &Tensor) -> Tensor {
        Fixture::<SpatialRescaler>::new(settings).unwrap().train(&[input]).unwrap().remove(0).1
    }

    #[test]
    fn methods_give_the_values_worked_out_by_hand() {
        // Pixels 0 to 15 in rows of four; halved, a target pixel lies between four of them.
        let input = image(&[1, 1, 4, 4]);
        let values =
            |method: &str| Vec::<f32>::try_from(resized(json!({ "method": method }), &input).flatten(0, -1)).unwrap();
        assert_eq!(values("nearest"), [0.0, 2.0, 8.0, 10.0]);
        assert_eq!(values("bilinear"), [2.5, 4.5, 10.5, 12.5]);
        assert_eq!(values("area"), [2.5, 4.5, 10.5, 12.5]);
        // Keys' cubic with a = -3/4 weighs 0, 0, 1, 2 (the edge is repeated) by -3/32, 19/32, 19/32, -3/32: 13/32 of a
        // column and as much of a row, which counts four.
        assert_eq!(values("bicubic")[0], 2.03125);
    }

    #[test]
    fn stages_odd_sizes_and_growth() {
        assert_eq!(resized(json!({ "n_stages": 2 }), &image(&[2, 3, 16, 20])).size(), [2, 3, 4, 5]);
        assert_eq!(resized(json!({ "method": "area" }), &image(&[1, 3, 9, 14])).size(), [1, 3, 4, 7]);
        assert_eq!(
            resized(json!({ "method": "nearest", "multiplier": 2.0 }), &image(&[1, 2, 5, 4])).size(),
            [1, 2, 10, 8]
        );
        assert_eq!(resized(json!({ "n_stages": 0 }), &image(&[1, 2, 5, 4])), image(&[1, 2, 5, 4]));
    }

    #[test]
    fn frames_of_a_clip_are_resized_one_by_one_or_over_time() {
        let clip = image(&[2, 3, 4, 8, 8]);
        let wrapped = resized(json!({ "wrap_video": true }), &clip);
        assert_eq!(wrapped.size(), [2, 3, 4, 4, 4]);
        let alone = resized(json!({}), &clip.select(2, 1));
        assert!(wrapped.select(2, 1).allclose(&alone, 1e-6, 1e-6, false));
        assert_eq!(resized(json!({ "method": "trilinear" }), &clip).size(), [2, 3, 2, 4, 4]);
    }

    #[test]
    fn channels_are_mapped_by_a_convolution() {
        let settings = json!({ "n_stages": 0, "in_channels": 2, "out_channels": 1, "bias": true, "kernel_size": 3 });
        let mut fixture = Fixture::<SpatialRescaler>::new(settings).unwrap();
        let names: Vec<_> = fixture.declared().iter().map(|decl| (decl.name.as_str(), decl.shape.clone())).collect();
        assert_eq!(names, [("channel_mapper.weight", vec![1, 2, 3, 3]), ("channel_mapper.bias", vec![1])]);
        *fixture.param("channel_mapper.weight") = Tensor::ones([1, 2, 3, 3], (Kind::Float, Device::Cpu));
        *fixture.param("channel_mapper.bias") = Tensor::from_slice(&[0.5_f32]);
        let output = fixture.train(&[&Tensor::ones([1, 2, 3, 3], (Kind::Float, Device::Cpu))]).unwrap().remove(0).1;
        assert_eq!(output.double_value(&[0, 0, 1, 1]), 18.5);
        assert_eq!(resized(json!({ "remap_output": true }), &image(&[1, 3, 4, 4])).size(), [1, 3, 2, 2]);
    }

    #[test]
    fn what_cannot_be_resized_is_refused() {
        let settings = json!({ "method": "bicubic" });
        let error = Fixture::<SpatialRescaler>::new(settings).unwrap().train(&[&image(&[1, 1, 2, 4, 4])]).unwrap_err();
        assert!(error.message.contains("[1, 1, 2, 4, 4]"), "{error}");
        let error = |settings: Value| Fixture::<SpatialRescaler>::new(settings).err().unwrap().to_string();
        assert!(error(json!({ "kernel_size": 2 })).starts_with("/kernel_size"));
        assert!(error(json!({ "method": "linear" })).contains("is not one of nearest, bilinear"));
    }
}
