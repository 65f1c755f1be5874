//! T5's encoder as the transformers library writes it.

use plugin_api::tch::prelude::*;

use crate::layers::{Activation, Attend, Linear, RmsNorm, attention};
use crate::tokens::{beside, check_ids};
use crate::tree::Tree;

/// The feed-forward network of a block.
#[derive(Config, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// `wo(gelu(wi_0 x) * wi_1 x)`, of T5 1.1 and ByT5.
    GatedGelu,
    /// `wo(relu(wi x))`, of T5 1.0.
    Relu,
}

/// Sizes of an encoder.
#[derive(Config, Clone, Copy, Debug)]
pub struct T5Sizes {
    /// Number of different tokens.
    #[config(default = 32128, min = 1)]
    pub vocab_size: i64,
    /// Width of a token.
    #[config(min = 1)]
    pub width: i64,
    /// Width of a head.
    #[config(default = 64, min = 1)]
    pub head_width: i64,
    /// Number of heads.
    #[config(min = 1)]
    pub heads: i64,
    /// Width inside a block's feed-forward network.
    #[config(min = 1)]
    pub hidden: i64,
    /// Number of blocks.
    #[config(min = 1)]
    pub layers: i64,
    /// The feed-forward networks.
    #[config(default = FeedForward::GatedGelu)]
    pub feed_forward: FeedForward,
    /// Distances between tokens that are told apart, in both directions.
    #[config(default = 32, min = 4)]
    pub num_buckets: i64,
    /// All distances from this one on are the same.
    #[config(default = 128, min = 2)]
    pub max_distance: i64,
    /// Added to the mean square in the norms.
    #[config(default = 1e-6, exclusive_min = 0.0)]
    pub eps: f64,
}

impl T5Sizes {
    /// A model of T5 1.1's kind.
    pub const fn v1_1(vocab_size: i64, [width, hidden, layers, heads]: [i64; 4]) -> Self {
        let (head_width, num_buckets, max_distance, eps) = (64, 32, 128, 1e-6);
        let feed_forward = FeedForward::GatedGelu;
        Self { vocab_size, width, head_width, heads, hidden, layers, feed_forward, num_buckets, max_distance, eps }
    }
}

struct Block {
    attention_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    feed_forward_norm: RmsNorm,
    inner: Linear,
    gate: Option<Linear>,
    wo: Linear,
}

impl Block {
    /// The first block's attention also holds the bias of distances, which all blocks share.
    fn new(mut at: Tree<'_>, sizes: T5Sizes, with_bias: bool) -> (Self, Option<Param>) {
        let T5Sizes { width, hidden, eps, .. } = sizes;
        let inner_width = sizes.heads * sizes.head_width;
        let mut layer = at.sub("layer");
        let mut first = layer.sub(0);
        let mut attention = first.sub("SelfAttention");
        let (q, k, v, o) = (
            Linear::new(attention.sub("q"), width, inner_width, false),
            Linear::new(attention.sub("k"), width, inner_width, false),
            Linear::new(attention.sub("v"), width, inner_width, false),
            Linear::new(attention.sub("o"), inner_width, width, false),
        );
        let bias = with_bias.then(|| {
            let init = Init::Normal { std: (width as f64).powf(-0.5) };
            attention.param("relative_attention_bias.weight", &[sizes.num_buckets, sizes.heads], init)
        });
        let attention_norm = RmsNorm::new(first.sub("layer_norm"), width, eps);
        let mut second = layer.sub(1);
        let mut dense = second.sub("DenseReluDense");
        let (inner, gate) = match sizes.feed_forward {
            FeedForward::GatedGelu => (
                Linear::new(dense.sub("wi_0"), width, hidden, false),
                Some(Linear::new(dense.sub("wi_1"), width, hidden, false)),
            ),
            FeedForward::Relu => (Linear::new(dense.sub("wi"), width, hidden, false), None),
        };
        let wo = Linear::new(dense.sub("wo"), hidden, width, false);
        let feed_forward_norm = RmsNorm::new(second.sub("layer_norm"), width, eps);
        (Self { attention_norm, q, k, v, o, feed_forward_norm, inner, gate, wo }, bias)
    }

    fn forward(&self, call: &Call<'_>, x: &Tensor, bias: &Tensor, heads: i64) -> Result<Tensor> {
        let normed = self.attention_norm.forward(call, x)?;
        let project = |layer: &Linear| layer.forward(call, &normed);
        let (q, k, v) = (project(&self.q)?, project(&self.k)?, project(&self.v)?);
        let x = x + self.o.forward(call, &attention(&q, &k, &v, heads, &Attend::Biased(bias))?)?;
        let normed = self.feed_forward_norm.forward(call, &x)?;
        let inner = self.inner.forward(call, &normed)?;
        let inner = match &self.gate {
            Some(gate) => Activation::GeluTanh.apply(&inner) * gate.forward(call, &normed)?,
            None => Activation::Relu.apply(&inner),
        };
        Ok(&x + self.wo.forward(call, &inner)?)
    }
}

/// The encoder.
pub struct T5Encoder {
    shared: Param,
    relative_attention_bias: Option<Param>,
    blocks: Vec<Block>,
    final_layer_norm: RmsNorm,
    sizes: T5Sizes,
}

impl T5Encoder {
    /// Keys as in `T5EncoderModel`, where `encoder.embed_tokens.weight` is another name of `shared.weight`.
    pub fn new(mut at: Tree<'_>, sizes: T5Sizes) -> Self {
        let shared = at.param("shared.weight", &[sizes.vocab_size, sizes.width], Init::Normal { std: 1.0 });
        let mut encoder = at.sub("encoder");
        let (mut blocks, mut relative_attention_bias) = (Vec::new(), None);
        for i in 0..sizes.layers {
            let (block, bias) = Block::new(encoder.sub("block").sub(i), sizes, i == 0);
            relative_attention_bias = relative_attention_bias.or(bias);
            blocks.push(block);
        }
        let final_layer_norm = RmsNorm::new(encoder.sub("final_layer_norm"), sizes.width, sizes.eps);
        Self { shared, relative_attention_bias, blocks, final_layer_norm, sizes }
    }

    /// Every token attends to every other, also to those that fill a text up.
    ///
    /// # Shapes
    /// - `ids`: `[n, s]`, integers
    /// - result: `[n, s, width]`
    pub fn forward(&self, call: &Call<'_>, ids: &Tensor) -> Result<Tensor> {
        check_ids(ids, self.sizes.vocab_size, None)?;
        let table = call.param(self.shared);
        let mut x = Tensor::f_embedding(table, &beside(ids, table), -1, false, false)?;
        let bias = self.bias(call, ids.size()[1])?.to_kind(x.kind());
        for block in &self.blocks {
            x = block.forward(call, &x, &bias, self.sizes.heads)?;
        }
        self.final_layer_norm.forward(call, &x)
    }

    /// What a query adds for a key at each distance, `[1, heads, length, length]`.
    fn bias(&self, call: &Call<'_>, length: i64) -> Result<Tensor> {
        let Some(table) = self.relative_attention_bias else {
            return Err(Error::argument("there is no block, and so no bias of distances"));
        };
        let positions = 0..length;
        let buckets: Vec<i64> = positions
            .clone()
            .flat_map(|query| positions.clone().map(move |key| key - query))
            .map(|distance| bucket(distance, self.sizes.num_buckets, self.sizes.max_distance))
            .collect();
        let (buckets, table) = (Tensor::from_slice(&buckets).reshape([length, length]), call.param(table));
        let bias = Tensor::f_embedding(table, &beside(&buckets, table), -1, false, false)?; // [s, s, k]
        Ok(bias.permute([2, 0, 1]).unsqueeze(0))
    }
}

/// The bucket of a distance from query to key: half of them for each direction; of those half for short distances,
/// one each, and the rest growing with the logarithm.
fn bucket(distance: i64, num_buckets: i64, max_distance: i64) -> i64 {
    let half = num_buckets / 2;
    let (first, distance) = (if distance > 0 { half } else { 0 }, distance.abs());
    let exact = half / 2;
    if distance < exact {
        return first + distance;
    }
    // In f32, as published models were trained: a logarithm next to a whole number decides the bucket.
    let ratio = (distance as f32 / exact as f32).ln() / (max_distance as f64 / exact as f64).ln() as f32;
    let grown = exact + (ratio * (half - exact) as f32) as i64;
    first + grown.min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn buckets_are_exact_when_near_and_grow_with_distance() {
        let of = |distance| bucket(distance, 32, 128);
        assert_eq!([of(0), of(-1), of(-7), of(1), of(7)], [0, 1, 7, 17, 23]);
        assert_eq!([of(-8), of(-11), of(-12), of(-64), of(-127), of(-1000)], [8, 8, 9, 14, 15, 15]);
        assert_eq!([of(8), of(128)], [24, 31]);
        assert!((1..200).all(|distance| of(-distance) >= of(1 - distance) && of(distance) == of(-distance) + 16));
    }
}
