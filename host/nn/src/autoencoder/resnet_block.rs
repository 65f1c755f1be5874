//! The residual block of autoencoders.

use tch::Tensor;

use crate::layers::{Conv, ConvConfig, GroupNorm, Linear, LinearConfig, dropout};
use crate::params::Path;
use crate::shape::append_axes;

/// Sizes and options of an autoencoder's residual block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResnetBlockConfig {
    /// Channels of the input.
    pub in_channels: i64,
    /// Channels of the output.
    pub out_channels: i64,
    /// A full convolution in the skip connection where the channels change, instead of one of kernel 1.
    pub conv_shortcut: bool,
    /// Probability of dropping a value in front of the last convolution, in training.
    pub dropout: f64,
    /// Width of an embedding that is added between the convolutions; none in autoencoders proper.
    pub temb_channels: Option<i64>,
}

impl ResnetBlockConfig {
    /// A block without an embedding, whose skip connection changes channels by a kernel of 1.
    pub fn new(in_channels: i64, out_channels: i64, dropout: f64) -> Self {
        Self { in_channels, out_channels, conv_shortcut: false, dropout, temb_channels: None }
    }
}

/// Norm, SiLU, convolution, embedding, norm, SiLU, dropout, convolution; plus the skip connection. The norms' eps is
/// 1e-6.
#[derive(Debug)]
pub struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv,
    temb_proj: Option<Linear>,
    norm2: GroupNorm,
    dropout: f64,
    conv2: Conv,
    shortcut: Option<Conv>,
}

impl ResnetBlock {
    /// Keys `norm1`, `conv1`, `temb_proj` with an embedding, `norm2`, `conv2`, and where the channels change
    /// `conv_shortcut` or `nin_shortcut`.
    pub fn new(path: &Path, config: ResnetBlockConfig) -> Self {
        let (inputs, outputs) = (config.in_channels, config.out_channels);
        let (key, kernel) = if config.conv_shortcut { ("conv_shortcut", [3, 3]) } else { ("nin_shortcut", [1, 1]) };
        let temb_proj = |width| Linear::new(&path.sub("temb_proj"), LinearConfig::new(width, outputs));
        Self {
            norm1: GroupNorm::of_attention(&path.sub("norm1"), inputs),
            conv1: Conv::new(&path.sub("conv1"), ConvConfig::same(inputs, outputs, &[3, 3])),
            temb_proj: config.temb_channels.map(temb_proj),
            norm2: GroupNorm::of_attention(&path.sub("norm2"), outputs),
            dropout: config.dropout,
            conv2: Conv::new(&path.sub("conv2"), ConvConfig::same(outputs, outputs, &[3, 3])),
            shortcut: (inputs != outputs)
                .then(|| Conv::new(&path.sub(key), ConvConfig::same(inputs, outputs, &kernel))),
        }
    }

    /// # Shapes
    /// - `x`: `[n, c, h, w]`
    /// - `temb`: `[n, temb_channels]`; without it nothing is added
    /// - result: `[n, c_out, h, w]`
    ///
    /// # Panics
    /// When a block without an embedding is given one.
    pub fn forward(&self, x: &Tensor, temb: Option<&Tensor>, train: bool) -> Tensor {
        let mut h = self.conv1.forward(&self.norm1.forward(x).silu());
        if let Some(temb) = temb {
            let proj = self.temb_proj.as_ref().unwrap_or_else(|| panic!("a block without embedding was given one"));
            h += append_axes(&proj.forward(&temb.silu(), false), 4);
        }
        let h = self.conv2.forward(&dropout(self.norm2.forward(&h).silu(), self.dropout, train));
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x) + h,
            None => x + h,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, keys};
    use tch::{Device, Kind};

    #[test]
    fn the_skip_connection_is_where_channels_change() {
        let found = |config| {
            let params = Params::meta();
            ResnetBlock::new(&params.root(), config);
            keys(&params).into_iter().filter(|key| key.contains("shortcut.weight")).collect::<Vec<_>>()
        };
        let wide = ResnetBlockConfig::new(32, 64, 0.0);
        assert!(found(ResnetBlockConfig::new(32, 32, 0.0)).is_empty());
        assert_eq!(found(wide), ["nin_shortcut.weight [64, 32, 1, 1]"]);
        assert_eq!(found(ResnetBlockConfig { conv_shortcut: true, ..wide }), ["conv_shortcut.weight [64, 32, 3, 3]"]);
    }

    #[test]
    fn the_embedding_reaches_its_row() {
        let config = ResnetBlockConfig { temb_channels: Some(12), ..ResnetBlockConfig::new(64, 64, 0.0) };
        let block = ResnetBlock::new(&Params::new(Device::Cpu, 1).root(), config);
        let (x, temb) = (Tensor::randn([2, 64, 4, 4], F32), Tensor::randn([2, 12], F32));
        let other = temb.copy();
        let _ = other.select(0, 1).g_add_scalar_(1.0);
        let change = block.forward(&x, Some(&temb), false) - block.forward(&x, Some(&other), false);
        let rows = change.abs().sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Float);
        assert!(rows.double_value(&[0]) == 0.0 && rows.double_value(&[1]) > 0.0);
    }
}
