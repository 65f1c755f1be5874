//! Whole autoencoders: sizes, keys, latents, clips.

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::params::{ParamKind, Params};
use crate::testing::{F32, close, keys, randomise};

fn config(value: Value) -> AutoencoderConfig {
    serde_json::from_value(value).unwrap()
}

fn coder(change: Value) -> Value {
    let mut all = json!({ "ch": 32, "out_ch": 3, "ch_mult": [1, 1], "num_res_blocks": 1, "attn_resolutions": [],
        "in_channels": 3, "resolution": 16, "z_channels": 4 });
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    all
}

fn kl(kind: &str, change: Value) -> AutoencoderConfig {
    let mut all = json!({ "kind": kind, "embed_dim": 5, "ddconfig": coder(json!({})) });
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    config(all)
}

fn build(config: &AutoencoderConfig) -> (Params, Autoencoder) {
    let params = Params::new(Device::Cpu, 1);
    let autoencoder = Autoencoder::new(config, &params.root());
    randomise(&params);
    (params, autoencoder)
}

fn svd() -> AutoencoderConfig {
    let full = |kind: &str, change: Value| {
        let mut all = coder(json!({ "kind": kind, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2,
            "resolution": 256, "attn_type": "vanilla-xformers", "double_z": true }));
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        all
    };
    config(json!({ "kind": "autoencoding-engine",
        "encoder_config": full("encoder", json!({})),
        "decoder_config": full("video-decoder", json!({ "video_kernel_size": [3, 1, 1] })),
        "regularizer_config": { "kind": "diagonal-gaussian" } }))
}

#[test]
fn svds_first_stage_has_its_size() {
    let params = Params::meta();
    Autoencoder::new(&svd(), &params.root());
    let count = |prefix: &str| {
        let of: Vec<_> = params.entries().into_iter().filter(|p| p.path.starts_with(prefix)).collect();
        assert!(of.iter().all(|p| p.kind == ParamKind::Trained));
        (of.len(), of.iter().map(|p| p.tensor.numel()).sum::<usize>())
    };
    assert_eq!(count("encoder."), (106, 34_163_592));
    assert_eq!(count("decoder."), (266, 63_579_183));
    assert_eq!(params.entries().len(), 106 + 266);
    assert_eq!((svd().downsampling(), svd().latent_channels(3)), (8, 4));
}

#[test]
fn keys_equal_the_references() {
    let params = Params::meta();
    Autoencoder::new(&kl("autoencoder-kl", json!({})), &params.root());
    let keys = keys(&params);
    for key in [
        "encoder.down.0.block.0.norm1.weight [32]",
        "encoder.down.0.downsample.conv.weight [32, 32, 3, 3]",
        "encoder.mid.attn_1.q.weight [32, 32, 1, 1]",
        "encoder.conv_out.weight [8, 32, 3, 3]",
        "quant_conv.weight [10, 8, 1, 1]",
        "post_quant_conv.weight [4, 5, 1, 1]",
        "decoder.up.1.block.1.conv2.bias [32]",
        "decoder.up.1.upsample.conv.weight [32, 32, 3, 3]",
        "decoder.norm_out.bias [32]",
    ] {
        assert!(keys.contains(&key.to_owned()), "{key}");
    }
    assert!(!keys.iter().any(|key| key.starts_with("decoder.up.0.upsample")));
}

#[test]
fn latents_are_samples_or_means_and_decode_to_the_images_size() {
    let (x, noise) = (Tensor::randn([3, 3, 16, 8], F32), Tensor::randn([3, 5, 8, 4], F32));
    let (_, sampled) = build(&kl("autoencoder-kl", json!({})));
    let (_, mode) = build(&kl("autoencoder-kl-mode-only", json!({})));
    assert_eq!(sampled.encode_moments(&x, false).size(), [3, 10, 8, 4]);
    let posterior = sampled.posterior(&x).unwrap();
    close(&sampled.encode(&x, Some(&noise)), &posterior.sample(&noise), 1e-6);
    close(&mode.encode(&x, None), &posterior.mode(), 1e-6);
    assert_eq!(mode.decode(&mode.encode(&x, None), 3, false).size(), [3, 3, 16, 8]);
}

#[test]
fn batches_change_nothing() {
    let x = Tensor::randn([5, 3, 8, 8], F32);
    let (_, whole) = build(&kl("autoencoder-kl-mode-only", json!({})));
    let (_, batched) = build(&kl("autoencoder-kl-mode-only", json!({ "max_batch_size": 2 })));
    let z = whole.encode(&x, None);
    close(&batched.encode(&x, None), &z, 1e-4);
    close(&batched.decode(&z, 5, false), &whole.decode(&z, 5, false), 1e-4);
}

#[test]
fn the_terms_of_a_loss_are_those_of_all_rows() {
    let (x, noise) = (Tensor::randn([5, 3, 8, 8], F32), Tensor::randn([5, 5, 4, 4], F32));
    let (_, whole) = build(&kl("autoencoder-kl", json!({})));
    let (params, batched) = build(&kl("autoencoder-kl", json!({ "max_batch_size": 2 })));
    let (want, got) =
        (whole.encode_with_terms(&x, Some(&noise), false), batched.encode_with_terms(&x, Some(&noise), false));
    close(&got.z, &want.z, 1e-4);
    let kl = whole.posterior(&x).unwrap().kl().mean(Kind::Float);
    let term = &got.terms[0].1;
    assert!(got.terms.len() == 1 && got.terms[0].0 == "kl_loss" && term.size().is_empty());
    close(term, &kl, 1e-4 * kl.double_value(&[]));
    term.backward();
    let moments = params.entries().into_iter().find(|param| param.path == "quant_conv.weight").unwrap();
    assert!(moments.tensor.grad().abs().max().double_value(&[]) > 0.0);
}

#[test]
fn the_last_layer_is_the_last_one_that_a_loss_reaches() {
    for (decoder, key) in [
        (json!({ "kind": "decoder" }), "decoder.conv_out.weight"),
        (json!({ "kind": "video-decoder" }), "decoder.conv_out.time_mix_conv.weight"),
        (json!({ "kind": "video-decoder", "time_mode": "attn-only" }), "decoder.conv_out.weight"),
    ] {
        let (params, autoencoder) = build(&config(json!({ "kind": "autoencoding-engine",
            "encoder_config": { "kind": "identity" }, "decoder_config": coder(decoder),
            "regularizer_config": { "kind": "identity" } })));
        let param = params.entries().into_iter().find(|param| param.path == key).unwrap();
        assert_eq!(autoencoder.last_layer().data_ptr(), param.tensor.data_ptr(), "{key}");
    }
}

#[test]
fn a_video_decoder_mixes_the_frames_of_a_clip_and_no_others() {
    for time_mode in ["conv-only", "all", "attn-only"] {
        let decoder = coder(json!({ "kind": "video-decoder", "time_mode": time_mode, "video_kernel_size": [3, 1, 1] }));
        let (_, autoencoder) = build(&config(json!({ "kind": "autoencoding-engine",
            "encoder_config": { "kind": "identity" }, "decoder_config": decoder,
            "regularizer_config": { "kind": "diagonal-gaussian", "sample": false } })));
        let moments = Tensor::randn([4, 8, 4, 4], F32);
        let z = autoencoder.encode(&moments, None);
        assert!(z.equal(&moments.narrow(1, 0, 4)));
        let two_clips = autoencoder.decode(&z, 2, false);
        close(&two_clips.narrow(0, 2, 2), &autoencoder.decode(&z.narrow(0, 2, 2), 2, false), 1e-4);
        let one_clip = autoencoder.decode(&z, 4, false);
        assert!((one_clip - &two_clips).abs().max().double_value(&[]) > 1e-4, "{time_mode}");
        // Without its layers over time it is a decoder of images.
        let images = autoencoder.decode_images(&z, false);
        close(&images.narrow(0, 1, 1), &autoencoder.decode_images(&z.narrow(0, 1, 1), false), 1e-4);
        assert!((images - two_clips).abs().max().double_value(&[]) > 1e-4, "{time_mode}");
    }
}

#[test]
fn the_decoder_may_stop_before_its_end_or_bound_its_result() {
    let pixels = |change: Value| {
        let (_, autoencoder) = build(&config(json!({ "kind": "autoencoding-engine",
            "encoder_config": { "kind": "identity" }, "regularizer_config": { "kind": "identity" },
            "decoder_config": coder(json!({ "kind": "decoder" })).as_object().unwrap().clone().into_iter()
                .chain(change.as_object().unwrap().clone()).collect::<serde_json::Map<_, _>>() })));
        autoencoder.decode(&(Tensor::ones([1, 4, 4, 4], F32) * 3.0), 1, false)
    };
    let plain = pixels(json!({}));
    close(&pixels(json!({ "tanh_out": true })), &plain.tanh(), 1e-6);
    assert_eq!(pixels(json!({ "give_pre_end": true })).size(), [1, 32, 8, 8]);
}

#[test]
fn codes_are_latents_that_decode() {
    let vq = config(json!({ "kind": "autoencoder-legacy-vq", "embed_dim": 3, "n_embed": 7, "sane_index_shape": true,
        "ddconfig": coder(json!({ "double_z": false })) }));
    let (params, autoencoder) = build(&vq);
    let keys = keys(&params);
    for key in [
        "quant_conv.weight [3, 4, 1, 1]",
        "post_quant_conv.weight [4, 3, 1, 1]",
        "regularization.embedding.weight [7, 3]",
    ] {
        assert!(keys.contains(&key.to_owned()), "{key}");
    }
    assert_eq!((vq.latent_channels(3), vq.noise_channels(3), vq.decoded_channels()), (3, 0, 3));
    let x = Tensor::randn([2, 3, 16, 8], F32);
    let latent = autoencoder.encode_with_terms(&x, None, true);
    assert_eq!(latent.indices.unwrap().size(), [2, 8, 4]);
    assert!(latent.terms[0].0 == "loss/vq" && latent.terms[0].1.requires_grad());
    assert_eq!(autoencoder.decode(&latent.z, 2, false).size(), [2, 3, 16, 8]);
}

#[test]
fn a_regularizer_of_the_engine_has_its_keys_and_its_noise() {
    let engine = |regularizer: Value| {
        config(json!({ "kind": "autoencoding-engine",
            "encoder_config": coder(json!({ "kind": "encoder", "double_z": false })),
            "decoder_config": coder(json!({ "kind": "decoder" })), "regularizer_config": regularizer }))
    };
    let gumbel = engine(json!({ "kind": "gumbel-quantizer", "num_hiddens": 4, "embedding_dim": 4, "n_embed": 9 }));
    assert_eq!((gumbel.latent_channels(3), gumbel.noise_channels(3)), (4, 9));
    let (params, autoencoder) = build(&gumbel);
    assert!(keys(&params).contains(&"regularization.proj.weight [9, 4, 1, 1]".to_owned()));
    let noise = Tensor::randn([1, 9, 4, 4], F32);
    assert_eq!(autoencoder.encode(&Tensor::randn([1, 3, 8, 8], F32), Some(&noise)).size(), [1, 4, 4, 4]);
    let narrow = json!({ "kind": "vector-quantizer-with-input-projection", "input_dim": 4, "n_codes": 8,
        "codebook_dim": 2, "output_dim": 4 });
    assert!(engine(narrow).check().is_empty());
    let complaint = |regularizer: Value| engine(regularizer).check().remove(0).key;
    let ema = |more: Value| {
        let mut all = json!({ "kind": "ema-vector-quantizer", "n_embed": 8, "embedding_dim": 4, "beta": 0.25 });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        complaint(all)
    };
    assert_eq!(ema(json!({ "decay": 1.0 })), "regularizer_config.decay");
    assert_eq!(ema(json!({ "n_embed": 0 })), "regularizer_config.n_embed");
    assert_eq!(complaint(json!({ "kind": "vector-quantizer", "n_e": 8, "e_dim": 5 })), "regularizer_config.e_dim");
}

#[test]
fn problems_say_where_they_are() {
    let keys = |config: AutoencoderConfig| config.check().into_iter().map(|p| p.key).collect::<Vec<_>>();
    assert!(keys(svd()).is_empty());
    assert_eq!(keys(kl("autoencoder-kl", json!({ "embed_dim": 0 }))), ["embed_dim"]);
    let vq =
        config(json!({ "kind": "autoencoder-legacy-vq", "embed_dim": 3, "n_embed": 7, "ddconfig": coder(json!({})) }));
    assert_eq!(keys(vq), ["ddconfig.double_z"]);
    let bad = kl("autoencoder-kl", json!({ "ddconfig": coder(json!({ "dropout": 2.0 })) }));
    assert_eq!(keys(bad), ["ddconfig.dropout"]);
    let engine = config(json!({ "kind": "autoencoding-engine",
        "encoder_config": coder(json!({ "kind": "encoder" })),
        "decoder_config": coder(json!({ "kind": "decoder", "z_channels": 8 })),
        "regularizer_config": { "kind": "diagonal-gaussian" } }));
    assert_eq!(keys(engine), ["decoder_config.z_channels"]);
    let unknown = json!({ "kind": "autoencoder-kl", "embed_dim": 4, "ddconfig": coder(json!({ "chs": 1 })) });
    assert!(serde_json::from_value::<AutoencoderConfig>(unknown).unwrap_err().to_string().contains("chs"));
}
