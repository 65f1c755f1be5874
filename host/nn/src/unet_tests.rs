//! Tests of the image UNet.

use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::{UNet, UNetConfig};
use crate::network::{Network, NetworkInput};
use crate::params::Params;
use crate::testing::{F32, keys, randomise};

fn config(changes: Value) -> UNetConfig {
    let mut merged = json!({
        "in_channels": 4, "out_channels": 4, "model_channels": 32, "attention_resolutions": [1], "num_res_blocks": 1,
        "channel_mult": [1, 2], "num_heads": 2, "context_dim": 8,
    });
    for (key, value) in changes.as_object().unwrap() {
        merged[key] = value.clone();
    }
    serde_json::from_value(merged).unwrap()
}

fn keys_of(changes: Value) -> Vec<String> {
    let params = Params::meta();
    UNet::new(&config(changes), &params.root());
    keys(&params)
}

#[test]
fn stable_diffusion_2_1_has_the_published_number_of_parameters() {
    let params = Params::meta();
    let sd = json!({
        "model_channels": 320, "attention_resolutions": [4, 2, 1], "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4],
        "num_heads": null, "num_head_channels": 64, "use_linear_in_transformer": true, "context_dim": 1024,
        "use_checkpoint": true,
    });
    UNet::new(&config(sd), &params.root());
    assert_eq!(params.entries().iter().map(|p| p.tensor.numel()).sum::<usize>(), 865_910_724);
    let keys = keys(&params);
    for key in [
        "input_blocks.2.1.transformer_blocks.0.attn2.to_v.weight [320, 1024]",
        "middle_block.1.proj_in.weight [1280, 1280]",
        "output_blocks.8.2.conv.weight [640, 640, 3, 3]",
    ] {
        assert!(keys.iter().any(|k| k == key), "{key}");
    }
}

#[test]
fn options_by_level_decide_where_attention_stands() {
    let has = |keys: &[String], prefix: &str| keys.iter().any(|key| key.starts_with(prefix));
    let all = keys_of(json!({ "attention_resolutions": [1, 2], "transformer_depth": [1, 2] }));
    assert!(has(&all, "input_blocks.3.1.transformer_blocks.1.") && has(&all, "middle_block.1.transformer_blocks.1."));
    assert!(has(&all, "output_blocks.3.1.") && !has(&all, "input_blocks.1.1.transformer_blocks.1."));
    let chosen = keys_of(json!({ "attention_resolutions": [1, 2], "num_attention_blocks": [1, 0] }));
    assert!(has(&chosen, "input_blocks.1.1.") && !has(&chosen, "input_blocks.3.1."));
    assert!(has(&chosen, "output_blocks.2.1.") && !has(&chosen, "output_blocks.3.1."));
    let bare = keys_of(json!({ "attention_resolutions": [], "disable_middle_transformer": true }));
    assert!(!has(&bare, "middle_block.1.") && has(&bare, "middle_block.2.") && has(&bare, "output_blocks.1.1.conv."));
    let disabled = keys_of(json!({ "disable_self_attentions": [true, false], "disable_middle_self_attn": true }));
    assert!(disabled.contains(&"input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight [32, 8]".to_owned()));
    assert!(disabled.contains(&"middle_block.1.transformer_blocks.0.attn1.to_k.weight [64, 8]".to_owned()));
}

#[test]
fn resampling_follows_its_options() {
    let has = |keys: &[String], key: &str| keys.iter().any(|k| k.starts_with(key));
    assert!(has(&keys_of(json!({})), "input_blocks.2.0.op.weight [32, 32, 3, 3]"));
    assert!(!has(&keys_of(json!({ "conv_resample": false })), "input_blocks.2.0."));
    assert!(has(&keys_of(json!({ "resblock_updown": true })), "input_blocks.2.0.in_layers.0.weight"));
    assert!(has(&keys_of(json!({ "resblock_updown": true })), "output_blocks.1.1.in_layers.0.weight"));
}

#[test]
fn works_in_one_two_and_three_dimensions() {
    for (dims, shape) in [(1, vec![2, 4, 8]), (2, vec![2, 4, 8, 8]), (3, vec![2, 4, 3, 8, 8])] {
        let params = Params::new(Device::Cpu, 1);
        let bare = json!({ "dims": dims, "attention_resolutions": [], "disable_middle_transformer": true });
        let network = UNet::new(&config(bare), &params.root());
        randomise(&params);
        let x = Tensor::randn(&shape[..], F32);
        let y = network.forward(&NetworkInput {
            x: &x,
            c_noise: &Tensor::from_slice(&[0.1f32, 0.2]),
            context: None,
            y: None,
            time_context: None,
            num_video_frames: None,
            image_only_indicator: None,
            cond_view: None,
            cond_motion: None,
            train: false,
        });
        assert_eq!(y.size(), shape);
        assert!(y.isfinite().all().int64_value(&[]) == 1 && y.abs().max().double_value(&[]) > 0.0);
    }
}

#[test]
fn problems_name_their_setting() {
    let check = |changes: Value| -> Vec<String> { config(changes).check().into_iter().map(|p| p.key).collect() };
    assert!(check(json!({})).is_empty());
    for (key, changes) in [
        ("num_res_blocks", json!({ "num_res_blocks": [1, 1, 1] })),
        ("disable_self_attentions", json!({ "disable_self_attentions": [true] })),
        ("num_attention_blocks", json!({ "num_attention_blocks": [1] })),
        ("num_attention_blocks", json!({ "num_attention_blocks": [1, 2] })),
        ("context_dim", json!({ "context_dim": 0 })),
        ("dims", json!({ "dims": 3 })),
        ("dims", json!({ "dims": 4 })),
        ("in_channels", json!({ "in_channels": 0 })),
        ("num_heads", json!({ "num_heads": 3 })),
    ] {
        assert_eq!(check(changes.clone()), [key], "{changes}");
    }
}
