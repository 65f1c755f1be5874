//! Bad input ends in a clear error before damage, with the documented exit code.

use std::fs;
use std::path::Path;

use crate::run::{anneal, checkpoint_file, metrics, path, train, train_args};

/// The demo's config with one text replaced, checked.
#[track_caller]
fn demo_with(from: &str, to: &str) -> crate::run::Ran {
    let text = fs::read_to_string(path("configs/demo.toml")).unwrap();
    assert!(text.contains(from), "{from:?} is not in the demo's config");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("demo.toml");
    fs::write(&config, text.replacen(from, to, 1).replace("\"../", &format!("\"{}/", path(".")))).unwrap();
    anneal(&["config", "check", config.to_str().unwrap()])
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_a_near_one() {
    let ran = demo_with("num_res_blocks = 1", "num_res_block = 1");
    ran.fails(3, &["demo.toml:", "model.network.num_res_block", "num_res_blocks"]);
}

#[test]
fn a_wrong_type_says_what_is_wanted() {
    demo_with("batch_size = 1", "batch_size = \"two\"").fails(3, &["data.batch_size", "integer"]);
}

#[test]
fn all_faults_come_at_once() {
    let ran = demo_with("batch_size = 1", "batch_size = 0\nworkerz = 1");
    ran.fails(3, &["data.batch_size", "data.workerz", "workers"]);
}

#[test]
fn unknown_plugins_and_plugins_of_another_kind_are_refused() {
    demo_with("plugin = \"euler-edm\"", "plugin = \"euler-edn\"")
        .fails(3, &["sampling.sampler", "euler-edn", "euler-edm"]);
    demo_with("plugin = \"euler-edm\"", "plugin = \"min-snr\"").fails(3, &["min-snr", "weighting"]);
    demo_with("p_mean = 1.2", "p_maen = 1.2").fails(3, &["loss.sigma_sampling.p_maen", "p_mean"]);
    demo_with("dirs = [", "require = { \"anneal.samplers\" = \"^9\" }\ndirs = [").fails(4, &["anneal.samplers", "^9"]);
}

#[test]
fn a_missing_file_comes_with_the_remedy() {
    demo_with("fox/Fox.gltf", "fox/Ox.gltf").fails(3, &["data.source.path", "Ox.gltf"]);
    anneal(&["train", "nowhere.toml"]).fails(3, &["nowhere.toml"]);
}

#[test]
fn entries_and_widths_that_do_not_fit_are_found_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["model.embedders.1.input_key=elevation"], &[])
        .fails(3, &["model.embedders.1.input_key", "polar_rad"]);
    train(dir.path(), &["model.network.in_channels=7"], &[]).fails(3, &["model.network.in_channels", "set it to 48"]);
    train(dir.path(), &["model.embedders.2.dim=96"], &[]).fails(3, &["model.network.adm_in_channels", "224"]);
    // Conditions that are missing, and those that the network does not take.
    let lone = r#"model.embedders=[{plugin="frames-concat",input_key="cond_image",n_copies=4}]"#;
    train(dir.path(), &[lone], &[]).fails(
        3,
        &["model.network.context_dim: is 64, but no embedder", "model.network.num_classes: is set, but no embedder"],
    );
    let unconditional = "num_classes = \"sequential\"\nadm_in_channels = 192\n";
    demo_with(unconditional, "").fails(3, &["model.embedders: the embedders give a vector of 192", "= \"sequential\""]);
    train(dir.path(), &["model.network.use_spatial_context=false", "model.network.time_context_dim=8"], &[])
        .fails(3, &["model.network.time_context_dim", "add \"time_context\""]);
    assert!(!dir.path().join("checkpoints").exists());
}

/// Settings that read clips from `clips` instead of rendering the fox.
fn frames_dir(clips: &Path) -> Vec<String> {
    vec![format!("data.source={{kind=\"frames-dir\",path=\"{}\",size=[16,16],num_frames=4}}", clips.display()),
        "model.embedders=[{plugin=\"frames-concat\",input_key=\"cond_image\",n_copies=4},{plugin=\"scalar\",input_key=\"fps_id\",dim=192}]".to_owned(),
        "model.network.context_dim=64".to_owned(),
    ]
}

fn train_frames(run: &Path, clips: &Path) -> crate::run::Ran {
    let sets = frames_dir(clips);
    train(run, &sets.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

#[test]
fn empty_datasets_and_wrong_images_are_named() {
    let (run, clips) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train_frames(run.path(), clips.path()).fails(5, &["empty"]);
    let clip = clips.path().join("walk");
    fs::create_dir(&clip).unwrap();
    for i in 0..4 {
        image::RgbImage::new(20, 16).save(clip.join(format!("{i:03}.png"))).unwrap();
    }
    train_frames(run.path(), clips.path()).fails(5, &["walk/000.png", "16x20", "resize"]);
    fs::write(clip.join("000.png"), b"no picture").unwrap();
    train_frames(run.path(), clips.path()).fails(5, &["walk/000.png"]);
}

#[test]
fn a_damaged_checkpoint_is_named_and_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=2"], &[]).succeeds();
    let file = dir.path().join("checkpoints/step-00000002/model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    train(dir.path(), &["train.steps=3"], &["--resume"]).fails(6, &["model.safetensors", "SHA-256"]);
    let run = dir.path().to_str().unwrap();
    anneal(&["sample", run]).fails(6, &["model.safetensors"]);
    let nothing = tempfile::tempdir().unwrap();
    anneal(&["sample", nothing.path().to_str().unwrap()]).fails(6, &["no checkpoint"]);
}

#[test]
fn a_loss_that_is_not_finite_stops_before_the_weights_move() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=1"], &[]).succeeds();
    let before = checkpoint_file(dir.path(), 1, "model.safetensors");
    // Weights of 1e30 overflow in the next forward pass.
    let ran = train(
        dir.path(),
        &["train.steps=9", "optimizer.learning_rate=1e30", "optimizer.schedule.lr_start=1.0"],
        &["--resume", "--allow", "optimizer"],
    );
    ran.fails(7, &["the loss is", "step "]);
    assert!(before == checkpoint_file(dir.path(), 1, "model.safetensors"));
}

/// A limit on what may be held stands in for a small GPU: libtorch's allocation fails in the same manner.
#[test]
fn too_little_memory_is_told_with_the_plan_and_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let sets = ["model.network.model_channels=512", "data.batch_size=64", "data.workers=0", "run.precision=\"bf16\""];
    let args = super::run::train_args(dir.path(), &sets, &[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -d 1500000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_anneal")]).args(args);
    limited.env("OMP_NUM_THREADS", "1").env_remove("RUST_BACKTRACE");
    let ran = super::run::Ran::from(limited.output().unwrap());
    ran.fails(
        9,
        &[
            "there is not enough memory: ",
            "can't allocate memory",
            "GiB of state and ",
            "GiB on top in a step",
            "help: data.batch_size = 1: ",
            "help: model.network.use_checkpoint = true: ",
            "help: optimizer.moments = \"int8\": ",
        ],
    );
    // What is set already is not suggested, and nothing is told twice.
    for other in ["run.precision", "RUST_BACKTRACE", "fault of anneal", "frame #0"] {
        assert!(!ran.err.contains(other), "{ran:#?}");
    }
}

/// A limit on the size of files stands in for a full disk: writes fail half-way in the same manner.
#[test]
fn a_disk_that_takes_no_more_leaves_the_older_checkpoint_whole() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["train.steps=1"], &[]).succeeds();
    let args = train_args(dir.path(), &["train.steps=2"], &["--resume"]);
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let script = format!("trap '' XFSZ; ulimit -f 100; exec {} {}", env!("CARGO_BIN_EXE_anneal"), quoted.join(" "));
    let output = std::process::Command::new("bash").args(["-c", &script]).env("OMP_NUM_THREADS", "1").output().unwrap();
    let ran: crate::run::Ran = output.into();
    ran.fails(8, &["step-00000002", "File too large"]);
    let left: Vec<_> = fs::read_dir(dir.path().join("checkpoints")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["step-00000001"]);
    train(dir.path(), &["train.steps=2"], &["--resume"]).succeeds();
    assert_eq!(metrics(dir.path()).len(), 2);
}
