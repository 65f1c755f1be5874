//! The transformer block over the pixels of an image.

use tch::Tensor;

use crate::layers::{AttentionExtras, CrossAttention, CrossAttentionConfig, FeedForward, FeedForwardConfig, LayerNorm};
use crate::params::Path;

/// Sizes and options of a transformer block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerBlockConfig {
    /// Width of a token.
    pub width: i64,
    /// Number of heads.
    pub num_heads: i64,
    /// Width of a head.
    pub head_width: i64,
    /// Width of a token of the context; the second attention is a self attention without it.
    pub context_width: Option<i64>,
    /// GEGLU in the feed-forward layers instead of a plain GELU.
    pub gated_ff: bool,
    /// Probability of dropping a value after attention and inside the feed-forward layer, in training.
    pub dropout: f64,
}

impl TransformerBlockConfig {
    pub(super) fn attention(&self, to_context: bool) -> CrossAttentionConfig {
        CrossAttentionConfig {
            width: self.width,
            context_width: if to_context { self.context_width } else { None },
            num_heads: self.num_heads,
            head_width: self.head_width,
            dropout: self.dropout,
        }
    }

    pub(super) fn feed_forward(&self) -> FeedForwardConfig {
        FeedForwardConfig { gated: self.gated_ff, ..FeedForwardConfig::new(self.width, self.width, self.dropout) }
    }
}

/// Self attention, cross attention, feed-forward, each with a norm in front and a residual around.
#[derive(Debug)]
pub struct TransformerBlock {
    attn1: CrossAttention,
    ff: FeedForward,
    attn2: CrossAttention,
    norm1: LayerNorm,
    norm2: LayerNorm,
    norm3: LayerNorm,
    disable_self_attn: bool,
}

impl TransformerBlock {
    /// Keys `attn1`, `ff`, `attn2`, `norm1`, `norm2`, `norm3`. With `disable_self_attn` the first attention, too, attends
    /// to the context.
    pub fn new(path: &Path, config: TransformerBlockConfig, disable_self_attn: bool) -> Self {
        let width = config.width;
        Self {
            attn1: CrossAttention::new(&path.sub("attn1"), config.attention(disable_self_attn)),
            ff: FeedForward::new(&path.sub("ff"), config.feed_forward()),
            attn2: CrossAttention::new(&path.sub("attn2"), config.attention(true)),
            norm1: LayerNorm::new(&path.sub("norm1"), width),
            norm2: LayerNorm::new(&path.sub("norm2"), width),
            norm3: LayerNorm::new(&path.sub("norm3"), width),
            disable_self_attn,
        }
    }

    /// # Shapes
    /// - `x`, result: `[n, s, d]`
    /// - `context`: `[n, s', d']`
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, train: bool) -> Tensor {
        let own_context = if self.disable_self_attn { context } else { None };
        let x = x + self.attn1.forward(&self.norm1.forward(x), own_context, train);
        let x = match context {
            Some(context) => attend_to_context(&x, &self.norm2, &self.attn2, context, train),
            None => &x + self.attn2.forward(&self.norm2.forward(&x), None, train),
        };
        &x + self.ff.forward(&self.norm3.forward(&x), train)
    }

    /// As [`TransformerBlock::forward`], with what is seldom given: both attentions see the additional tokens; only
    /// self attention goes across frames.
    ///
    /// # Shapes
    /// - `x`, result: `[n, s, d]`
    /// - `context`: `[n, s', d']`
    pub fn forward_with(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        extras: AttentionExtras<'_>,
        train: bool,
    ) -> Tensor {
        let own_context = if self.disable_self_attn { context } else { None };
        let crossframe = if self.disable_self_attn { None } else { extras.crossframe };
        let own_extras = AttentionExtras { crossframe, ..extras };
        let x = x + self.attn1.forward_with(&self.norm1.forward(x), own_context, own_extras, train);
        let extras = AttentionExtras { crossframe: None, ..extras };
        let x = &x + self.attn2.forward_with(&self.norm2.forward(&x), context, extras, train);
        &x + self.ff.forward(&self.norm3.forward(&x), train)
    }
}

/// `x + attention(norm(x), context)`, in short where the context has one token.
///
/// # Shapes
/// - `x`, result: `[b, s, d]`
/// - `context`: `[b, s', d']`
pub(super) fn attend_to_context(
    x: &Tensor,
    norm: &LayerNorm,
    attention: &CrossAttention,
    context: &Tensor,
    train: bool,
) -> Tensor {
    if context.size()[1] != 1 {
        return x + attention.forward(&norm.forward(x), Some(context), train);
    }
    let out = attention.single_token(context, x.size()[1], train);
    let idle = [&attention.query_and_key_params()[..], &norm.params()].concat();
    x + (out + zero_of(&idle))
}

/// A zero that gives `params` zero gradients instead of none: an optimizer still decays them, as it would had they been
/// multiplied into the result.
pub(super) fn zero_of(params: &[&Tensor]) -> Tensor {
    let nothing: Vec<Tensor> = params.iter().map(|p| p.flatten(0, -1).narrow(0, 0, 0)).collect();
    Tensor::cat(&nothing, 0).sum(params[0].kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::testing::{F32, close, keys, randomise};
    use tch::{Device, Kind};

    fn config() -> TransformerBlockConfig {
        TransformerBlockConfig {
            width: 16,
            num_heads: 2,
            head_width: 8,
            context_width: Some(10),
            gated_ff: true,
            dropout: 0.0,
        }
    }

    #[test]
    fn without_extras_both_ways_are_the_same() {
        let params = Params::new(Device::Cpu, 1);
        for disabled in [false, true] {
            let block = TransformerBlock::new(&params.root().sub(disabled), config(), disabled);
            let (x, context) = (Tensor::randn([2, 4, 16], F32), Tensor::randn([2, 3, 10], F32));
            let want = block.forward(&x, Some(&context), true);
            close(&block.forward_with(&x, Some(&context), AttentionExtras::default(), true), &want, 1e-5);
        }
    }

    #[test]
    fn the_first_attention_may_attend_to_the_context() {
        let shapes = |disabled| {
            let params = Params::meta();
            TransformerBlock::new(&params.root(), config(), disabled);
            keys(&params)
        };
        assert_eq!(shapes(false)[1], "attn1.to_k.weight [16, 16]");
        assert_eq!(shapes(true)[1], "attn1.to_k.weight [16, 10]");
        let params = Params::new(Device::Cpu, 1);
        let block = TransformerBlock::new(&params.root(), config(), true);
        let (x, context) = (Tensor::randn([1, 4, 16], F32), Tensor::randn([1, 3, 10], F32));
        // Without self attention a token's result does not depend on the others.
        let alone = block.forward(&x.narrow(1, 2, 1), Some(&context), true);
        close(&block.forward(&x, Some(&context), true).narrow(1, 2, 1), &alone, 1e-6);
    }

    #[test]
    fn a_context_of_one_token_in_short_equals_the_full_attention() {
        let params = Params::new(Device::Cpu, 1);
        let block = TransformerBlock::new(&params.root(), config(), false);
        randomise(&params);
        let x = Tensor::randn([2, 5, 16], F32).set_requires_grad(true);
        let context = Tensor::randn([2, 1, 10], F32).set_requires_grad(true);
        let grads = |y: Tensor| {
            let reached = params
                .entries()
                .into_iter()
                .filter(|p| p.path.starts_with("attn2.to_v") || p.path.starts_with("attn2.to_out"));
            let mut inputs = vec![x.shallow_clone(), context.shallow_clone()];
            inputs.extend(reached.map(|p| p.tensor));
            Tensor::run_backward(&[y.square().sum(Kind::Float)], &inputs, true, false)
        };
        let short = attend_to_context(&x, &block.norm2, &block.attn2, &context, true);
        let full = &x + block.attn2.forward(&block.norm2.forward(&x), Some(&context), true);
        close(&short, &full, 1e-5);
        for (short, full) in grads(short).iter().zip(grads(full)) {
            close(short, &full, 1e-5 * full.abs().max().double_value(&[]));
        }
    }

    #[test]
    fn what_one_token_leaves_out_gets_a_zero_gradient_not_none() {
        let params = Params::new(Device::Cpu, 1);
        let block = TransformerBlock::new(&params.root(), config(), false);
        let (x, context) = (Tensor::randn([2, 5, 16], F32), Tensor::randn([2, 1, 10], F32));
        block.forward(&x, Some(&context), true).square().sum(Kind::Float).backward();
        for param in params.entries() {
            assert!(anneal_torch::tensor::has_grad(&param.tensor), "{}", param.path);
            let zero =
                ["attn2.to_q.weight", "attn2.to_k.weight", "norm2.weight", "norm2.bias"].contains(&param.path.as_str());
            assert_eq!(param.tensor.grad().abs().max().double_value(&[]) == 0.0, zero, "{}", param.path);
        }
    }

    #[test]
    fn dropout_falls_on_each_token_also_when_the_context_has_one() {
        let params = Params::new(Device::Cpu, 1);
        let block = TransformerBlock::new(&params.root(), TransformerBlockConfig { dropout: 0.5, ..config() }, false);
        let (x, context) = (Tensor::zeros([1, 64, 16], F32), Tensor::randn([1, 1, 10], F32));
        let out = attend_to_context(&x, &block.norm2, &block.attn2, &context, true);
        let kept = out.ne(0.0).to_kind(Kind::Float).mean_dim(2, false, Kind::Float);
        assert!(kept.std(true).double_value(&[]) > 0.0);
    }
}
