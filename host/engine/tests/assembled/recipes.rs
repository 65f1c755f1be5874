//! The shipped configs of full size, assembled without values: as many parameters as the published models have.

use std::path::{Path, PathBuf};

use anneal::assemble::{AnyProject, FIRST_STAGE_PREFIX, NETWORK_PREFIX, Place, Plan, Project, build_model};
use anneal::config::{Environment, PathPattern, RunConfig};

use super::repository;

/// The configs in a folder with all that they name: empty weights files and folders of data, and the built plugins.
fn house() -> tempfile::TempDir {
    let house = tempfile::tempdir().unwrap();
    let at = |path: &str| house.path().join(path);
    for folder in ["configs/finetune", "weights", "data/videos", "data/objects", "data/moving_objects", "target"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    for folder in ["configs", "configs/finetune"] {
        for entry in std::fs::read_dir(repository(folder)).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            std::fs::copy(entry.path(), at(folder).join(entry.file_name())).unwrap();
        }
    }
    for model in ["svd", "svd_xt", "svd_image_decoder", "sv3d_u", "sv3d_p", "sv4d", "sv4d2", "sv4d2_8views"] {
        std::fs::write(at("weights").join(format!("{model}.safetensors")), "").unwrap();
    }
    std::os::unix::fs::symlink(repository("target/plugins"), at("target/plugins")).unwrap();
    house
}

fn plan(house: &Path, config: &str, sets: &[&str]) -> Plan {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let path = house.join("configs").join(config);
    let opened = AnyProject::open(&path, &sets, &[], &Environment::default());
    opened.unwrap_or_else(|error| panic!("{config}: {error}")).plan().unwrap()
}

fn part(plan: &Plan, name: &str) -> (u64, u64) {
    let found = plan.parts.iter().find(|part| part.name.starts_with(name));
    found.map(|part| (part.parameters, part.trained)).unwrap_or_else(|| panic!("no {name} in {plan:?}"))
}

#[test]
fn networks_and_encoders_have_the_published_numbers_of_parameters() {
    let house = house();
    for (config, network) in [
        ("svd.toml", 1_524_623_082),
        ("svd_xt.toml", 1_524_623_082),
        ("sv3d_u.toml", 1_523_967_722),
        ("sv3d_p.toml", 1_525_278_442),
        ("sv4d.toml", 1_996_625_322),
        ("sv4d2.toml", 2_010_961_338),
        ("sv4d2_8views.toml", 2_010_961_338),
    ] {
        for config in [config.to_owned(), format!("finetune/{config}")] {
            let plan = plan(house.path(), &config, &[]);
            assert_eq!(part(&plan, "network"), (network, network), "{config}");
            // CLIP's ViT-H without its text half is frozen, and so is the autoencoder.
            assert_eq!(part(&plan, "embedder 0 (open-clip-image-prediction)"), (632_076_800, 0), "{config}");
            assert_eq!(part(&plan, "first stage").1, 0);
            assert_eq!((plan.gradients, plan.moments, plan.ema), (4 * network, 8 * network, 4 * network));
        }
    }
    let first_stage = |config: &str| part(&plan(house.path(), config, &[]), "first stage").0;
    // 97,742,847 in the diffusers layout, which has a quant_conv of 72 besides.
    assert_eq!(first_stage("svd.toml"), 97_742_775);
    assert_eq!(first_stage("sv4d.toml"), 83_653_863);
}

#[test]
fn the_layers_over_frames_alone_are_656_million() {
    let house = house();
    let whole = plan(house.path(), "svd.toml", &[]);
    let temporal = plan(house.path(), "svd.toml", &["model.trainable=[\"temporal\"]"]);
    let (all, trained) = part(&temporal, "network");
    assert_eq!(all, part(&whole, "network").0);
    assert!((655_500_000..656_500_000).contains(&trained), "{trained}");
    assert_eq!(temporal.weights, whole.weights);
    assert_eq!(temporal.state() - temporal.weights, 16 * trained);
    let spatial = plan(house.path(), "svd.toml", &["model.trainable=[\"spatial\"]"]);
    assert_eq!(part(&spatial, "network").1 + trained, all);
}

#[test]
fn keys_are_those_of_published_checkpoints() {
    let house = house();
    let config = house.path().join("configs/svd.toml");
    let mut project = Project::<RunConfig>::open(&config, &[], &[] as &[PathBuf], &Environment::default()).unwrap();
    let config = project.config().clone();
    let built = build_model(&config, &mut project.registry, Place::Meta).unwrap();
    let shape = |key: &str| built.weights.iter().find(|(name, _)| name == key).map(|(_, tensor)| tensor.size());
    for (key, size) in [
        ("model.diffusion_model.input_blocks.0.0.weight", &[320, 8, 3, 3][..]),
        ("model.diffusion_model.middle_block.1.time_stack.0.attn2.to_k.weight", &[1280, 1024]),
        ("model.diffusion_model.label_emb.0.0.weight", &[1280, 768]),
        ("conditioner.embedders.0.open_clip.model.visual.conv1.weight", &[1280, 3, 14, 14]),
        ("conditioner.embedders.3.encoder.encoder.conv_in.weight", &[128, 3, 3, 3]),
        ("conditioner.embedders.3.encoder.quant_conv.weight", &[8, 8, 1, 1]),
        ("first_stage_model.encoder.conv_in.weight", &[128, 3, 3, 3]),
        ("first_stage_model.decoder.conv_out.time_mix_conv.weight", &[3, 3, 3, 1, 1]),
    ] {
        assert_eq!(shape(key).as_deref(), Some(size), "{key}");
    }
    let prefixes = [NETWORK_PREFIX, FIRST_STAGE_PREFIX, "conditioner.embedders."];
    assert!(built.weights.iter().all(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix))));
    let temporal = PathPattern::new("temporal").unwrap();
    assert!(temporal.matches("middle_block.1.time_stack.0.attn2.to_k.weight"));
}

#[test]
fn an_autoencoders_parts_and_its_adversary_are_planned() {
    let house = house();
    std::fs::create_dir_all(house.path().join("target/data/fox")).unwrap();
    std::fs::write(house.path().join("target/data/fox/Fox.gltf"), "").unwrap();
    let whole = plan(house.path(), "autoencoder_tiny.toml", &[]);
    let (discriminator, trained) = part(&whole, "discriminator");
    assert!(trained > 0 && trained < discriminator, "running means are not trained");
    let decoder = part(&whole, "decoder");
    assert!(decoder.0 == decoder.1 && decoder.0 > part(&whole, "encoder").0);
    let half = plan(house.path(), "autoencoder_tiny.toml", &["autoencoder.trainable=[\"decoder.*\"]"]);
    assert_eq!(part(&half, "encoder").1, 0);
    assert_eq!(half.ema, 4 * decoder.0);
    assert_eq!(whole.scenes, 1000);
}
