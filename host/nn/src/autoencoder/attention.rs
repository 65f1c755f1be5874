//! Attention of the pixels of an image to one another, with one head.

use tch::Tensor;

use super::config::AttnType;
use super::video_attn_block::VideoAttnBlock;
use super::video_resnet_block::VideoTimeConfig;
use crate::layers::{AttendOptions, Conv, ConvConfig, GroupNorm, attend};
use crate::params::{Init, Path};
use crate::shape::{to_pixels, to_tokens};

/// Norm, attention over all pixels, projection; plus the skip connection.
#[derive(Debug)]
pub struct AttnBlock {
    norm: GroupNorm,
    q: Conv,
    k: Conv,
    v: Conv,
    proj_out: Conv,
}

impl AttnBlock {
    /// Keys `norm`, `q`, `k`, `v`, `proj_out`.
    pub fn new(path: &Path, channels: i64) -> Self {
        let projection = |name: &str| Conv::new(&path.sub(name), ConvConfig::same(channels, channels, &[1, 1]));
        Self {
            norm: GroupNorm::of_attention(&path.sub("norm"), channels),
            q: projection("q"),
            k: projection("k"),
            v: projection("v"),
            proj_out: projection("proj_out"),
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x + self.project(&self.attended(x), x)
    }

    /// What each pixel gathers from the others, before projection.
    ///
    /// # Shapes
    /// - `x`: `[n, c, h, w]`
    /// - result: `[n, h*w, c]`
    pub(super) fn attended(&self, x: &Tensor) -> Tensor {
        let normed = self.norm.forward(x);
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|conv| to_tokens(&conv.forward(&normed)).unsqueeze(1));
        attend(&q, &k, &v, AttendOptions::default()).squeeze_dim(1)
    }

    /// # Shapes
    /// - `tokens`: `[n, h*w, c]`
    /// - `like`, result: `[n, c, h, w]`
    pub(super) fn project(&self, tokens: &Tensor, like: &Tensor) -> Tensor {
        let size = like.size();
        self.proj_out.forward(&to_pixels(tokens, size[2], size[3]))
    }
}

/// Linear attention with one head: keys are normalised over the pixels, and there is neither a norm nor a skip
/// connection.
#[derive(Debug)]
pub struct LinAttnBlock {
    /// `[3*c, c, 1, 1]`.
    to_qkv: Tensor,
    to_out: Conv,
}

impl LinAttnBlock {
    /// Keys `to_qkv` without a bias, `to_out`.
    pub fn new(path: &Path, channels: i64) -> Self {
        Self {
            to_qkv: path.sub("to_qkv").param("weight", &[3 * channels, channels, 1, 1], Init::fan_in(channels)),
            to_out: Conv::new(&path.sub("to_out"), ConvConfig::same(channels, channels, &[1, 1])),
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let joint = to_tokens(x).linear::<&Tensor>(&self.to_qkv.flatten(1, 3), None); // [n, h*w, 3*c]
        let parts = joint.chunk(3, 2);
        let (q, k, v) = (&parts[0], &parts[1], &parts[2]);
        let context = k.softmax(1, None).transpose(1, 2).matmul(v); // [n, c, h*w] x [n, h*w, c] -> [n, c, c]
        self.to_out.forward(&to_pixels(&q.matmul(&context), size[2], size[3]))
    }
}

/// The attention of a coder, by its type and its time mode.
#[derive(Debug)]
pub(super) enum Attention {
    None,
    Softmax(Box<AttnBlock>),
    Linear(Box<LinAttnBlock>),
    Video(Box<VideoAttnBlock>),
}

impl Attention {
    /// Attention over images of the given type.
    pub fn of_images(path: &Path, channels: i64, attn_type: AttnType) -> Self {
        match attn_type {
            AttnType::None => Self::None,
            AttnType::Vanilla | AttnType::VanillaXformers => Self::Softmax(Box::new(AttnBlock::new(path, channels))),
            AttnType::Linear | AttnType::MemoryEfficientCrossAttn => {
                Self::Linear(Box::new(LinAttnBlock::new(path, channels)))
            }
        }
    }

    /// Attention over images and time.
    pub fn of_video(path: &Path, channels: i64, time: VideoTimeConfig) -> Self {
        Self::Video(Box::new(VideoAttnBlock::new(path, channels, time.merge_strategy, time.alpha)))
    }

    /// # Shapes
    /// - `x`, result: `[n, c, h, w]`, rows `(b t)` where `t` is given
    pub fn forward(&self, x: &Tensor, t: Option<i64>, train: bool) -> Tensor {
        match self {
            Self::None => x.shallow_clone(),
            Self::Softmax(block) => block.forward(x),
            Self::Linear(block) => block.forward(x),
            Self::Video(block) => block.forward(x, t, train),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, keys, randomise};
    use tch::{Device, Kind};

    #[test]
    fn softmax_attention_written_out() {
        let params = Params::new(Device::Cpu, 1);
        let block = AttnBlock::new(&params.root(), 32);
        randomise(&params);
        let x = Tensor::randn([2, 32, 3, 4], F32);
        let normed = block.norm.forward(&x);
        let [q, k, v] = [&block.q, &block.k, &block.v].map(|conv| conv.forward(&normed).flatten(2, 3));
        let weights = (q.transpose(1, 2).matmul(&k) / 32f64.sqrt()).softmax(-1, Kind::Float); // [n, h*w, h*w]
        let attended = v.matmul(&weights.transpose(1, 2)).unflatten(2, [3, 4]);
        close(&block.forward(&x), &(&x + block.proj_out.forward(&attended)), 1e-5);
    }

    #[test]
    fn linear_attention_normalises_keys_over_pixels() {
        let params = Params::new(Device::Cpu, 1);
        let block = LinAttnBlock::new(&params.root(), 6);
        assert_eq!(keys(&params), ["to_qkv.weight [18, 6, 1, 1]", "to_out.weight [6, 6, 1, 1]", "to_out.bias [6]"]);
        // Where all pixels are the same, every pixel's weight is 1/(h*w) and their sum is the value itself.
        let x = Tensor::randn([1, 6, 1, 1], F32);
        let same = block.forward(&x.expand([1, 6, 5, 3], false));
        close(&same.narrow(2, 4, 1).narrow(3, 2, 1), &block.forward(&x), 1e-5);
    }
}
