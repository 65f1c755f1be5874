//! Tests of the transformer block over time.

use super::*;
use crate::params::Params;
use crate::testing::{F32, close, keys, randomise};
use tch::Device;

fn config(context_width: Option<i64>) -> VideoTransformerBlockConfig {
    VideoTransformerBlockConfig::new(TransformerBlockConfig {
        width: 16,
        num_heads: 2,
        head_width: 8,
        context_width,
        gated_ff: true,
        dropout: 0.0,
    })
}

fn build(config: VideoTransformerBlockConfig) -> (Params, VideoTransformerBlock) {
    let params = Params::new(Device::Cpu, 1);
    let block = VideoTransformerBlock::new(&params.root(), config);
    randomise(&params);
    (params, block)
}

#[test]
fn positions_do_not_meet_and_frames_do() {
    for context in [None, Some(Tensor::randn([2, 3, 10], F32)), Some(Tensor::randn([2, 1, 10], F32))] {
        let (_params, block) = build(config(context.as_ref().map(|_| 10)));
        let x = Tensor::randn([2 * 3, 4, 16], F32);
        let y = block.forward(&x, context.as_ref(), 3, false);
        let one_position = block.forward(&x.narrow(1, 2, 1), context.as_ref(), 3, false);
        close(&y.narrow(1, 2, 1), &one_position, 1e-5);
        let second_clip = context.as_ref().map(|c| c.narrow(0, 1, 1));
        close(&y.narrow(0, 3, 3), &block.forward(&x.narrow(0, 3, 3), second_clip.as_ref(), 3, false), 1e-5);
        let other = x.copy();
        let _ = other.select(0, 0).g_add_scalar_(1.0);
        assert!(!block.forward(&other, context.as_ref(), 3, false).select(0, 1).equal(&y.select(0, 1)));
    }
}

#[test]
fn rows_of_context_are_shared_out_among_positions_in_order() {
    let (b, t, s) = (2, 3, 4);
    for disable_self_attn in [false, true] {
        for tokens in [1, 2] {
            let (_params, block) = build(VideoTransformerBlockConfig { disable_self_attn, ..config(Some(10)) });
            let x = Tensor::randn([b * t, s, 16], F32);
            // Four rows for eight positions: the first serves positions 0 and 1 of the first clip.
            let context = Tensor::randn([4, tokens, 10], F32);
            let y = block.forward(&x, Some(&context), t, false);
            for (clip, position) in [(0, 0), (0, 3), (1, 1), (1, 2)] {
                let alone = x.narrow(0, clip * t, t).narrow(1, position, 1);
                let row = context.narrow(0, (clip * s + position) / 2, 1);
                let want = block.forward(&alone, Some(&row), t, false);
                close(&y.narrow(0, clip * t, t).narrow(1, position, 1), &want, 1e-5);
            }
        }
    }
}

#[test]
fn dropout_of_a_shared_token_falls_on_each_position_and_frame() {
    let mut config = config(Some(10));
    config.block.dropout = 0.5;
    let (_params, block) = build(config);
    let (norm, attention) = block.second.as_ref().unwrap();
    let (x, context) = (Tensor::zeros([6, 8, 16], F32), Tensor::randn([4, 1, 10], F32));
    let kept = attend_by_position(&x, norm, attention, &context, 3, true).ne(0.0);
    for axis in [0, 1] {
        assert!(!kept.select(axis, 0).equal(&kept.select(axis, 1)));
    }
}

#[test]
fn the_second_attention_and_its_norm_can_be_left_out() {
    let params = Params::meta();
    VideoTransformerBlock::new(
        &params.root(),
        VideoTransformerBlockConfig { second: SecondAttention::Off, ..config(None) },
    );
    let keys = keys(&params);
    assert!(keys.contains(&"norm_in.weight [16]".to_owned()) && keys.contains(&"norm3.weight [16]".to_owned()));
    assert!(!keys.iter().any(|key| key.starts_with("attn2") || key.starts_with("norm2")), "{keys:?}");
}

#[test]
fn the_second_attention_can_be_over_frames_whatever_the_context() {
    let (params, block) = build(VideoTransformerBlockConfig { second: SecondAttention::Frames, ..config(Some(10)) });
    assert!(keys(&params).contains(&"attn2.to_k.weight [16, 16]".to_owned()));
    let (x, context) = (Tensor::randn([6, 4, 16], F32), Tensor::randn([2, 3, 10], F32));
    assert!(block.forward(&x, Some(&context), 3, false).equal(&block.forward(&x, None, 3, false)));
}

#[test]
fn another_width_outside_has_no_residuals() {
    let (params, block) = build(VideoTransformerBlockConfig { width: 12, ..config(None) });
    let keys = keys(&params);
    assert!(keys.contains(&"ff_in.net.2.weight [16, 48]".to_owned()), "{keys:?}");
    assert!(keys.contains(&"ff.net.2.weight [12, 64]".to_owned()), "{keys:?}");
    assert_eq!(block.forward(&Tensor::randn([6, 4, 12], F32), None, 3, false).size(), [6, 4, 12]);
}
