//! Shape changes by name.

use tch::{Kind, Tensor};

/// Frames as an axis of positions.
///
/// # Shapes
/// - `x`: `[b*t, c, h, w]`
/// - result: `[b, c, t, h, w]`
///
/// # Panics
/// When `t` does not divide the rows.
pub fn split_time(x: &Tensor, t: i64) -> Tensor {
    rows_of_frames(x, t).transpose(1, 2) // [b*t, c, h, w] -> [b, t, c, h, w] -> [b, c, t, h, w]
}

/// The inverse of [`split_time`].
///
/// # Shapes
/// - `x`: `[b, c, t, h, w]`
/// - result: `[b*t, c, h, w]`
pub fn merge_time(x: &Tensor) -> Tensor {
    x.transpose(1, 2).flatten(0, 1) // [b, c, t, h, w] -> [b, t, c, h, w] -> [b*t, c, h, w]
}

/// Rows grouped by clip.
///
/// # Shapes
/// - `x`: `[b*t, ...]`
/// - result: `[b, t, ...]`
///
/// # Panics
/// When `t` does not divide the rows.
pub fn rows_of_frames(x: &Tensor, t: i64) -> Tensor {
    let rows = x.size()[0];
    assert!(t > 0 && rows % t == 0, "{rows} rows are no whole number of clips of num_video_frames = {t}");
    x.unflatten(0, [rows / t, t])
}

/// The numbers 0, 1, .. where `x` is, which may be where tensors have no values.
///
/// # Shapes
/// - result: `[n]` f32
pub fn count_to(n: i64, x: &Tensor) -> Tensor {
    one_like(x).expand([n], false).ones_like().cumsum(0, Kind::Float) - 1.0
}

/// Zeros where `x` is.
///
/// # Shapes
/// - result: `shape`, f32
pub fn zeros_at(shape: &[i64], x: &Tensor) -> Tensor {
    one_like(x).expand(shape, false).zeros_like()
}

/// A value of `x` without its history.
fn one_like(x: &Tensor) -> Tensor {
    x.detach().flatten(0, -1).narrow(0, 0, 1).to_kind(Kind::Float)
}

/// Pixels as tokens.
///
/// # Shapes
/// - `x`: `[n, c, h, w]`
/// - result: `[n, h*w, c]`
pub fn to_tokens(x: &Tensor) -> Tensor {
    x.flatten(2, 3).transpose(1, 2)
}

/// The inverse of [`to_tokens`].
///
/// # Shapes
/// - `x`: `[n, h*w, c]`
/// - result: `[n, c, h, w]`
pub fn to_pixels(x: &Tensor, h: i64, w: i64) -> Tensor {
    x.transpose(1, 2).unflatten(2, [h, w])
}

/// Axes of length one at the end, until there are `axes`.
///
/// # Shapes
/// - `x`: `[...]`
/// - result: `[..., 1, 1]`
pub fn append_axes(x: &Tensor, axes: usize) -> Tensor {
    let mut shape = x.size();
    shape.resize(axes, 1);
    x.reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn time_and_tokens_come_back() {
        let x = Tensor::randn([6, 2, 4, 5], (Kind::Float, Device::Cpu));
        let clip = split_time(&x, 3);
        assert_eq!(clip.size(), [2, 2, 3, 4, 5]);
        assert!(clip.select(0, 1).select(1, 2).equal(&x.select(0, 5)));
        assert!(merge_time(&clip).equal(&x));
        let tokens = to_tokens(&x);
        assert!(tokens.size() == [6, 20, 2] && tokens.select(1, 7).equal(&x.select(2, 1).select(2, 2)));
        assert!(to_pixels(&tokens, 4, 5).equal(&x));
        assert_eq!(append_axes(&x, 6).size(), [6, 2, 4, 5, 1, 1]);
    }

    #[test]
    #[should_panic(expected = "num_video_frames = 4")]
    fn frames_divide_the_rows() {
        let _ = split_time(&Tensor::zeros([6, 2, 4, 5], (Kind::Float, Device::Cpu)), 4);
    }
}
