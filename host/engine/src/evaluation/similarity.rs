//! Likeness of two pictures: PSNR and SSIM.

use tch::{Kind, Tensor};

/// Side of SSIM's window, pixels.
const WINDOW: i64 = 11;

/// Standard deviation of its Gaussian, pixels.
const WINDOW_STD: f64 = 1.5;

/// Keep SSIM's quotients finite, for values in `[0, 1]` (Wang et al. 2004, section III).
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Peak signal-to-noise ratio of each picture, in dB; infinite for equal ones. Values outside `[-1, 1]` are clipped, as on
/// a screen.
///
/// # Shapes
/// - `x`, `target`: `[n, c, h, w]` in `[-1, 1]`
/// - result: `n` numbers
pub fn psnr(x: &Tensor, target: &Tensor) -> Vec<f64> {
    let error = (on_screen(x) - on_screen(target)).square();
    let mse = error.mean_dim([1, 2, 3].as_slice(), false, Kind::Double);
    numbers(&(mse.log10() * -10.0))
}

/// Structural similarity of each picture, up to 1 for equal ones: with a Gaussian window, averaged over the places where
/// the window is whole, and over channels (Wang et al. 2004). None if the pictures are smaller than the window, 11 pixels.
///
/// # Shapes
/// - `x`, `target`: `[n, c, h, w]` in `[-1, 1]`
/// - result: `n` numbers
pub fn ssim(x: &Tensor, target: &Tensor) -> Option<Vec<f64>> {
    let [_, c, h, w] = x.size()[..] else { return None };
    if h.min(w) < WINDOW {
        return None;
    }
    let window = window().to_device(x.device()).expand([c, 1, WINDOW, WINDOW], false);
    let mean = |values: &Tensor| values.conv2d(&window, None::<&Tensor>, [1, 1], [0, 0], [1, 1], c);
    let (x, y) = (on_screen(x), on_screen(target));
    let (mean_x, mean_y) = (mean(&x), mean(&y));
    let var_x = mean(&x.square()) - mean_x.square();
    let var_y = mean(&y.square()) - mean_y.square();
    let covariance = mean(&(&x * &y)) - &mean_x * &mean_y;
    let luminance = (&mean_x * &mean_y * 2.0 + C1) / (mean_x.square() + mean_y.square() + C1);
    let structure = (covariance * 2.0 + C2) / (var_x + var_y + C2);
    Some(numbers(&(luminance * structure).mean_dim([1, 2, 3].as_slice(), false, Kind::Double)))
}

/// As shown: clipped, and from 0 to 1.
fn on_screen(x: &Tensor) -> Tensor {
    (x.detach().to_kind(Kind::Double).clamp(-1.0, 1.0) + 1.0) * 0.5
}

/// `[1, 1, 11, 11]`, its sum 1.
fn window() -> Tensor {
    let from_middle = Tensor::arange(WINDOW, (Kind::Double, tch::Device::Cpu)) - (WINDOW / 2);
    let line = (from_middle.square() / (-2.0 * WINDOW_STD * WINDOW_STD)).exp();
    let line = &line / line.sum(Kind::Double);
    line.outer(&line).view([1, 1, WINDOW, WINDOW])
}

fn numbers(rows: &Tensor) -> Vec<f64> {
    (0..rows.size()[0]).map(|row| rows.double_value(&[row])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn wave(step: f64) -> Tensor {
        let wave = (Tensor::arange(2 * 3 * 16 * 24, (Kind::Double, Device::Cpu)) * step).sin();
        wave.to_kind(Kind::Float).view([2, 3, 16, 24])
    }

    #[test]
    fn numbers_are_those_of_scikit_image() {
        let (x, y) = (wave(0.013), wave(0.0131) * 0.9);
        // structural_similarity(gaussian_weights, sigma 1.5, no sample covariance, data_range 1), window whole.
        for (got, want) in psnr(&x, &y).iter().zip([27.54331001, 23.49424302]) {
            assert!((got - want).abs() < 1e-4, "{got} {want}");
        }
        for (got, want) in ssim(&x, &y).unwrap().iter().zip([0.98770263, 0.92839190]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn equal_pictures_are_as_alike_as_can_be() {
        let x = wave(0.05);
        assert_eq!(psnr(&x, &x), [f64::INFINITY; 2]);
        assert!(ssim(&x, &x).unwrap().iter().all(|alike| (alike - 1.0).abs() < 1e-12));
        assert!(ssim(&x.narrow(2, 0, 10), &x.narrow(2, 0, 10)).is_none());
        // What a screen cannot show does not count.
        assert_eq!(psnr(&(x.sign() * 5.0), &x.sign()), [f64::INFINITY; 2]);
    }
}
