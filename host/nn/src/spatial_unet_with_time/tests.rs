//! Tests of SV4D's UNet.

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::{SpatialUNetWithTime, SpatialUNetWithTimeConfig};
use crate::network::{Network, NetworkInput};
use crate::params::Params;
use crate::testing::{F32, close, keys, randomise};

fn sv4d() -> Value {
    json!({
        "adm_in_channels": 1280, "attention_resolutions": [4, 2, 1], "channel_mult": [1, 2, 4, 4], "context_dim": 1024,
        "motion_context_dim": 4, "extra_ff_mix_layer": true, "in_channels": 8, "legacy": false, "model_channels": 320,
        "num_classes": "sequential", "num_head_channels": 64, "num_res_blocks": 2, "out_channels": 4,
        "replicate_time_mix_bug": true, "spatial_transformer_attn_type": "softmax-xformers",
        "time_block_merge_factor": 0.0, "time_block_merge_strategy": "learned_with_images",
        "time_kernel_size": [3, 1, 1], "time_mix_legacy": false, "transformer_depth": 1, "use_checkpoint": false,
        "use_linear_in_transformer": true, "use_spatial_context": true, "use_spatial_transformer": true,
        "use_motion_attention": true,
    })
}

fn small() -> Value {
    with(
        sv4d(),
        json!({
            "adm_in_channels": 128, "attention_resolutions": [1], "channel_mult": [1, 2], "context_dim": 10,
            "in_channels": 5, "model_channels": 32, "num_head_channels": 16, "num_res_blocks": 1, "out_channels": 3,
        }),
    )
}

fn with(mut base: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

fn config(value: Value) -> SpatialUNetWithTimeConfig {
    serde_json::from_value(value).unwrap()
}

fn count(changes: Value) -> (usize, usize) {
    let params = Params::meta();
    SpatialUNetWithTime::new(&config(with(sv4d(), changes)), &params.root());
    let entries = params.into_entries();
    (entries.iter().map(|p| p.tensor.numel()).sum(), entries.len())
}

#[test]
fn full_sizes_have_the_published_number_of_parameters() {
    assert_eq!(count(json!({})), (1_996_625_322, 1908)); // SV4D
    let eight_views = json!({ "separate_motion_merge_factor": true, "use_camera_emb": true });
    assert_eq!(count(eight_views.clone()), (2_010_961_338, 1924)); // SV4D 2.0, 8 views
    assert_eq!(count(with(eight_views, json!({ "use_3d_attention": true }))), (2_010_961_338, 1924)); // SV4D 2.0
}

#[test]
fn keys_and_shapes_are_those_of_the_published_checkpoint() {
    let params = Params::meta();
    let changes = json!({ "separate_motion_merge_factor": true, "use_camera_emb": true });
    SpatialUNetWithTime::new(&config(with(sv4d(), changes)), &params.root());
    let keys = keys(&params);
    for key in [
        "label_emb.0.0.weight [1280, 1280]",
        "input_blocks.1.0.time_mix_blocks.in_layers.2.weight [320, 320, 3, 1, 1]",
        "input_blocks.1.0.time_mixer.mix_factor [1]",
        "input_blocks.1.1.time_mix_blocks.0.attn2.to_k.weight [320, 1024]",
        "input_blocks.1.1.motion_blocks.0.attn2.to_v.weight [320, 4]",
        "input_blocks.1.1.motion_blocks.0.ff_in.net.0.proj.weight [2560, 320]",
        "input_blocks.1.1.time_mix_time_embed.0.weight [1280, 1280]",
        "input_blocks.1.1.time_mix_motion_embed.0.weight [1280, 320]",
        "input_blocks.1.1.time_mixer.mix_factor [1]",
        "input_blocks.1.1.time_mixer_motion.mix_factor [1]",
        "input_blocks.3.0.op.weight [320, 320, 3, 3]",
        "output_blocks.2.1.conv.weight [1280, 1280, 3, 3]",
        "out.2.weight [4, 320, 3, 3]",
    ] {
        assert!(keys.iter().any(|k| k == key), "{key}");
    }
}

const T: i64 = 3;
const V: i64 = 2;

struct Inputs {
    x: Tensor,
    context: Tensor,
    cond_view: Tensor,
    y: Tensor,
    c_noise: Tensor,
}

/// Two scenes.
fn inputs() -> Inputs {
    let rows = 2 * T * V;
    Inputs {
        x: Tensor::randn([rows, 5, 4, 4], F32),
        context: Tensor::randn([2, T, 10], F32).set_requires_grad(true),
        cond_view: Tensor::randn([2 * V, 4, 4, 4], F32).set_requires_grad(true),
        y: Tensor::randn([rows, 128], F32),
        c_noise: Tensor::randn([rows], F32),
    }
}

fn forward(network: &SpatialUNetWithTime, inputs: &Inputs) -> Tensor {
    network.forward(&NetworkInput {
        x: &inputs.x,
        c_noise: &inputs.c_noise,
        context: Some(&inputs.context),
        y: Some(&inputs.y),
        time_context: None,
        num_video_frames: Some(T * V),
        image_only_indicator: None,
        cond_view: Some(&inputs.cond_view),
        cond_motion: None,
        train: true,
    })
}

fn build(changes: Value) -> (Params, SpatialUNetWithTime) {
    let params = Params::new(Device::Cpu, 3);
    let network = SpatialUNetWithTime::new(&config(with(small(), changes)), &params.root());
    randomise(&params);
    (params, network)
}

fn gradients(changes: Value, inputs: &Inputs) -> Vec<Tensor> {
    let (params, network) = build(changes);
    let y = forward(&network, inputs);
    let mut leaves = vec![inputs.context.shallow_clone(), inputs.cond_view.shallow_clone()];
    leaves.extend(params.entries().into_iter().map(|param| param.tensor));
    Tensor::run_backward(&[y.square().sum(Kind::Float)], &leaves, false, false)
}

#[test]
fn recomputing_activations_changes_no_gradient() {
    let inputs = inputs();
    let changes = json!({ "use_camera_emb": true, "use_3d_attention": true });
    let kept = gradients(changes.clone(), &inputs);
    let recomputed = gradients(with(changes, json!({ "use_checkpoint": true })), &inputs);
    for (kept, recomputed) in kept.iter().zip(&recomputed) {
        close(recomputed, kept, 1e-5 * kept.abs().max().double_value(&[]));
    }
}

#[test]
fn scenes_do_not_meet() {
    let (_params, network) = build(json!({}));
    let both = inputs();
    let rows = T * V;
    let second = Inputs {
        x: both.x.narrow(0, rows, rows),
        context: both.context.narrow(0, 1, 1),
        cond_view: both.cond_view.narrow(0, V, V),
        y: both.y.narrow(0, rows, rows),
        c_noise: both.c_noise.narrow(0, rows, rows),
    };
    close(&forward(&network, &both).narrow(0, rows, rows), &forward(&network, &second), 1e-4);
}

#[test]
fn residual_blocks_can_be_those_of_images() {
    let (params, network) = build(json!({ "use_temporal_resblock": false }));
    let keys = keys(&params);
    assert!(!keys.iter().any(|key| key.contains(".0.time_mix_blocks.in_layers")), "{keys:?}");
    assert_eq!(forward(&network, &inputs()).size(), [2 * T * V, 3, 4, 4]);
}

/// The settings that are wrong with `changes`.
fn check(changes: Value, want: &[&str]) {
    let problems = config(with(small(), changes)).check();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, want);
}

#[test]
fn settings_that_cannot_work_are_named() {
    check(json!({}), &[]);
    check(json!({ "use_spatial_transformer": false }), &["use_spatial_transformer"]);
    check(json!({ "use_motion_attention": false }), &["use_motion_attention"]);
    check(json!({ "use_camera_emb": true, "adm_in_channels": 20 }), &["adm_in_channels"]);
    check(json!({ "use_camera_emb": true, "num_classes": null }), &[]);
    check(json!({ "use_spatial_context": false }), &["time_context_dim"]);
    check(json!({ "use_spatial_context": false, "time_context_dim": 10 }), &[]);
    check(json!({ "time_mix_legacy": true }), &["time_block_merge_strategy"]);
    check(json!({ "time_mix_legacy": true, "time_block_merge_strategy": "learned" }), &[]);
    check(
        json!({ "time_mix_legacy": true, "time_block_merge_strategy": "fixed", "separate_motion_merge_factor": true }),
        &["separate_motion_merge_factor"],
    );
    check(json!({ "view_block_merge_factor": 0.5, "time_downup": true }), &["view_block_merge_factor", "time_downup"]);
    check(json!({ "time_kernel_size": 2, "dims": 3 }), &["dims", "time_kernel_size"]);
}
