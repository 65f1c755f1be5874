//! The adversary of an autoencoder: it judges patches of a picture (Isola et al. 2017, "PatchGAN").

use anneal_torch::grad_mode;
use anneal_torch::tensor::is_meta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::config::ConfigProblem;
use crate::params::{Init, Path};

/// Settings of the discriminator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// Channels of a picture.
    #[serde(default = "colours")]
    #[schemars(range(min = 1))]
    pub input_nc: u32,
    /// Channels after the first convolution.
    #[serde(default = "width")]
    #[schemars(range(min = 1))]
    pub ndf: u32,
    /// Halvings; each one about doubles the side of the patch that is judged.
    #[serde(default = "layers")]
    #[schemars(range(min = 1, max = 8))]
    pub n_layers: u32,
    /// Normalise by activations (Kingma and Dhariwal 2018) instead of by batches.
    #[serde(default)]
    pub use_actnorm: bool,
}

fn colours() -> u32 {
    3
}
fn width() -> u32 {
    64
}
fn layers() -> u32 {
    3
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self { input_nc: colours(), ndf: width(), n_layers: layers(), use_actnorm: false }
    }
}

impl DiscriminatorConfig {
    /// What cannot be built; empty when all is well.
    pub fn check(&self) -> Vec<ConfigProblem> {
        let counts = [("input_nc", self.input_nc), ("ndf", self.ndf), ("n_layers", self.n_layers)];
        let zero = counts.into_iter().filter(|(_, count)| *count == 0);
        zero.map(|(key, _)| ConfigProblem::new(key, "must be 1 or more", "leave it out for the default")).collect()
    }

    /// Rows and columns of the smallest picture of which a patch is left.
    pub fn smallest_picture(&self) -> i64 {
        // Two convolutions of 4 pixels with a padding of 1 follow the halvings; each takes one pixel off.
        3 << self.n_layers
    }
}

/// Judges the patches of a picture: high where it looks real.
#[derive(Debug)]
pub struct Discriminator {
    layers: Vec<Layer>,
}

/// A convolution, what follows it, and whether a rectifier comes last.
#[derive(Debug)]
struct Layer {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    norm: Option<Norm>,
    is_last: bool,
}

#[derive(Debug)]
enum Norm {
    Batch { weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, num_batches_tracked: Tensor },
    Act { loc: Tensor, scale: Tensor, initialized: Tensor },
}

impl Discriminator {
    /// Keys `main.0.weight` and so on, counted as in the reference's sequence.
    ///
    /// # Panics
    /// When [`DiscriminatorConfig::check`] has something to say.
    pub fn new(config: &DiscriminatorConfig, path: &Path) -> Self {
        let problems = config.check();
        assert!(problems.is_empty(), "{}", problems[0]);
        let main = path.sub("main");
        let (ndf, n_layers) = (i64::from(config.ndf), config.n_layers as usize);
        let channels = |layer: usize| ndf * (1 << layer.min(3));
        let with_norm = |layer: usize, stride| {
            // Convolution, norm and rectifier have a place each; the first layer has no norm.
            let place = 2 + 3 * (layer - 1);
            let outputs = channels(layer);
            let (weight, bias) = convolution(&main.sub(place), channels(layer - 1), outputs, config.use_actnorm);
            let norm = Norm::new(&main.sub(place + 1), outputs, config.use_actnorm);
            Layer { weight, bias, stride, norm: Some(norm), is_last: false }
        };
        let (weight, bias) = convolution(&main.sub(0), config.input_nc.into(), ndf, true);
        let mut layers = vec![Layer { weight, bias, stride: 2, norm: None, is_last: false }];
        layers.extend((1..n_layers).map(|layer| with_norm(layer, 2)));
        layers.push(with_norm(n_layers, 1));
        let (weight, bias) = convolution(&main.sub(2 + 3 * n_layers), channels(n_layers), 1, true);
        layers.push(Layer { weight, bias, stride: 1, norm: None, is_last: true });
        Self { layers }
    }

    /// The judgement of each patch. `train` uses the batch's own statistics and takes note of them.
    ///
    /// # Shapes
    /// - `x`: `[n, input_nc, h, w]` in `[-1, 1]`
    /// - result: `[n, 1, h', w']`
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.layers.iter().fold(x.shallow_clone(), |x, layer| layer.forward(&x, train))
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let stride = [self.stride, self.stride];
        let x = x.conv2d(&self.weight, self.bias.as_ref(), stride, [1, 1], [1, 1], 1);
        let x = match &self.norm {
            Some(norm) => norm.forward(&x, train),
            None => x,
        };
        // `leaky_relu` of tch has the slope 0.01.
        if self.is_last { x } else { x.maximum(&(&x * 0.2)) }
    }
}

fn convolution(path: &Path, inputs: i64, outputs: i64, with_bias: bool) -> (Tensor, Option<Tensor>) {
    let weight = path.param("weight", &[outputs, inputs, 4, 4], Init::Normal { std: 0.02 });
    (weight, with_bias.then(|| path.param("bias", &[outputs], Init::fan_in(inputs * 16))))
}

impl Norm {
    fn new(path: &Path, channels: i64, of_activations: bool) -> Self {
        if of_activations {
            let shape = [1, channels, 1, 1];
            return Self::Act {
                loc: path.param("loc", &shape, Init::Const(0.0)),
                scale: path.param("scale", &shape, Init::Const(1.0)),
                initialized: path.buffer("initialized", &[], Init::Const(0.0)),
            };
        }
        Self::Batch {
            weight: path.param("weight", &[channels], Init::NormalAround { mean: 1.0, std: 0.02 }),
            bias: path.param("bias", &[channels], Init::Const(0.0)),
            running_mean: path.buffer("running_mean", &[channels], Init::Const(0.0)),
            running_var: path.buffer("running_var", &[channels], Init::Const(1.0)),
            num_batches_tracked: path.buffer("num_batches_tracked", &[], Init::Const(0.0)),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match self {
            Self::Batch { weight, bias, running_mean, running_var, num_batches_tracked } => {
                if train {
                    let _ = num_batches_tracked.shallow_clone().g_add_scalar_(1.0);
                }
                let (mean, var) = (Some(running_mean), Some(running_var));
                // In f32 also under autocast, as libtorch's own rule for norms is.
                x.to_kind(Kind::Float).batch_norm(Some(weight), Some(bias), mean, var, train, 0.1, 1e-5, false)
            }
            Self::Act { loc, scale, initialized } => {
                if train && !is_meta(initialized) && initialized.double_value(&[]) == 0.0 {
                    start(loc, scale, initialized, x);
                }
                scale * (x + loc)
            }
        }
    }
}

/// Has the first batch come out with mean 0 and deviation 1 in each channel.
fn start(loc: &Tensor, scale: &Tensor, initialized: &Tensor, x: &Tensor) {
    let _no_grad = grad_mode::no_grad();
    let over = [0, 2, 3];
    loc.shallow_clone().copy_(&-x.mean_dim(over.as_slice(), true, Kind::Float));
    let std = x.to_kind(Kind::Float).std_dim(over.as_slice(), true, true);
    scale.shallow_clone().copy_(&(std + 1e-6).reciprocal());
    let _ = initialized.shallow_clone().fill_(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, formula, keys};
    use tch::Device;

    fn config(use_actnorm: bool) -> DiscriminatorConfig {
        DiscriminatorConfig { ndf: 8, use_actnorm, ..DiscriminatorConfig::default() }
    }

    #[test]
    fn keys_are_the_references() {
        let of = |use_actnorm| {
            let params = Params::meta();
            Discriminator::new(&config(use_actnorm), &params.root());
            keys(&params)
        };
        let batch = of(false);
        assert_eq!(batch.len(), 2 + 3 * 6 + 2, "{batch:?}");
        for key in [
            "main.0.bias [8]",
            "main.2.weight [16, 8, 4, 4]",
            "main.9.running_var [64]",
            "main.11.weight [1, 64, 4, 4]",
        ] {
            assert!(batch.iter().any(|k| k == key), "{key} is not in {batch:?}");
        }
        assert!(!batch.iter().any(|k| k.starts_with("main.2.bias")));
        let act = of(true);
        assert!(act.iter().any(|k| k == "main.3.loc [1, 16, 1, 1]") && act.iter().any(|k| k == "main.2.bias [16]"));
    }

    #[test]
    fn judgements_and_gradients_are_the_references() {
        // Of torch 2.11 with the same weights: a judgement, the sum of all, the gradient's size, the sum in evaluation.
        let batch = [-0.175721675, -30.4668007, 219.464523, -28.8347340];
        let act = [1.79424322, 12.2755051, 146.654495, 12.2755051];
        for (use_actnorm, want) in [(false, batch), (true, act)] {
            let params = Params::new(Device::Cpu, 1);
            let discriminator = Discriminator::new(&config(use_actnorm), &params.root());
            formula(&params);
            let x = (Tensor::arange(2 * 3 * 32 * 32, (Kind::Double, Device::Cpu)) * 0.013).sin();
            let x = x.to_kind(Kind::Float).view([2, 3, 32, 32]).set_requires_grad(true);
            let y = discriminator.forward(&x, true);
            assert_eq!(y.size(), [2, 1, 2, 2]);
            y.square().sum(Kind::Float).backward();
            let eval = discriminator.forward(&x, false);
            let got = [
                y.get(1).get(0).get(1).get(0),
                y.sum(Kind::Float),
                x.grad().abs().sum(Kind::Float),
                eval.sum(Kind::Float),
            ];
            let got = got.map(|value| value.double_value(&[]));
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-4 * want.abs()), "{got:?} {want:?}");
        }
    }

    #[test]
    fn the_smallest_picture_leaves_a_patch() {
        let config = config(false);
        let discriminator = Discriminator::new(&config, &Params::new(Device::Cpu, 1).root());
        let side = config.smallest_picture();
        assert_eq!(discriminator.forward(&Tensor::zeros([1, 3, side, side], F32), true).size(), [1, 1, 1, 1]);
    }

    #[test]
    fn the_first_batch_starts_activation_norms_once() {
        let params = Params::new(Device::Cpu, 1);
        let discriminator = Discriminator::new(&config(true), &params.root());
        let loc = |params: &Params| {
            let entry = params.entries().into_iter().find(|p| p.path == "main.3.loc");
            entry.unwrap().tensor.detach().copy()
        };
        let picture = || Tensor::rand([2, 3, 32, 32], F32);
        let _ = discriminator.forward(&picture(), true);
        let first = loc(&params);
        assert!(first.abs().max().double_value(&[]) > 0.0);
        let _ = discriminator.forward(&picture(), true);
        assert!(first.equal(&loc(&params)));
    }
}
