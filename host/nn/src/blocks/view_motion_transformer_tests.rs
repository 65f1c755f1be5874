//! Tests of the transformer over pixels, views and frames.

use super::*;
use crate::config::MergeStrategy;
use crate::params::Params;
use crate::testing::{F32, close, keys, randomise};
use tch::{Device, Kind};

fn config(grouping: ViewGrouping) -> ViewMotionTransformerConfig {
    let block = TransformerBlockConfig {
        width: 32,
        num_heads: 2,
        head_width: 16,
        context_width: Some(10),
        gated_ff: true,
        dropout: 0.0,
    };
    ViewMotionTransformerConfig {
        spatial: SpatialTransformerConfig { channels: 32, depth: 1, use_linear: true, disable_self_attn: false, block },
        view_context_width: Some(10),
        motion_context_width: Some(4),
        camera_width: None,
        grouping,
        cross_attention: true,
        blend: BlendConfig::Mixer { strategy: MergeStrategy::LearnedWithImages, factor: 0.0 },
        motion_factor: None,
        max_period: 10_000.0,
    }
}

fn build(config: ViewMotionTransformerConfig) -> (Params, ViewMotionTransformer) {
    let params = Params::new(Device::Cpu, 1);
    let transformer = ViewMotionTransformer::new(&params.root(), config);
    randomise(&params);
    (params, transformer)
}

const B: i64 = 2;
const T: i64 = 3;
const V: i64 = 2;

struct Inputs {
    x: Tensor,
    context: Tensor,
    cond_view: Tensor,
    camera: Tensor,
}

fn inputs() -> Inputs {
    Inputs {
        x: Tensor::randn([B * T * V, 32, 2, 3], F32),
        context: Tensor::randn([B, T, 10], F32),
        cond_view: Tensor::randn([B * V, 4, 4, 6], F32),
        camera: Tensor::randn([B * T * V, 5], F32),
    }
}

fn run(transformer: &ViewMotionTransformer, inputs: &Inputs) -> Tensor {
    let (context, cond_view, camera) = (&inputs.context, &inputs.cond_view, Some(&inputs.camera));
    transformer.forward(&inputs.x, ViewMotionInput { context, cond_view, camera, train: false })
}

/// Which of the rows change when one pixel of one row does.
fn reached(grouping: ViewGrouping, row: i64) -> Vec<bool> {
    let (_params, transformer) = build(config(grouping));
    let mut inputs = inputs();
    let before = run(&transformer, &inputs);
    let x = inputs.x.copy();
    let _ = x.get(row).select(1, 1).select(1, 2).g_add_scalar_(1.0);
    inputs.x = x;
    let change = (run(&transformer, &inputs) - before).abs().amax([1, 2, 3], false).to_kind(Kind::Double);
    Vec::<f64>::try_from(change).unwrap().into_iter().map(|change| change > 1e-6).collect()
}

#[test]
fn views_and_frames_of_a_clip_meet_and_clips_do_not() {
    for grouping in [ViewGrouping::Views, ViewGrouping::Everything] {
        let reached = reached(grouping, T * V + 1);
        assert_eq!(reached, (0..B * T * V).map(|row| row >= T * V).collect::<Vec<_>>(), "{grouping:?}");
    }
}

#[test]
fn strided_groups_stay_within_a_view_where_its_size_divides() {
    // Six pixels and groups of two: the change reaches all frames of its own view alone.
    let reached = reached(ViewGrouping::Strided, 1);
    assert_eq!(reached, (0..B * T * V).map(|row| row < T * V && row % V == 1).collect::<Vec<_>>());
}

#[test]
fn a_clip_alone_has_the_same_result() {
    for grouping in [ViewGrouping::Views, ViewGrouping::Everything] {
        let (_params, transformer) = build(config(grouping));
        let all = inputs();
        let second = Inputs {
            x: all.x.narrow(0, T * V, T * V),
            context: all.context.narrow(0, 1, 1),
            cond_view: all.cond_view.narrow(0, V, V),
            camera: all.camera.narrow(0, T * V, T * V),
        };
        close(&run(&transformer, &all).narrow(0, T * V, T * V), &run(&transformer, &second), 1e-5);
    }
}

#[test]
fn cameras_embed_views_by_their_first_frame() {
    let (params, transformer) =
        build(ViewMotionTransformerConfig { camera_width: Some(5), ..config(ViewGrouping::Views) });
    assert!(keys(&params).contains(&"time_mix_time_embed.0.weight [128, 5]".to_owned()));
    let inputs = inputs();
    let before = run(&transformer, &inputs);
    let later = Inputs { camera: inputs.camera.copy(), x: inputs.x.copy(), ..self::inputs() };
    let later = Inputs { context: inputs.context.copy(), cond_view: inputs.cond_view.copy(), ..later };
    let _ = later.camera.get(V).g_add_scalar_(1.0);
    assert!(run(&transformer, &later).equal(&before));
    let _ = later.camera.get(0).g_add_scalar_(1.0);
    assert!(!run(&transformer, &later).equal(&before));
}

#[test]
fn reference_views_are_resized_to_the_input_and_matter() {
    let (_params, transformer) = build(config(ViewGrouping::Views));
    let inputs = inputs();
    let resized = Inputs {
        cond_view: inputs.cond_view.upsample_bilinear2d([2, 3], false, None, None),
        x: inputs.x.copy(),
        context: inputs.context.copy(),
        camera: inputs.camera.copy(),
    };
    close(&run(&transformer, &inputs), &run(&transformer, &resized), 1e-6);
    let _ = resized.cond_view.shallow_clone().g_add_scalar_(1.0);
    assert!(!run(&transformer, &inputs).equal(&run(&transformer, &resized)));
}

#[test]
fn motion_may_have_a_blend_of_its_own() {
    let (params, _) = build(ViewMotionTransformerConfig { motion_factor: Some(0.5), ..config(ViewGrouping::Views) });
    assert!(keys(&params).contains(&"time_mixer_motion.mix_factor [1]".to_owned()));
    assert!(keys(&params).contains(&"motion_blocks.0.attn2.to_k.weight [32, 4]".to_owned()));
}

#[test]
#[should_panic(expected = "cannot depend on images")]
fn a_legacy_blend_by_images_is_refused() {
    let strategy = LegacyMergeStrategy::LearnedWithImages;
    let blend = BlendConfig::Legacy { strategy, factor: 0.0, apply_sigmoid: true };
    build(ViewMotionTransformerConfig { blend, ..config(ViewGrouping::Views) });
}
