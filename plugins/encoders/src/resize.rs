//! Images to what CLIP was trained on: 224 by 224 pixels, normalised.

use plugin_api::tch::prelude::*;

/// Rows and columns of CLIP's images.
pub const IMAGE_SIZE: i64 = 224;

/// Mean of CLIP's training images, by channel, in `[0, 1]`.
const MEAN: [f32; 3] = [0.48145466, 0.4578275, 0.40821073];
/// Their standard deviation.
const STD: [f32; 3] = [0.26862954, 0.2613026, 0.2757771];

/// Bicubic resizing with aligned corners, then CLIP's normalisation. Published weights were trained behind exactly
/// this resizing; a common antialiased one gives other features.
///
/// # Shapes
/// - `images`: `[n, 3, h, w]` in `[-1, 1]`
/// - result: `[n, 3, 224, 224]`
pub fn preprocess(images: &Tensor, antialias: bool) -> Result<Tensor> {
    let size = images.size();
    if size.len() != 4 || size[1] != 3 {
        return Err(Error::argument(format!("wants images of shape [n, 3, h, w], got {size:?}")));
    }
    let resized = resize(images, [IMAGE_SIZE; 2], antialias)?;
    let by_channel = |values: &[f32]| Tensor::from_slice(values).type_as(images).reshape([1, 3, 1, 1]);
    Ok(((resized + 1.0) / 2.0 - by_channel(&MEAN)) / by_channel(&STD))
}

/// kornia's `resize(interpolation="bicubic", align_corners=True)`: images that shrink along any axis are blurred
/// first, along both.
///
/// # Shapes
/// - `images`: `[n, c, h, w]`
/// - result: `[n, c, size[0], size[1]]`
pub fn resize(images: &Tensor, size: [i64; 2], antialias: bool) -> Result<Tensor> {
    let from = images.size();
    if from[2..] == size {
        return Ok(images.shallow_clone());
    }
    let factors = [from[2] as f64 / size[0] as f64, from[3] as f64 / size[1] as f64];
    let mut value = images.shallow_clone();
    if antialias && factors.iter().any(|factor| *factor > 1.0) {
        for (axis, factor) in [(3, factors[1]), (2, factors[0])] {
            value = blur(&value, axis, factor)?;
        }
    }
    Ok(value.f_upsample_bicubic2d(size, true, None, None)?)
}

/// A Gaussian along one axis, as wide as a shrinking by `factor` needs; borders are mirrored.
fn blur(images: &Tensor, axis: usize, factor: f64) -> Result<Tensor> {
    let sigma = ((factor - 1.0) / 2.0).max(0.001);
    // Two sigmas on each side, at least three taps, an odd number.
    let taps = (4.0 * sigma).max(3.0) as i64 | 1;
    let reach = taps / 2;
    let size = images.size();
    if size[axis] <= reach {
        return Err(Error::argument(format!("images of shape {size:?} are too small to be blurred by {taps} pixels")));
    }
    let distances = Tensor::from_slice(&(-reach..=reach).collect::<Vec<_>>()).type_as(images);
    let weights = (distances.square() * (-0.5 / (sigma * sigma))).exp();
    let weights = &weights / weights.sum(images.kind());
    let (padding, kernel): ([i64; 4], [i64; 4]) = match axis {
        3 => ([reach, reach, 0, 0], [1, 1, 1, taps]),
        _ => ([0, 0, reach, reach], [1, 1, taps, 1]),
    };
    let channels = size[1];
    let weights = weights.reshape(kernel).expand([channels, 1, kernel[2], kernel[3]], false);
    Ok(images.f_reflection_pad2d(padding)?.f_conv2d(&weights, None::<&Tensor>, [1, 1], [0, 0], [1, 1], channels)?)
}

#[cfg(test)]
mod tests {
    use plugin_api::tch::Device;

    use super::*;

    fn column(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).reshape([1, 1, -1, 1]).expand([1, 1, -1, 9], false).contiguous()
    }

    #[test]
    fn corners_stay_where_they_are() {
        let image = column(&[0.0, 1.0, 4.0, 9.0]);
        let grown = resize(&image, [7, 17], true).unwrap();
        let got = Vec::<f32>::try_from(grown.select(3, 5).flatten(0, -1)).unwrap();
        for (row, want) in [(0, 0.0), (2, 1.0), (4, 4.0), (6, 9.0)] {
            assert!((got[row] - want).abs() < 1e-5, "{got:?}");
        }
        assert!(resize(&image, [4, 9], true).unwrap().equal(&image));
    }

    #[test]
    fn shrinking_blurs_and_growing_does_not() {
        // A single bright row, shrunk from nine rows to three: sigma is 1, five taps reach from row 4 to rows 2 to 6.
        let mut values = [0.0; 9];
        values[4] = 1.0;
        let image = column(&values);
        let middle = |antialias| resize(&image, [3, 9], antialias).unwrap().double_value(&[0, 0, 1, 3]);
        let weights = [(-2.0_f64).exp(), (-0.5_f64).exp(), 1.0, (-0.5_f64).exp(), (-2.0_f64).exp()];
        assert!((middle(true) - 1.0 / weights.iter().sum::<f64>()).abs() < 1e-6, "{}", middle(true));
        assert_eq!(middle(false), 1.0);
    }

    #[test]
    fn a_grey_image_keeps_its_value_and_is_normalised() {
        let grey = Tensor::full([1, 3, 300, 100], 0.5, (Kind::Float, Device::Cpu));
        let got = preprocess(&grey, true).unwrap();
        assert_eq!(got.size(), [1, 3, 224, 224]);
        for (channel, (mean, std)) in MEAN.iter().zip(STD).enumerate() {
            let value = got.double_value(&[0, channel as i64, 100, 7]);
            assert!((value - f64::from((0.75 - mean) / std)).abs() < 1e-5, "{value}");
        }
        assert!(preprocess(&grey.squeeze_dim(0), true).unwrap_err().message.contains("[3, 300, 100]"));
    }
}
