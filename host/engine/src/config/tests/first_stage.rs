//! Autoencoders as first stages.

use super::{House, ORBIT};
use crate::config::FirstStageConfig;

const IDENTITY: &str = "kind = \"identity\"\n";

const KL: &str = r#"kind = "autoencoder-kl"
embed_dim = 4
weights = "../kl.safetensors"
prefix = "first_stage_model."
ddconfig = { ch = 32, out_ch = 3, ch_mult = [1, 2], num_res_blocks = 1, attn_resolutions = [], in_channels = 3, resolution = 32, z_channels = 4 }
"#;

const SVD: &str = r#"kind = "autoencoding-engine"
regularizer_config = { kind = "diagonal-gaussian" }
[model.first_stage.encoder_config]
kind = "encoder"
ch = 32
out_ch = 3
num_res_blocks = 1
attn_resolutions = []
in_channels = 3
resolution = 32
z_channels = 4
ch_mult = [1, 1]
attn_type = "vanilla-xformers"
[model.first_stage.decoder_config]
kind = "video-decoder"
ch = 32
out_ch = 3
num_res_blocks = 1
attn_resolutions = []
in_channels = 3
resolution = 32
z_channels = 4
ch_mult = [1, 1]
video_kernel_size = [3, 1, 1]
"#;

/// The config of the tests with a first stage, and a network on latents of four channels.
fn house(first_stage: &str, changes: &[(&str, &str)]) -> House {
    let house = House::new();
    house.write("kl.safetensors", "");
    let mut text = ORBIT.replacen(IDENTITY, first_stage, 1);
    assert_ne!(text, ORBIT);
    for (from, to) in [("in_channels = 6\nout_channels = 3", "in_channels = 8\nout_channels = 4")].iter().chain(changes)
    {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    house.write("configs/orbit.toml", &text);
    house
}

#[test]
fn an_autoencoder_and_its_weights_are_read() {
    let house = house(KL, &[]);
    let loaded = house.load("configs/orbit.toml", &[]).unwrap();
    let first_stage = &loaded.config.model.first_stage;
    let (path, prefix) = first_stage.weights().unwrap();
    assert_eq!((path, prefix), (house.root().join("kl.safetensors").as_path(), "first_stage_model."));
    assert_eq!(first_stage.autoencoder().unwrap().decoded_channels(), 4);
    let again = loaded.to_toml().unwrap();
    assert!(again.contains("kind = \"autoencoder-kl\""), "{again}");
}

#[test]
fn svds_first_stage_is_read() {
    let loaded = house(SVD, &[]).load("configs/orbit.toml", &[]).unwrap();
    let first_stage = &loaded.config.model.first_stage;
    assert!(matches!(first_stage, FirstStageConfig::AutoencodingEngine(_)) && first_stage.weights().is_none());
    assert_eq!(first_stage.autoencoder().unwrap().downsampling(), 2);
}

#[test]
fn a_table_of_codes_is_read() {
    let vq =
        KL.replace("autoencoder-kl", "autoencoder-legacy-vq").replace("embed_dim = 4", "embed_dim = 4\nn_embed = 64");
    let single = vq.replace("z_channels = 4", "z_channels = 4, double_z = false");
    let loaded = house(&single, &[]).load("configs/orbit.toml", &[]).unwrap();
    let first_stage = &loaded.config.model.first_stage;
    assert_eq!(first_stage.autoencoder().unwrap().latent_channels(3), 4);
    assert_eq!(first_stage.weights().unwrap().1, "first_stage_model.");
    let complaint = complaint(&vq, &[]);
    assert!(complaint.contains("model.first_stage.ddconfig.double_z: codes have no log-variances"), "{complaint}");
}

fn complaint(first_stage: &str, changes: &[(&str, &str)]) -> String {
    house(first_stage, changes).complaint("configs/orbit.toml", &[])
}

#[test]
fn faults_are_told_at_their_place() {
    for (first_stage, change, want) in [
        (KL, ("ch = 32", "chs = 32"), "model.first_stage.ddconfig.chs: unknown key"),
        (KL, ("kl.safetensors", "none.safetensors"), "model.first_stage.weights: there is no file"),
        (KL, ("ch = 32", "ch = 48"), "model.first_stage.ddconfig.ch: 48 channels are not a multiple of 32"),
        (KL, ("in_channels = 3,", "in_channels = 1,"), "model.first_stage: encodes 1 channels"),
        (KL, ("embed_dim = 4", "embed_dim = 5"), "model.network.out_channels: is 4, but latents have 5 channels"),
        (KL, ("size = 32 ", "size = 36 "), "data.source.size: first stage and network halve an image until 8 pixels"),
        (SVD, ("vanilla-xformers", "vanila"), "encoder_config.attn_type: unknown value"),
        (SVD, ("[3, 1, 1]\n", "[2, 1, 1]\n"), "decoder_config.video_kernel_size: an even kernel"),
        (SVD, ("diagonal-gaussian", "gaussian"), "regularizer_config.kind: unknown kind"),
        (SVD, ("\"encoder\"", "\"encodr\""), "encoder_config.kind: unknown kind"),
    ] {
        let complaint = complaint(first_stage, &[change]);
        assert!(complaint.contains(want), "{change:?}: {complaint}");
    }
}
