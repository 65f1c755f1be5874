//! The perceptual distance LPIPS (Zhang et al. 2018) on the features of VGG16.

use anneal_torch::place::moved_to;
use tch::{Kind, Tensor};

use crate::layers::{Conv, ConvConfig};
use crate::params::{Init, Path};

/// Of each slice of VGG16: the channels of its features, and the places of its convolutions in the network's sequence.
const SLICES: [(i64, &[usize]); 5] =
    [(64, &[0, 2]), (128, &[5, 7]), (256, &[10, 12, 14]), (512, &[17, 19, 21]), (512, &[24, 26, 28])];

/// What colours in `[-1, 1]` are shifted and scaled by to be those that VGG16 was trained on.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// The distance between features of two pictures, weighted as people judge.
///
/// Upstream's drops half of the weighted features at random while a model trains, because its dropout wakes up with the
/// model that owns the distance; here the distance has none.
#[derive(Debug)]
pub struct Lpips {
    slices: Vec<Vec<Conv>>,
    weights: Vec<Tensor>,
}

impl Lpips {
    /// Fewest rows and columns of a picture: four halvings are between the slices.
    pub const SMALLEST: i64 = 16;

    /// Keys `net.slice1.0.weight` and so on, and the weights of channels `lin0.model.1.weight` and so on.
    pub fn new(path: &Path) -> Self {
        let net = path.sub("net");
        let mut inputs = 3;
        let mut slices = Vec::with_capacity(SLICES.len());
        let mut weights = Vec::with_capacity(SLICES.len());
        for (i, (channels, places)) in SLICES.into_iter().enumerate() {
            let slice = net.sub(format!("slice{}", i + 1));
            let convs = places.iter().map(|place| {
                let conv = Conv::new(&slice.sub(place), ConvConfig::same(inputs, channels, &[3, 3]));
                inputs = channels;
                conv
            });
            slices.push(convs.collect());
            let linear = path.sub(format!("lin{i}")).sub("model").sub(1);
            weights.push(linear.param("weight", &[1, channels, 1, 1], Init::fan_in(channels)));
        }
        Self { slices, weights }
    }

    /// The distance of each row.
    ///
    /// # Shapes
    /// - `x`, `target`: `[n, 3, h, w]` in `[-1, 1]`, `h` and `w` at least 16
    /// - result: `[n, 1, 1, 1]`
    pub fn forward(&self, x: &Tensor, target: &Tensor) -> Tensor {
        let (x, target) = (self.features(x), self.features(target));
        let parts = x.iter().zip(&target).zip(&self.weights).map(|((x, target), weight)| {
            let apart = (unit_length(x) - unit_length(target)).square();
            apart.conv2d(weight, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1).mean_dim(
                [2, 3].as_slice(),
                true,
                None::<Kind>,
            )
        });
        // Five parts; the sum of none cannot be.
        parts.reduce(|sum, part| sum + part).unwrap_or_else(Tensor::new)
    }

    /// Whether pictures of `h` rows and `w` columns are large enough.
    pub fn fits(h: i64, w: i64) -> bool {
        h.min(w) >= Self::SMALLEST
    }

    fn features(&self, x: &Tensor) -> Vec<Tensor> {
        let of_channels = |values: [f32; 3]| moved_to(&Tensor::from_slice(&values).view([1, 3, 1, 1]), x);
        let mut x = (x - of_channels(SHIFT)) / of_channels(SCALE);
        let mut features = Vec::with_capacity(self.slices.len());
        for (i, slice) in self.slices.iter().enumerate() {
            if i > 0 {
                x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
            }
            for conv in slice {
                x = conv.forward(&x).relu();
            }
            features.push(x.shallow_clone());
        }
        features
    }
}

/// Features of length 1 at each pixel.
///
/// The reference divides by the length plus 1e-10. Its square root has no gradient where all features are zero, so the
/// small number stands inside the root, too.
fn unit_length(x: &Tensor) -> Tensor {
    let length = (x.square().sum_dim_intlist([1].as_slice(), true, None::<Kind>) + 1e-20).sqrt();
    x / (length + 1e-10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::formula;
    use tch::Device;

    fn near(got: &[f64], want: &[f64]) {
        let differ = got.iter().zip(want).any(|(got, want)| (got - want).abs() > 2e-4 * want.abs());
        assert!(!differ && got.len() == want.len(), "{got:?} is not {want:?}");
    }

    fn lpips() -> Lpips {
        let params = Params::new(Device::Cpu, 1);
        let lpips = Lpips::new(&params.root());
        formula(&params);
        lpips
    }

    fn pictures() -> (Tensor, Tensor) {
        let wave = |step: f64| (Tensor::arange(2 * 3 * 32 * 32, (Kind::Double, Device::Cpu)) * step).sin();
        let shaped = |x: Tensor| x.to_kind(Kind::Float).view([2, 3, 32, 32]);
        (shaped(wave(0.013)), shaped(wave(0.017)))
    }

    #[test]
    fn the_distance_and_its_gradient_are_the_reference_packages() {
        let (x, target) = pictures();
        let x = x.set_requires_grad(true);
        let distance = lpips().forward(&x, &target);
        assert_eq!(distance.size(), [2, 1, 1, 1]);
        let got = Vec::<f64>::try_from(distance.flatten(0, 3).to_kind(Kind::Double)).unwrap();
        distance.sum(Kind::Float).backward();
        let grad = x.grad();
        let grads =
            [grad.abs().sum(Kind::Double), grad.get(1).get(2).get(5).get(7), grad.get(0).get(0).get(31).get(31)];
        let grads: Vec<f64> = grads.iter().map(|g| g.double_value(&[])).collect();
        // Of the package `lpips` 0.1.4 (VGG16, no dropout) with the same weights.
        near(&got, &[0.0953285395, 0.0847928599]);
        near(&grads, &[0.597320450, -2.12753628e-4, -4.32000998e-5]);
    }

    #[test]
    fn equal_pictures_have_no_distance_and_dark_ones_a_gradient() {
        let (x, _) = pictures();
        assert_eq!(lpips().forward(&x, &x).abs().max().double_value(&[]), 0.0);
        // With weights and biases of zero no feature is left, where a bare square root has an infinite slope.
        let params = Params::new(Device::Cpu, 1);
        let dead = Lpips::new(&params.root());
        for param in params.entries().iter().filter(|param| param.path.starts_with("net")) {
            let _no_grad = anneal_torch::grad_mode::no_grad();
            let _ = param.tensor.shallow_clone().zero_();
        }
        let x = x.set_requires_grad(true);
        dead.forward(&x, &pictures().1).sum(Kind::Float).backward();
        assert_eq!(x.grad().abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn keys_are_the_references() {
        let params = Params::meta();
        Lpips::new(&params.root());
        let keys = crate::testing::keys(&params);
        assert_eq!(keys.len(), 2 * 13 + 5);
        for key in
            ["net.slice1.0.weight [64, 3, 3, 3]", "net.slice5.28.bias [512]", "lin4.model.1.weight [1, 512, 1, 1]"]
        {
            assert!(keys.iter().any(|k| k == key), "{key} is not in {keys:?}");
        }
    }
}
