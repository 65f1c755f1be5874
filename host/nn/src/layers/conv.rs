//! The convolution, in one to three dimensions.

use anneal_torch::conv::conv_same;
use tch::Tensor;

use crate::params::{Init, Path};
use crate::shape::{to_pixels, to_tokens};

/// Sizes of a convolution; `kernel`, `stride` and `padding` have one entry for each axis of positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvConfig {
    /// Channels of the input.
    pub inputs: i64,
    /// Channels of the output.
    pub outputs: i64,
    /// Positions that one output sees.
    pub kernel: Vec<i64>,
    /// Distance between the positions of two outputs.
    pub stride: Vec<i64>,
    /// Zeros added on both sides.
    pub padding: Vec<i64>,
    /// Start at zero, so that a residual branch starts as nothing.
    pub zeroed: bool,
}

impl ConvConfig {
    /// Stride 1 and padding `k/2`: an odd kernel keeps the size.
    pub fn same(inputs: i64, outputs: i64, kernel: &[i64]) -> Self {
        Self {
            inputs,
            outputs,
            kernel: kernel.to_vec(),
            stride: vec![1; kernel.len()],
            padding: kernel.iter().map(|k| k / 2).collect(),
            zeroed: false,
        }
    }
}

/// A convolution with bias.
#[derive(Debug)]
pub struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: Vec<i64>,
    padding: Vec<i64>,
}

impl Conv {
    /// Adds `weight` and `bias` at `path`, with PyTorch's start.
    pub fn new(path: &Path, config: ConvConfig) -> Self {
        let fan_in = config.inputs * config.kernel.iter().product::<i64>();
        let init = if config.zeroed { Init::Const(0.0) } else { Init::fan_in(fan_in) };
        let shape = [&[config.outputs, config.inputs], config.kernel.as_slice()].concat();
        Self {
            weight: path.param("weight", &shape, init),
            bias: path.param("bias", &[config.outputs], init),
            stride: config.stride,
            padding: config.padding,
        }
    }

    /// The weight: `[outputs, inputs, kernel...]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// # Shapes
    /// - `x`: `[n, inputs, ...]`, as many axes of positions as the kernel has
    /// - result: `[n, outputs, ...]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let keeps_size = self.stride.iter().all(|&s| s == 1)
            && self.padding.iter().zip(&self.weight.size()[2..]).all(|(padding, kernel)| 2 * padding + 1 == *kernel);
        match (&self.weight.size()[2..], &x.size()[2..]) {
            // A kernel over time alone sees pixels as one axis. libtorch's convolution in two dimensions is about twice
            // as fast on the CPU as the one in three, which copies every window.
            (&[_, 1, 1], &[_, h, w]) if keeps_size => {
                let weight = self.weight.squeeze_dim(4);
                let x = x.flatten(3, 4);
                same(&x, &weight, &self.bias).unflatten(3, [h, w])
            }
            (&[1, 1], &[h, w]) if keeps_size && h * w <= FEW_PIXELS => {
                let tokens = to_tokens(x).linear(&self.weight.flatten(1, 3), Some(&self.bias));
                to_pixels(&tokens, h, w)
            }
            (&[_, _], _) if keeps_size => same(x, &self.weight, &self.bias),
            _ => convolve(x, &self.weight, &self.bias, &self.stride, &self.padding),
        }
    }
}

/// Up to so many pixels an image, a kernel of one pixel is faster on the CPU as one matrix product over all images.
const FEW_PIXELS: i64 = 16;

fn same(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    conv_same(x, weight, bias).unwrap_or_else(|error| panic!("{error}"))
}

fn convolve(x: &Tensor, weight: &Tensor, bias: &Tensor, stride: &[i64], padding: &[i64]) -> Tensor {
    // By these names, because autocast lowers their precision and leaves the general `convolution` alone.
    match stride.len() {
        1 => x.conv1d(weight, Some(bias), stride, padding, &[1][..], 1),
        2 => x.conv2d(weight, Some(bias), stride, padding, &[1, 1][..], 1),
        3 => x.conv3d(weight, Some(bias), stride, padding, &[1, 1, 1][..], 1),
        axes => panic!("a convolution over {axes} axes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::{Device, Kind};

    #[test]
    fn an_odd_kernel_keeps_the_size_in_every_number_of_dimensions() {
        let path = Params::new(Device::Cpu, 1).root();
        for (dims, kernel) in
            [vec![3], vec![3, 3], vec![1, 1], vec![3, 1, 1], vec![1, 3, 3], vec![3, 3, 3]].iter().enumerate()
        {
            let conv = Conv::new(&path.sub(dims), ConvConfig::same(2, 5, kernel));
            let shape = [&[2, 2], &[4, 6, 8][..kernel.len()]].concat();
            let y = conv.forward(&Tensor::randn(&shape[..], (Kind::Float, Device::Cpu)));
            assert_eq!(y.size(), [&[2, 5], &[4, 6, 8][..kernel.len()]].concat(), "{kernel:?}");
        }
    }

    #[test]
    fn a_kernel_over_time_alone_is_the_convolution_in_three_dimensions() {
        let conv = Conv::new(&Params::new(Device::Cpu, 1).root(), ConvConfig::same(3, 4, &[3, 1, 1]));
        let x = Tensor::randn([2, 3, 5, 4, 6], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let y = conv.forward(&x);
        let want = convolve(&x, &conv.weight, &conv.bias, &[1, 1, 1], &[1, 0, 0]);
        assert!((&y - &want).abs().max().double_value(&[]) < 1e-5);
        let grads = |y: &Tensor| Tensor::run_backward(&[y.square().sum(Kind::Float)], &[&x, &conv.weight], true, false);
        for (got, want) in grads(&y).iter().zip(grads(&want)) {
            crate::testing::close(got, &want, 1e-5 * want.abs().max().double_value(&[]));
        }
    }

    #[test]
    fn few_pixels_make_no_difference() {
        for kernel in [[1, 1], [3, 3]] {
            let conv = Conv::new(&Params::new(Device::Cpu, 1).root(), ConvConfig::same(3, 4, &kernel));
            let x = Tensor::randn([2, 3, 4, 4], (Kind::Float, Device::Cpu));
            let want = convolve(&x, &conv.weight, &conv.bias, &conv.stride, &conv.padding);
            crate::testing::close(&conv.forward(&x), &want, 1e-5);
        }
    }

    #[test]
    fn starts_within_the_fan_in_bound() {
        let params = Params::new(Device::Cpu, 1);
        Conv::new(&params.root(), ConvConfig::same(4, 64, &[4, 4]));
        for param in params.into_entries() {
            let largest = param.tensor.abs().max().double_value(&[]);
            assert!((0.11..0.125).contains(&largest), "{} {largest}", param.path);
        }
    }
}
