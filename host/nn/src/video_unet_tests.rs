//! Tests of the video UNet.

use tch::{Kind, Tensor};

use super::{VideoUNet, VideoUNetConfig};
use crate::network::{Network, NetworkInput};
use crate::params::Params;
use crate::testing::{F32, close, randomise};
use serde_json::{Value, json};
use tch::Device;

fn svd(adm_in_channels: u32) -> Value {
    json!({
        "in_channels": 8, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_head_channels": 64, "transformer_depth": 1,
        "context_dim": 1024, "num_classes": "sequential", "adm_in_channels": adm_in_channels, "use_checkpoint": true,
        "use_linear_in_transformer": true, "spatial_transformer_attn_type": "softmax-xformers",
        "extra_ff_mix_layer": true, "use_spatial_context": true, "merge_strategy": "learned_with_images",
        "video_kernel_size": [3, 1, 1],
    })
}

fn small() -> Value {
    json!({
        "in_channels": 6, "out_channels": 3, "model_channels": 32, "attention_resolutions": [1], "num_res_blocks": 1,
        "channel_mult": [1, 2], "num_head_channels": 16, "context_dim": 8, "num_classes": "sequential",
        "adm_in_channels": 5, "use_linear_in_transformer": true, "use_spatial_context": true,
        "merge_strategy": "learned_with_images", "video_kernel_size": [3, 1, 1],
    })
}

fn config(base: Value, changes: Value) -> VideoUNetConfig {
    let mut merged = base;
    for (key, value) in changes.as_object().unwrap() {
        merged[key] = value.clone();
    }
    serde_json::from_value(merged).unwrap()
}

fn count(adm_in_channels: u32) -> (usize, usize) {
    let params = Params::meta();
    VideoUNet::new(&config(svd(adm_in_channels), json!({})), &params.root());
    let entries = params.into_entries();
    (entries.iter().map(|p| p.tensor.numel()).sum(), entries.len())
}

#[test]
fn full_sizes_have_the_published_number_of_parameters() {
    assert_eq!(count(768), (1_524_623_082, 1428)); // SVD
    assert_eq!(count(256), (1_523_967_722, 1428)); // SV3D_u
    assert_eq!(count(1280), (1_525_278_442, 1428)); // SV3D_p
}

#[test]
fn keys_and_shapes_are_those_of_the_published_checkpoint() {
    let params = Params::meta();
    VideoUNet::new(&config(svd(768), json!({})), &params.root());
    let keys = crate::testing::keys(&params);
    for key in [
        "time_embed.0.weight [1280, 320]",
        "label_emb.0.0.weight [1280, 768]",
        "input_blocks.0.0.weight [320, 8, 3, 3]",
        "input_blocks.1.0.in_layers.0.weight [320]",
        "input_blocks.1.0.time_stack.in_layers.2.weight [320, 320, 3, 1, 1]",
        "input_blocks.1.0.time_mixer.mix_factor [1]",
        "input_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight [2560, 320]",
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight [320, 1024]",
        "input_blocks.3.0.op.weight [320, 320, 3, 3]",
        "input_blocks.4.0.skip_connection.weight [640, 320, 1, 1]",
        "middle_block.1.time_stack.0.ff_in.net.2.weight [1280, 5120]",
        "middle_block.1.time_stack.0.norm_in.bias [1280]",
        "middle_block.1.time_pos_embed.2.weight [1280, 5120]",
        "middle_block.2.emb_layers.1.weight [1280, 1280]",
        "output_blocks.2.1.conv.weight [1280, 1280, 3, 3]",
        "output_blocks.5.2.conv.weight [1280, 1280, 3, 3]",
        "output_blocks.11.1.proj_out.weight [320, 320]",
        "out.2.weight [4, 320, 3, 3]",
    ] {
        assert!(keys.iter().any(|k| k == key), "{key}");
    }
}

struct Inputs {
    x: Tensor,
    c_noise: Tensor,
    context: Tensor,
    y: Tensor,
}

/// Two clips of three frames.
fn inputs(tokens: i64) -> Inputs {
    Inputs {
        x: Tensor::randn([6, 6, 4, 4], F32),
        c_noise: Tensor::randn([6], F32),
        context: Tensor::randn([6, tokens, 8], F32),
        y: Tensor::randn([6, 5], F32),
    }
}

fn forward(network: &VideoUNet, inputs: &Inputs, t: Option<i64>) -> Tensor {
    network.forward(&NetworkInput {
        x: &inputs.x,
        c_noise: &inputs.c_noise,
        context: Some(&inputs.context),
        y: Some(&inputs.y),
        time_context: None,
        num_video_frames: t,
        image_only_indicator: None,
        cond_view: None,
        cond_motion: None,
        train: true,
    })
}

fn gradients(changes: Value, inputs: &Inputs) -> (Tensor, Vec<(String, Tensor)>) {
    let params = Params::new(Device::Cpu, 3);
    let network = VideoUNet::new(&config(small(), changes), &params.root());
    randomise(&params);
    let y = forward(&network, inputs, Some(3));
    y.square().sum(Kind::Float).backward();
    (y, params.into_entries().into_iter().map(|p| (p.path, p.tensor.grad())).collect())
}

#[test]
fn under_autocast_results_are_near_and_not_the_same() {
    let inputs = inputs(2);
    let plain = gradients(json!({}), &inputs).0;
    let _autocast = anneal_torch::autocast::Autocast::new(Device::Cpu, Kind::BFloat16);
    let lower = gradients(json!({}), &inputs).0.to_kind(Kind::Float);
    let (worst, largest) = ((&lower - &plain).abs().max().double_value(&[]), plain.abs().max().double_value(&[]));
    assert!(worst > 0.0 && worst < 0.1 * largest, "{worst} of {largest}");
}

#[test]
fn checkpointing_changes_no_gradient() {
    let inputs = inputs(2);
    let (plain, plain_grads) = gradients(json!({}), &inputs);
    let (checkpointed, grads) = gradients(json!({ "use_checkpoint": true }), &inputs);
    // Not bit-equal: without a graph libtorch may choose another kernel.
    close(&checkpointed, &plain, 1e-4);
    for ((path, want), (_, got)) in plain_grads.iter().zip(&grads) {
        let (worst, largest) = ((got - want).abs().max().double_value(&[]), want.abs().max().double_value(&[]));
        assert!(worst <= 1e-3 * largest + 1e-4, "{path}: {worst} of {largest}");
    }
}

#[test]
fn every_parameter_gets_a_gradient_with_one_token_and_with_several() {
    for tokens in [1, 2] {
        for (path, grad) in gradients(json!({}), &inputs(tokens)).1 {
            assert!(grad.defined() && grad.isfinite().all().int64_value(&[]) == 1, "{tokens} {path}");
        }
    }
}

#[test]
fn starts_at_zero() {
    let params = Params::new(Device::Cpu, 3);
    let network = VideoUNet::new(&config(small(), json!({})), &params.root());
    close(&forward(&network, &inputs(1), Some(3)), &Tensor::zeros([6, 3, 4, 4], F32), 0.0);
}

#[test]
fn clips_do_not_meet() {
    let params = Params::new(Device::Cpu, 3);
    let network = VideoUNet::new(&config(small(), json!({})), &params.root());
    randomise(&params);
    let both = inputs(2);
    let second = |t: &Tensor| t.narrow(0, 3, 3);
    let alone = Inputs {
        x: second(&both.x),
        c_noise: second(&both.c_noise),
        context: second(&both.context),
        y: second(&both.y),
    };
    close(&forward(&network, &alone, Some(3)), &second(&forward(&network, &both, Some(3))), 1e-4);
}

#[test]
#[should_panic(expected = "num_video_frames")]
fn the_number_of_frames_is_not_guessed() {
    let params = Params::new(Device::Cpu, 3);
    let _ = forward(&VideoUNet::new(&config(small(), json!({})), &params.root()), &inputs(1), None);
}

#[test]
fn problems_name_their_setting() {
    let check = |changes: Value| -> Vec<String> {
        config(small(), changes).check().into_iter().map(|problem| problem.key).collect()
    };
    assert!(check(json!({})).is_empty());
    for (key, changes) in [
        ("model_channels", json!({ "model_channels": 48, "num_head_channels": 16 })),
        ("num_head_channels", json!({ "num_head_channels": null })),
        ("num_head_channels", json!({ "num_head_channels": 24 })),
        ("num_heads", json!({ "num_heads": 2 })),
        ("num_heads", json!({ "num_heads": 3, "num_head_channels": null })),
        ("num_heads_upsample", json!({ "num_heads_upsample": 2 })),
        ("adm_in_channels", json!({ "adm_in_channels": null })),
        ("adm_in_channels", json!({ "num_classes": "timestep" })),
        ("num_classes", json!({ "num_classes": 0, "adm_in_channels": null })),
        ("channel_mult", json!({ "channel_mult": [] })),
        ("attention_resolutions", json!({ "attention_resolutions": [1, 3] })),
        ("transformer_depth", json!({ "transformer_depth": [1, 1, 1] })),
        ("dropout", json!({ "dropout": 1.0 })),
        ("context_dim", json!({ "context_dim": 0 })),
        ("dims", json!({ "dims": 3 })),
        ("time_downup", json!({ "time_downup": true })),
        ("time_context_dim", json!({ "time_context_dim": 4 })),
        ("disable_temporal_crossattention", json!({ "disable_temporal_crossattention": true })),
        ("merge_factor", json!({ "merge_strategy": "fixed", "merge_factor": 1.5 })),
        ("video_kernel_size", json!({ "video_kernel_size": [2, 1, 1] })),
        ("max_ddpm_temb_period", json!({ "max_ddpm_temb_period": 0 })),
    ] {
        assert_eq!(check(changes.clone()), [key], "{changes}");
    }
}

#[test]
fn unknown_settings_are_refused_and_defaults_are_the_references() {
    let mut unknown = small();
    unknown["num_heds"] = json!(2);
    assert!(serde_json::from_value::<VideoUNetConfig>(unknown).unwrap_err().to_string().contains("num_heds"));
    let least: VideoUNetConfig = serde_json::from_value(json!({
        "in_channels": 4, "model_channels": 32, "out_channels": 4, "num_res_blocks": 1, "attention_resolutions": [],
        "context_dim": 8, "num_heads": 2,
    }))
    .unwrap();
    assert_eq!(least.channel_mult, [1, 2, 4, 8]);
    assert_eq!((least.merge_factor, least.max_ddpm_temb_period, least.min_divisor()), (0.5, 10_000, 8));
    assert_eq!(least.video_kernel_size.sizes(), [3, 3, 3]);
    let again: VideoUNetConfig = serde_json::from_value(serde_json::to_value(&least).unwrap()).unwrap();
    assert_eq!(again, least);
}
