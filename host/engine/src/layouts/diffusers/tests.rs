//! The reference's models of this workspace against the keys and shapes of diffusers' and transformers' own models.

use std::collections::{BTreeMap, HashMap};

use anneal_nn::autoencoder::{Autoencoder, AutoencoderConfig};
use anneal_nn::{Params, VideoUNet};
use anneal_torch::random::Stream;
use serde_json::json;
use tch::Tensor;

use super::settings::files;
use super::*;

/// `key 32x3x4x4`, as the libraries' models of these sizes list them.
const KEYS: &str = include_str!("testdata/keys.txt");

/// The reference's tensors with random values.
fn reference() -> Vec<Named> {
    let unet = json!({
        "in_channels": 8, "out_channels": 4, "model_channels": 32, "attention_resolutions": [1], "num_res_blocks": 1,
        "channel_mult": [1, 2], "num_head_channels": 16, "context_dim": 24, "num_classes": "sequential",
        "adm_in_channels": 24, "use_linear_in_transformer": true, "use_spatial_context": true,
        "extra_ff_mix_layer": true, "merge_strategy": "learned_with_images", "video_kernel_size": [3, 1, 1],
    });
    let coder = |kind: &str, more: &[(&str, serde_json::Value)]| {
        let mut coder = json!({ "ch": 32, "out_ch": 3, "ch_mult": [1, 2], "num_res_blocks": 2, "attn_resolutions": [],
            "in_channels": 3, "resolution": 16, "z_channels": 4 });
        if !kind.is_empty() {
            coder["kind"] = kind.into();
        }
        for (key, value) in more {
            coder[*key] = value.clone();
        }
        coder
    };
    let first_stage: AutoencoderConfig = serde_json::from_value(json!({ "kind": "autoencoding-engine",
        "encoder_config": coder("encoder", &[]),
        "decoder_config": coder("video-decoder", &[("video_kernel_size", json!([3, 1, 1]))]),
        "regularizer_config": { "kind": "diagonal-gaussian" } }))
    .unwrap();
    let condition: AutoencoderConfig = serde_json::from_value(
        json!({ "kind": "autoencoder-kl-mode-only", "embed_dim": 4, "ddconfig": coder("", &[]) }),
    )
    .unwrap();
    let params = Params::meta();
    let model = params.root();
    let _ = VideoUNet::new(&serde_json::from_value(unet).unwrap(), &model.sub("model").sub("diffusion_model"));
    let _ = Autoencoder::new(&first_stage, &model.sub("first_stage_model"));
    let _ = Autoencoder::new(&condition, &model.sub("conditioner").sub("embedders").sub(3).sub("encoder"));
    let mut shapes: Vec<(String, Vec<i64>)> =
        params.entries().into_iter().map(|param| (param.path, param.tensor.size())).collect();
    shapes.extend(clip().into_iter().map(|(key, shape)| (format!("{CLIP}{key}"), shape)));
    let value = |(key, shape): (String, Vec<i64>)| {
        let tensor = Stream::new(1, &key, 0, 0).normal_tensor(&shape);
        (key, tensor)
    };
    shapes.into_iter().map(value).collect()
}

/// Keys and shapes of a small vision tower of open_clip.
fn clip() -> Vec<(String, Vec<i64>)> {
    let (width, hidden) = (32, 64);
    let mut keys: Vec<(String, Vec<i64>)> = [
        ("class_embedding", vec![width]),
        ("positional_embedding", vec![5, width]),
        ("proj", vec![width, 24]),
        ("conv1.weight", vec![width, 3, 4, 4]),
        ("ln_pre.weight", vec![width]),
        ("ln_pre.bias", vec![width]),
        ("ln_post.weight", vec![width]),
        ("ln_post.bias", vec![width]),
    ]
    .map(|(key, shape)| (key.to_owned(), shape))
    .to_vec();
    for block in 0..2 {
        let more = [
            ("ln_1.weight", vec![width]),
            ("ln_1.bias", vec![width]),
            ("ln_2.weight", vec![width]),
            ("ln_2.bias", vec![width]),
            ("attn.in_proj_weight", vec![3 * width, width]),
            ("attn.in_proj_bias", vec![3 * width]),
            ("attn.out_proj.weight", vec![width, width]),
            ("attn.out_proj.bias", vec![width]),
            ("mlp.c_fc.weight", vec![hidden, width]),
            ("mlp.c_fc.bias", vec![hidden]),
            ("mlp.c_proj.weight", vec![width, hidden]),
            ("mlp.c_proj.bias", vec![width]),
        ];
        keys.extend(more.map(|(key, shape)| (format!("transformer.resblocks.{block}.{key}"), shape)));
    }
    keys
}

fn by_key(tensors: &[Named]) -> HashMap<&str, &Tensor> {
    tensors.iter().map(|(key, tensor)| (key.as_str(), tensor)).collect()
}

#[test]
fn every_key_and_shape_is_that_of_the_libraries_models() {
    let converted = from_reference(&reference()).unwrap();
    let shape = |tensor: &Tensor| tensor.size().iter().map(i64::to_string).collect::<Vec<_>>().join("x");
    let got: BTreeMap<String, String> =
        converted.tensors.iter().map(|(key, tensor)| (key.clone(), shape(tensor))).collect();
    let want: BTreeMap<String, String> = KEYS
        .lines()
        .map(|line| line.split_once(' ').map_or((line, ""), |pair| pair))
        .map(|(key, shape)| (key.to_owned(), shape.to_owned()))
        .collect();
    assert_eq!(got.len(), converted.tensors.len());
    for (key, shape) in &want {
        assert_eq!(got.get(key), Some(shape), "{key}");
    }
    let more: Vec<&String> = got.keys().filter(|key| !want.contains_key(*key)).collect();
    assert!(more.is_empty(), "{more:?}");
    // What the pipeline has no place for.
    let homeless =
        |key: &String| key.starts_with(ENCODER) || key.contains("encoder.decoder.") || key.contains("post_quant_conv");
    assert!(converted.left.iter().all(homeless), "{:?}", converted.left);
}

#[test]
fn every_key_of_svds_network_has_a_place() {
    let svd = json!({
        "in_channels": 8, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_head_channels": 64, "context_dim": 1024,
        "num_classes": "sequential", "adm_in_channels": 768, "use_linear_in_transformer": true,
        "use_spatial_context": true, "extra_ff_mix_layer": true, "merge_strategy": "learned_with_images",
        "video_kernel_size": [3, 1, 1],
    });
    let params = Params::meta();
    let _ = VideoUNet::new(&serde_json::from_value(svd).unwrap(), &params.root());
    let keys: Vec<String> = params.entries().into_iter().map(|param| param.path).collect();
    let there = unet::Pairs::of_reference(&keys.iter().map(String::as_str).collect());
    let names: Vec<String> =
        keys.iter().map(|key| there.to_diffusers(key).unwrap_or_else(|| panic!("{key}"))).collect();
    let unique: HashSet<&str> = names.iter().map(String::as_str).collect();
    // As many as diffusers' own model of this size has.
    assert_eq!(unique.len(), 1428);
    assert!(
        unique.contains("up_blocks.0.upsamplers.0.conv.weight")
            && unique.contains("up_blocks.2.attentions.2.norm.bias")
    );
    assert!(!names.iter().any(|name| name.starts_with("down_blocks.3.attentions")));
    let back = unet::Pairs::of_diffusers(&unique);
    for (name, key) in names.iter().zip(&keys) {
        assert_eq!(back.to_reference(name).as_ref(), Some(key));
    }
}

#[test]
fn a_round_trip_changes_no_bit() {
    let start = reference();
    let pipeline = from_reference(&start).unwrap();
    let back = to_reference(&pipeline.tensors).unwrap();
    assert!(back.left.is_empty());
    let (want, left) = (by_key(&start), &pipeline.left);
    let mut same = 0;
    for (key, tensor) in &back.tensors {
        if !left.contains(key) {
            assert!(tensor.equal(want[key.as_str()]), "{key}");
            same += 1;
        }
    }
    assert_eq!(same, start.len() - left.len());
    let again = from_reference(&back.tensors).unwrap();
    let again = by_key(&again.tensors);
    assert!(pipeline.tensors.iter().all(|(key, tensor)| again[key.as_str()].equal(tensor)));
}

#[test]
fn the_first_stages_encoder_is_the_conditions_with_its_last_map() {
    let back = to_reference(&from_reference(&reference()).unwrap().tensors).unwrap();
    let tensors = by_key(&back.tensors);
    let get = |prefix: &str, name: &str| tensors[format!("{prefix}{name}").as_str()];
    assert!(get(ENCODER, "mid.block_1.conv1.weight").equal(get(CONDITION, "encoder.mid.block_1.conv1.weight")));
    let x = Stream::new(1, "x", 0, 0).normal_tensor(&[1, 64, 5, 5]);
    let conv = |x: &Tensor, prefix: &str, name: &str, padding: i64| {
        let (weight, bias) = (get(prefix, &format!("{name}.weight")), get(prefix, &format!("{name}.bias")));
        x.conv2d(weight, Some(bias), [1, 1].as_slice(), [padding, padding].as_slice(), [1, 1].as_slice(), 1)
    };
    let two = conv(&conv(&x, CONDITION, "encoder.conv_out", 1), CONDITION, "quant_conv", 0);
    let one = conv(&x, ENCODER, "conv_out", 1);
    assert!((two - one).abs().max().double_value(&[]) < 1e-3);
}

#[test]
fn the_settings_files_say_the_sizes() {
    let pipeline = from_reference(&reference()).unwrap();
    let settings = PipelineSettings { num_frames: 3, head_width: 16, clip_head_width: 16, clip_image_size: 8 };
    let files: HashMap<&str, serde_json::Value> = files(&pipeline.tensors, settings).unwrap().into_iter().collect();
    let unet = &files["unet/config.json"];
    assert_eq!(unet["block_out_channels"], json!([32, 64]));
    assert_eq!(unet["down_block_types"], json!(["CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"]));
    assert_eq!(unet["up_block_types"], json!(["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"]));
    assert_eq!((&unet["num_attention_heads"], &unet["cross_attention_dim"]), (&json!([2, 4]), &json!(24)));
    assert_eq!((&unet["addition_time_embed_dim"], &unet["layers_per_block"]), (&json!(8), &json!(1)));
    let vae = &files["vae/config.json"];
    assert_eq!((&vae["latent_channels"], &vae["block_out_channels"]), (&json!(4), &json!([32, 64])));
    let clip = &files["image_encoder/config.json"];
    assert_eq!(
        (&clip["num_hidden_layers"], &clip["projection_dim"], &clip["patch_size"]),
        (&json!(2), &json!(24), &json!(4))
    );
}

#[test]
fn a_missing_component_is_named() {
    let without = |prefix: &str| {
        let tensors: Vec<Named> = reference().into_iter().filter(|(key, _)| !key.starts_with(prefix)).collect();
        from_reference(&tensors).unwrap_err().to_string()
    };
    assert!(without(UNET).contains("unet"));
    assert!(without(CLIP).contains("image_encoder"));
    let mut pipeline = from_reference(&reference()).unwrap().tensors;
    pipeline.retain(|(key, _)| !key.ends_with("layers.1.self_attn.k_proj.bias"));
    let error = to_reference(&pipeline).unwrap_err().to_string();
    assert!(error.contains("`transformer.resblocks.1.attn.in_proj_bias` lacks one"), "{error}");
}
