//! The shipped configs of full size, assembled without values: as many parameters as the published models have.

use anneal::assemble::{AnyProject, FIRST_STAGE_PREFIX, NETWORK_PREFIX, Place, Plan, build_model};
use anneal::config::{Environment, Files};

use super::repository;

fn open(config: &str, sets: &[&str]) -> AnyProject {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let path = repository("configs").join(config);
    let opened =
        AnyProject::open(&path, &sets, Files::MayLack, &[repository("target/plugins")], &Environment::default());
    opened.unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn plan(config: &str, sets: &[&str]) -> Plan {
    open(config, sets).plan().unwrap()
}

fn part(plan: &Plan, name: &str) -> (u64, u64) {
    let found = plan.parts.iter().find(|part| part.name.starts_with(name));
    found.map(|part| (part.parameters, part.trained)).unwrap_or_else(|| panic!("no {name} in {plan:?}"))
}

#[test]
fn networks_and_encoders_have_the_published_numbers_of_parameters() {
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
            let plan = plan(&config, &[]);
            assert_eq!(part(&plan, "network"), (network, network), "{config}");
            // CLIP's ViT-H without its text half is frozen, and so is the autoencoder.
            assert_eq!(part(&plan, "embedder 0 (open-clip-image-prediction)"), (632_076_800, 0), "{config}");
            assert_eq!(part(&plan, "first stage").1, 0);
            assert_eq!((plan.gradients, plan.moments, plan.ema), (4 * network, 8 * network, 4 * network));
        }
    }
    let first_stage = |config: &str| part(&plan(config, &[]), "first stage").0;
    // 97,742,847 in the diffusers layout, which has a quant_conv of 72 besides.
    assert_eq!(first_stage("svd.toml"), 97_742_775);
    assert_eq!(first_stage("sv4d.toml"), 83_653_863);
}

#[test]
fn image_recipes_are_assembled() {
    for variant in ["", "_ema", "_l1_loss", "_discrete_eps"] {
        let plan = plan(&format!("mnist_cond{variant}.toml"), &[]);
        assert_eq!(part(&plan, "network"), (2_600_705, 2_600_705), "{variant}");
        assert_eq!(part(&plan, "embedder 0 (class)"), (1280, 1280));
        assert_eq!(plan.ema > 0, variant == "_ema");
    }
    // Neither the layers that take a class in, nor the classes.
    let without = plan("mnist.toml", &[]);
    assert_eq!(part(&without, "network").0, 2_600_705 - (128 * 128 + 128) * 2);
    assert_eq!(without.scenes, 2340 * 512);
    // Three channels in and out, in place of one.
    assert_eq!(part(&plan("cifar10_cond.toml", &[]), "network").0, 2_600_705 + 2 * (2 * 32 * 9) + 2);

    let autoencoder = |config: &str| part(&plan(config, &[]), "first stage").0;
    let imagenet = plan("imagenet-f8_cond.toml", &[]);
    assert_eq!(part(&imagenet, "embedder 0 (class)"), (1000 * 1024, 1000 * 1024));
    assert_eq!(autoencoder("imagenet-f8_cond.toml"), 83_653_863);
    for (config, legacy) in [("txt2img-clipl.toml", false), ("txt2img-clipl-legacy-ucg.toml", true)] {
        let text = plan(config, &[]);
        // CLIP ViT-L/14's text half.
        assert_eq!(part(&text, "embedder 0 (clip-text)"), (123_060_480, 0), "{config}");
        let AnyProject::Diffusion(project) = open(config, &[]) else { panic!("{config} is of another kind") };
        assert_eq!(project.config().model.embedders[0].legacy_ucg_value.is_some(), legacy);
    }
    let trained = plan("autoencoder_kl.toml", &[]);
    assert_eq!(part(&trained, "loss"), (1, 1));
    assert!(part(&trained, "encoder").0 > 34_000_000 && part(&trained, "discriminator").1 > 2_000_000);
}

#[test]
fn the_layers_over_frames_alone_are_656_million() {
    let whole = plan("svd.toml", &[]);
    let temporal = plan("svd.toml", &["model.trainable=[\"temporal\"]"]);
    let (all, trained) = part(&temporal, "network");
    assert_eq!(all, part(&whole, "network").0);
    assert!((655_500_000..656_500_000).contains(&trained), "{trained}");
    assert_eq!(temporal.weights, whole.weights);
    assert_eq!(temporal.state() - temporal.weights, 16 * trained);
    let spatial = plan("svd.toml", &["model.trainable=[\"spatial\"]"]);
    assert_eq!(part(&spatial, "network").1 + trained, all);
}

#[test]
fn keys_are_those_of_published_checkpoints() {
    let AnyProject::Diffusion(mut project) = open("svd.toml", &[]) else { panic!("svd.toml is of another kind") };
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
}

#[test]
fn an_autoencoders_parts_and_its_adversary_are_planned() {
    let whole = plan("autoencoder_tiny.toml", &[]);
    let (discriminator, trained) = part(&whole, "discriminator");
    assert!(trained > 0 && trained < discriminator, "running means are not trained");
    let decoder = part(&whole, "decoder");
    assert!(decoder.0 == decoder.1 && decoder.0 > part(&whole, "encoder").0);
    let half = plan("autoencoder_tiny.toml", &["autoencoder.trainable=[\"decoder.*\"]"]);
    assert_eq!(part(&half, "encoder").1, 0);
    assert_eq!(half.ema, 4 * decoder.0);
    assert_eq!(whole.scenes, 1000);
}
