//! The attention of a coder: none, over images, linear, or over images and time.

use tch::Tensor;

use super::attn_block::AttnBlock;
use super::config::{AttnType, VideoTimeConfig};
use super::video_attn_block::VideoAttnBlock;
use crate::layers::{Conv, ConvConfig};
use crate::params::{Init, Path};
use crate::shape::{to_pixels, to_tokens};

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
    use crate::testing::{F32, close, keys};
    use tch::Device;

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
