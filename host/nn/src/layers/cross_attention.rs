//! Attention of tokens to a context, or to themselves.

use tch::Tensor;

use super::{AttendOptions, Linear, LinearConfig, attend, dropout};
use crate::params::Path;
use crate::shape::rows_of_frames;

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossAttentionConfig {
    /// Width of a token.
    pub width: i64,
    /// Width of a token of the context; that of the tokens if they attend to themselves.
    pub context_width: Option<i64>,
    /// Number of heads.
    pub num_heads: i64,
    /// Width of a head.
    pub head_width: i64,
    /// Probability of dropping an output value in training.
    pub dropout: f64,
}

/// What attention is seldom given.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttentionExtras<'a> {
    /// `[b, s'', d]`: tokens put in front of the others, and taken out of the result.
    pub additional_tokens: Option<&'a Tensor>,
    /// Broadcast to `[b, k, s, s']`: added to the scores, or where boolean, what a token may attend to.
    pub mask: Option<&'a Tensor>,
    /// All rows take keys and values of every so many rows (Text2Video-Zero, arXiv:2303.13439). The batch is its square.
    pub crossframe: Option<i64>,
}

/// Tokens for each of their values from which queries, keys and values are projected together.
const TOKENS_TO_JOIN: i64 = 4;

/// Multi-head attention, scaled by `head_width^-1/2`; no bias on queries, keys and values.
#[derive(Debug)]
pub struct CrossAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    num_heads: i64,
    dropout: f64,
}

impl CrossAttention {
    /// Keys `to_q`, `to_k`, `to_v`, `to_out.0`.
    pub fn new(path: &Path, config: CrossAttentionConfig) -> Self {
        let inner = config.num_heads * config.head_width;
        let context_width = config.context_width.unwrap_or(config.width);
        let plain = |inputs| LinearConfig { bias: false, ..LinearConfig::new(inputs, inner) };
        Self {
            to_q: Linear::new(&path.sub("to_q"), plain(config.width)),
            to_k: Linear::new(&path.sub("to_k"), plain(context_width)),
            to_v: Linear::new(&path.sub("to_v"), plain(context_width)),
            to_out: Linear::new(&path.sub("to_out").sub(0), LinearConfig::new(inner, config.width)),
            num_heads: config.num_heads,
            dropout: config.dropout,
        }
    }

    /// Tokens attend to `context`, or to one another without it.
    ///
    /// # Shapes
    /// - `x`: `[b, s, d]`
    /// - `context`: `[b, s', d']`
    /// - result: `[b, s, d]`
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, train: bool) -> Tensor {
        let heads = |x: Tensor| x.unflatten(-1, [self.num_heads, -1]).transpose(1, 2); // [b, s, d] -> [b, k, s, d/k]
        let [q, k, v] = self.project(x, context, train).map(heads);
        let out = attend(&q, &k, &v, AttendOptions::default()).transpose(1, 2).flatten(2, 3); // [b, k, s, d/k] -> [b, s, d]
        dropout(self.to_out.forward(&out, train), self.dropout, train)
    }

    /// As [`CrossAttention::forward`], with what is seldom given.
    ///
    /// # Shapes
    /// - `x`, result: `[b, s, d]`
    /// - `context`: `[b, s', d']`
    ///
    /// # Panics
    /// When `crossframe` squared is not `b`.
    pub fn forward_with(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        extras: AttentionExtras<'_>,
        train: bool,
    ) -> Tensor {
        let joined = extras.additional_tokens.map(|tokens| Tensor::cat(&[tokens, x], 1));
        let [q, k, v] = self.project(joined.as_ref().unwrap_or(x), context, train);
        let [k, v] = match extras.crossframe {
            None => [k, v],
            Some(n) => [k, v].map(|rows| every_nth_row(&rows, n)),
        };
        let heads = |x: Tensor| x.unflatten(-1, [self.num_heads, -1]).transpose(1, 2); // [b, s, d] -> [b, k, s, d/k]
        let [q, k, v] = [q, k, v].map(heads);
        let options = AttendOptions { mask: extras.mask, ..AttendOptions::default() };
        let out = attend(&q, &k, &v, options);
        let out = out.transpose(1, 2).flatten(2, 3); // [b, k, s, d/k] -> [b, s, d]
        let added = extras.additional_tokens.map_or(0, |tokens| tokens.size()[1]);
        let out = out.narrow(1, added, out.size()[1] - added);
        dropout(self.to_out.forward(&out, train), self.dropout, train)
    }

    /// The tokens of one position in the `t` frames of a clip attend to one another.
    ///
    /// # Shapes
    /// - `x`, result: `[b*t, s, d]`
    ///
    /// # Panics
    /// When `t` does not divide the rows.
    pub fn over_time(&self, x: &Tensor, t: i64, train: bool) -> Tensor {
        let (_, s, _) = x.size3().unwrap_or_else(|_| panic!("attention wants [b*t, s, d], got {:?}", x.size()));
        // [b*t, s, d] -> [b, t, s, k, d/k] -> [b*s, k, t, d/k]
        let heads = |x: Tensor| {
            let x = rows_of_frames(&x, t).unflatten(-1, [self.num_heads, -1]);
            x.permute([0, 2, 3, 1, 4]).flatten(0, 1)
        };
        let [q, k, v] = self.project(x, None, train).map(heads);
        let out = attend(&q, &k, &v, AttendOptions::default()).unflatten(0, [-1, s]); // [b*s, k, t, d/k] -> [b, s, k, t, d/k]
        let out = out.permute([0, 3, 1, 2, 4]).flatten(3, 4).flatten(0, 1); // -> [b*t, s, d]
        dropout(self.to_out.forward(&out, train), self.dropout, train)
    }

    /// What every token gets from a context of one token: the softmax over one key is 1, whatever the token, so queries
    /// and keys play no part and their gradients are zero.
    ///
    /// # Shapes
    /// - `context`: `[b, 1, d']`
    /// - `tokens`: `s`, the tokens that the result is for; 1 if all get the same
    /// - result: `[b, 1 or s, d]`; `s` where each token has its own dropout
    pub fn single_token(&self, context: &Tensor, tokens: i64, train: bool) -> Tensor {
        let out = self.to_out.forward(&self.to_v.forward(context, train), train);
        if train && self.dropout > 0.0 {
            dropout(out.expand([-1, tokens, -1], false).contiguous(), self.dropout, train)
        } else {
            out
        }
    }

    /// The parameters that [`CrossAttention::single_token`] leaves out.
    pub fn query_and_key_params(&self) -> Vec<&Tensor> {
        let adapters = [&self.to_q, &self.to_k].into_iter().filter_map(|linear| linear.lora.as_ref());
        let adapters = adapters.flat_map(|lora| [&lora.a, &lora.b]);
        [&self.to_q.weight, &self.to_k.weight].into_iter().chain(adapters).collect()
    }

    fn project(&self, x: &Tensor, context: Option<&Tensor>, train: bool) -> [Tensor; 3] {
        let Some(context) = context else {
            return self.project_self(x, train);
        };
        [self.to_q.forward(x, train), self.to_k.forward(context, train), self.to_v.forward(context, train)]
    }

    /// Queries, keys and values of one input. Where it has many tokens, one multiplication by the three matrices
    /// together saves more than putting them together costs.
    fn project_self(&self, x: &Tensor, train: bool) -> [Tensor; 3] {
        let layers = [&self.to_q, &self.to_k, &self.to_v];
        let width = x.size()[2];
        if x.numel() as i64 / width < TOKENS_TO_JOIN * width {
            return layers.map(|layer| layer.forward(x, train));
        }
        let joint = x.linear::<&Tensor>(&Tensor::cat(&layers.map(|layer| &layer.weight), 0), None);
        let mut parts = joint.chunk(3, 2).into_iter();
        // Chunks, not slices: the gradient of all is put together in one pass.
        layers.map(|layer| {
            let part = parts.next().unwrap_or_else(|| panic!("queries, keys and values are three chunks"));
            layer.adapted(part, x, train)
        })
    }
}

/// Rows 0, n, 2n, ..., each repeated as often as there are of them: `[n*n, s, d] -> [n*n, s, d]`
fn every_nth_row(x: &Tensor, n: i64) -> Tensor {
    let rows = x.size()[0];
    assert!(n * n == rows, "attention across frames: {rows} rows are not the square of crossframe = {n}");
    x.slice(0, 0, rows, n).repeat_interleave_self_int(n, 0, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::{Device, Kind};

    const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn attention(context_width: Option<i64>) -> CrossAttention {
        let config = CrossAttentionConfig { width: 12, context_width, num_heads: 3, head_width: 5, dropout: 0.0 };
        CrossAttention::new(&Params::new(Device::Cpu, 1).root(), config)
    }

    /// Softmax written out, head by head.
    fn written_out(attention: &CrossAttention, x: &Tensor, context: &Tensor) -> Tensor {
        let [q, k, v] = [&attention.to_q, &attention.to_k, &attention.to_v]
            .map(|linear| linear.forward(if std::ptr::eq(linear, &attention.to_q) { x } else { context }, false));
        let heads = (0..3).map(|head| {
            let part = |t: &Tensor| t.narrow(2, 5 * head, 5);
            let scores = part(&q).matmul(&part(&k).transpose(1, 2)) / 5f64.sqrt();
            scores.softmax(-1, Kind::Float).matmul(&part(&v))
        });
        attention.to_out.forward(&Tensor::cat(&heads.collect::<Vec<_>>(), 2), false)
    }

    fn close(a: &Tensor, b: &Tensor) {
        assert_eq!(a.size(), b.size());
        let worst = (a - b).abs().max().double_value(&[]);
        assert!(worst < 1e-6, "{worst}");
    }

    #[test]
    fn is_softmax_over_the_context() {
        let (x, context) = (Tensor::randn([2, 7, 12], F32), Tensor::randn([2, 4, 6], F32));
        let cross = attention(Some(6));
        close(&cross.forward(&x, Some(&context), false), &written_out(&cross, &x, &context));
        let own = attention(None);
        close(&own.forward(&x, None, false), &written_out(&own, &x, &x));
    }

    #[test]
    fn over_time_a_position_sees_itself_alone() {
        let (b, t, s) = (2, 4, 3);
        let x = Tensor::randn([b * t, s, 12], F32);
        let attention = attention(None);
        let by_position = x.view([b, t, s, 12]).transpose(1, 2).reshape([b * s, t, 12]);
        let want =
            attention.forward(&by_position, None, false).view([b, s, t, 12]).transpose(1, 2).reshape([b * t, s, 12]);
        close(&attention.over_time(&x, t, false), &want);
    }
    #[test]
    fn additional_tokens_are_attended_to_and_dropped() {
        let attention = attention(None);
        let (x, more) = (Tensor::randn([2, 4, 12], F32), Tensor::randn([2, 3, 12], F32));
        let extras = AttentionExtras { additional_tokens: Some(&more), ..AttentionExtras::default() };
        let all = attention.forward(&Tensor::cat(&[&more, &x], 1), None, false);
        close(&attention.forward_with(&x, None, extras, false), &all.narrow(1, 3, 4));
    }

    #[test]
    fn a_masked_token_does_not_count() {
        let attention = attention(Some(6));
        let (x, context) = (Tensor::randn([2, 4, 12], F32), Tensor::randn([2, 3, 6], F32));
        let mask = Tensor::from_slice(&[true, true, false]).expand([2, 1, 4, 3], false);
        let extras = AttentionExtras { mask: Some(&mask), ..AttentionExtras::default() };
        let got = attention.forward_with(&x, Some(&context), extras, false);
        close(&got, &attention.forward(&x, Some(&context.narrow(1, 0, 2)), false));
    }

    #[test]
    fn across_frames_keys_come_from_every_nth_row() {
        let attention = attention(None);
        let x = Tensor::randn([4, 3, 12], F32);
        let extras = AttentionExtras { crossframe: Some(2), ..AttentionExtras::default() };
        let keys = x.index_select(0, &Tensor::from_slice(&[0i64, 0, 2, 2]));
        close(&attention.forward_with(&x, None, extras, false), &attention.forward(&x, Some(&keys), false));
    }
}
