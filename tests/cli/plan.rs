//! Plans beside what runs then hold.

use serde_json::Value;

use super::autoencoder::lpips_file;
use super::run::{anneal, path};

/// The plan of a shipped config with `sets` on top.
fn plan(config: &str, sets: &[&str], flags: &[&str]) -> Value {
    let (config, plugins) = (path(config), path("target/plugins"));
    let mut args = vec!["plan", &config, "--plugin-dir", &plugins, "--json"];
    args.extend(sets.iter().flat_map(|set| ["--set", *set]));
    args.extend(flags);
    serde_json::from_str(&anneal(&args).succeeds().out).unwrap()
}

fn bytes(plan: &Value, of: &str, what: &str) -> f64 {
    plan[of][what].as_f64().unwrap_or_else(|| panic!("no {of}.{what} in {plan}"))
}

/// Stops the test unless what is planned is within a tenth of what is measured.
#[track_caller]
fn is_near_what_is_measured(config: &str, sets: &[&str]) {
    let plan = plan(config, sets, &["--measure"]);
    for what in ["state", "step", "preview"] {
        let (planned, measured) = (bytes(&plan, "bytes", what), bytes(&plan, "measured_bytes", what));
        let off = planned / measured - 1.0;
        assert!(off.abs() < 0.1, "{sets:?}: {what} is {planned} planned, {measured} measured: {off:+.3}");
    }
}

#[test]
fn what_is_planned_is_within_a_tenth_of_what_is_measured() {
    for sets in [
        &[][..],
        &["model.network.use_checkpoint=true", "data.batch_size=2"],
        &["optimizer.moments=int8", "model.trainable=[\"temporal\"]", "logging.preview_scenes=3"],
        &["ema.decay=0.9", "sampling.use_ema=false"],
    ] {
        is_near_what_is_measured("configs/demo.toml", sets);
    }
}

#[test]
fn an_autoencoders_plan_is_within_a_tenth_of_what_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let lpips = format!("loss.lpips={{weights=\"{}\",prefix=\"loss.perceptual_loss.\"}}", lpips_file(folder.path()));
    // Beside more weights the scenes that are held to be looked at weigh little.
    let common = ["autoencoder.network.ddconfig.ch=64", "validation.scenes=1"];
    let plain = ["loss.distance=l2", "loss.discriminator.network.use_actnorm=true", "data.source.num_views=4"];
    for sets in [&plain[..], &[&lpips, "loss.learn_logvar=true"]] {
        is_near_what_is_measured("configs/autoencoder_tiny.toml", &[&common[..], sets].concat());
    }
}

#[test]
fn checkpointing_trades_memory_for_operations() {
    let of = |sets: &[&str]| plan("configs/svd.toml", sets, &[]);
    let plain = of(&["model.network.use_checkpoint=false"]);
    let checkpointed = of(&["model.network.use_checkpoint=true"]);
    let flops = |plan: &Value| plan["flops_a_step"].as_f64().unwrap();
    // Forward, and twice as much backward; then forward once more, but for what is outside of blocks, and the encoder.
    let more = flops(&checkpointed) / flops(&plain);
    assert!((1.2..1.34).contains(&more), "{more}");
    assert!(bytes(&checkpointed, "bytes", "step") < 0.4 * bytes(&plain, "bytes", "step"));
    let peak = bytes(&plain, "bytes", "state") + bytes(&plain, "bytes", "step");
    assert_eq!(bytes(&plain, "bytes", "peak"), peak);
}

#[test]
fn a_step_is_planned_for_the_largest_bucket_and_pictures_for_the_sources_own() {
    let of = |more: &[&str]| plan("configs/svd_tiny.toml", &[&["logging.preview_scenes=1"], more].concat(), &[]);
    let (one, several) = (of(&[]), {
        let copies = ["model.embedders.0.n_copies=0", "model.embedders.3.n_copies=0"];
        of(&[&copies[..], &["data.source.sizes=[[64,128]]", "data.source.clip.lengths=[12]"]].concat())
    });
    let more = bytes(&several, "bytes", "step") / bytes(&one, "bytes", "step");
    assert!((3.8..4.2).contains(&more), "twice as wide and twice as long: {more}");
    assert_eq!(bytes(&several, "bytes", "preview"), bytes(&one, "bytes", "preview"));
}

#[test]
fn what_is_not_known_is_said() {
    let (config, plugins) = (path("configs/mnist.toml"), path("target/plugins"));
    let ran = anneal(&["plan", &config, "--plugin-dir", &plugins]).succeeds();
    assert!(ran.out.contains("not known; the source does not say how large its pictures are"), "{}", ran.out);
    anneal(&["plan", &config, "--plugin-dir", &plugins, "--measure"]).fails(3, &["mnist"]);
}
