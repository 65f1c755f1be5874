//! `checkpoint`: weights looked at, converted and compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anneal::weights as anneal_weights;
use safetensors::tensor::{Dtype, TensorView};

use crate::run::{Ran, SMALL, anneal, path, train};

/// A Lightning checkpoint, saved by PyTorch.
const LIGHTNING: &str = "host/engine/src/weights/testdata/lightning.ckpt";

/// Keys and shapes of a small pipeline of diffusers.
const PIPELINE: &str = include_str!("../../host/engine/src/layouts/diffusers/testdata/keys.txt");

fn checkpoint(args: &[&str]) -> Ran {
    anneal(&[&["checkpoint"], args].concat())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A trained run in its folder.
fn run_in(dir: &Path) -> PathBuf {
    let run = dir.join("run");
    train(&run, &[], &[]).succeeds();
    run
}

#[test]
fn inspect_counts_what_a_run_holds() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_in(dir.path());
    let ran = checkpoint(&["inspect", text(&run)]).succeeds();
    assert!(ran.out.contains("step-00000004: checkpoint of a run"), "{}", ran.out);
    let row = |out: &str, name: &str| -> Vec<String> {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{out}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    let count = |name: &str| row(&ran.out, name)[2].parse::<u64>().unwrap();
    // The table of classes is the only embedder with parameters.
    assert_eq!(count("conditioner.embedders"), 3 * 64);
    assert_eq!(count("model.diffusion_model") + 3 * 64, count("all"));
    let keys = checkpoint(&["inspect", text(&run), "--keys", "--prefix", "model.diffusion_model.out."]).succeeds();
    assert!(keys.out.contains("model.diffusion_model.out.2.weight  Float     [3, 32, 3, 3]"), "{}", keys.out);
    let wrong = checkpoint(&["inspect", text(&run), "--prefix", "net."]);
    wrong.fails(6, &["no key begins with `net.`", "the first key: conditioner.embedders.4."]);
    checkpoint(&["inspect", text(dir.path())]).fails(6, &["no checkpoint", "no diffusers pipeline"]);
    checkpoint(&["inspect", text(&dir.path().join("none"))]).fails(8, &["none", "No such file"]);
}

#[test]
fn a_pickle_becomes_safetensors() {
    let dir = tempfile::tempdir().unwrap();
    let (from, out) = (path(LIGHTNING), dir.path().join("out.safetensors"));
    let ran = checkpoint(&["inspect", &from]).succeeds();
    for fact in ["global_step = 120", "BFloat16", "model.diffusion_model"] {
        assert!(ran.out.contains(fact), "{fact}: {}", ran.out);
    }
    checkpoint(&["convert", &from, text(&out)]).succeeds();
    let same = checkpoint(&["diff", &from, text(&out)]).succeeds();
    assert!(same.out.contains("12 tensors are equal, 0 differ"), "{}", same.out);
    checkpoint(&["convert", &from, text(&out)]).fails(2, &["exists", "--force"]);
    checkpoint(&["convert", &from, text(&out), "--force", "--strip", "model.diffusion_model."]).succeeds();
    let parts = checkpoint(&["diff", &from, text(&out)]);
    assert_eq!(parts.code, Some(1), "{parts:?}");
    assert!(parts.out.contains("7 keys only in") && parts.out.contains("  a.weight"), "{}", parts.out);
    checkpoint(&["convert", &from, text(&out), "--ema", "--force"]).fails(6, &["averages"]);
}

#[test]
fn averages_are_exported_under_the_normal_keys_and_start_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_in(dir.path());
    let (plain, averaged) = (dir.path().join("plain.safetensors"), dir.path().join("ema.safetensors"));
    checkpoint(&["convert", text(&run), text(&plain)]).succeeds();
    checkpoint(&["convert", text(&run), text(&averaged), "--ema"]).succeeds();
    checkpoint(&["diff", text(&run), text(&plain)]).succeeds();
    checkpoint(&["diff", text(&run), text(&averaged), "--ema"]).succeeds();
    let differ = checkpoint(&["diff", text(&plain), text(&averaged), "--top", "3"]);
    assert_eq!(differ.code, Some(1), "{differ:?}");
    assert!(!differ.out.contains("only in"), "{}", differ.out);

    let start = |file: &Path, run: &str| {
        // Too small a rate to change any weight.
        let sets = ["train.steps=1", "optimizer.learning_rate=1e-30", &format!("train.init_from={}", file.display())];
        train(&dir.path().join(run), &sets, &[])
    };
    start(&averaged, "started").succeeds();
    checkpoint(&["diff", text(&dir.path().join("started")), text(&averaged)]).succeeds();
    // What the file lacks is told, by `config check`, too.
    let lacking = dir.path().join("lacking.safetensors");
    let mut weights = anneal_weights::read(&plain).unwrap();
    let (gone, _) = weights.remove(0);
    anneal_weights::write(&lacking, &weights, Default::default()).unwrap();
    let init = format!("train.init_from={}", lacking.display());
    let sets: Vec<&str> = SMALL.iter().copied().chain([init.as_str()]).flat_map(|set| ["--set", set]).collect();
    let checked = anneal(&[&["config", "check", &path("configs/demo.toml")], &sets[..]].concat()).succeeds();
    let trained = start(&lacking, "lacking").succeeds();
    for ran in [checked, trained] {
        assert!(ran.err.contains("missing keeps its initial values") && ran.err.contains(&gone), "{ran:?}");
    }
    // Without its prefix the file would be a training from scratch.
    let bare = dir.path().join("bare.safetensors");
    checkpoint(&["convert", text(&plain), text(&bare), "--strip", "model.diffusion_model."]).succeeds();
    start(&bare, "bare").fails(6, &["no key of the network begins with", "--add model.diffusion_model."]);
}

#[test]
fn a_damaged_checkpoint_is_not_converted() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_in(dir.path());
    let model = run.join("checkpoints/step-00000004/model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let out = dir.path().join("out.safetensors");
    checkpoint(&["convert", text(&run), text(&out)]).fails(6, &["SHA-256", "model.safetensors"]);
    assert!(!out.exists());
}

/// A tensor's key, shape and bytes.
type Stored = (String, Vec<usize>, Vec<u8>);

/// A pipeline's folder whose tensors hold their place in the list.
fn pipeline(dir: &Path) {
    let mut components: BTreeMap<&str, Vec<Stored>> = BTreeMap::new();
    for (i, line) in PIPELINE.lines().enumerate() {
        let (key, shape) = line.split_once(' ').unwrap();
        let (component, key) = key.split_once('.').unwrap();
        let shape: Vec<usize> = shape.split('x').map(|size| size.parse().unwrap()).collect();
        let count = shape.iter().product::<usize>();
        let bytes = (0..count).flat_map(|j| (i as f32 + j as f32 / 1024.0).to_le_bytes()).collect();
        components.entry(component).or_default().push((key.to_owned(), shape, bytes));
    }
    for (component, tensors) in components {
        let name = if component == "image_encoder" { "model" } else { "diffusion_pytorch_model" };
        std::fs::create_dir_all(dir.join(component)).unwrap();
        let views = tensors
            .iter()
            .map(|(key, shape, bytes)| (key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        let path = dir.join(component).join(format!("{name}.safetensors"));
        safetensors::serialize_to_file(views, None, &path).unwrap();
    }
}

#[test]
fn a_pipeline_goes_to_the_references_keys_and_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (from, file, back) = (dir.path().join("svd"), dir.path().join("svd.safetensors"), dir.path().join("back"));
    pipeline(&from);
    checkpoint(&["convert", text(&from), text(&file)]).succeeds();
    let ran = checkpoint(&["inspect", text(&file), "--depth", "1"]).succeeds();
    for part in ["model", "first_stage_model", "conditioner"] {
        assert!(ran.out.lines().any(|line| line.split_whitespace().next() == Some(part)), "{part}: {}", ran.out);
    }
    let to = ["convert", text(&file), text(&back), "--to", "diffusers", "--num-frames", "3", "--head-width", "16"];
    let ran = checkpoint(&to).succeeds();
    assert!(ran.out.contains("were left out, `first_stage_model.encoder."), "{}", ran.out);
    let same = checkpoint(&["diff", text(&from), text(&back)]).succeeds();
    assert!(same.out.contains("692 tensors are equal, 0 differ"), "{}", same.out);
    let config = std::fs::read_to_string(back.join("unet/config.json")).unwrap();
    assert!(config.contains("\"num_frames\": 3"), "{config}");
    assert!(back.join("model_index.json").is_file());
    checkpoint(&["convert", text(&file), text(&back), "--to", "diffusers"]).fails(2, &["--num-frames"]);
    let other =
        checkpoint(&["convert", &path(LIGHTNING), text(&back), "--force", "--to", "diffusers", "--num-frames", "3"]);
    other.fails(6, &["the pipeline's vae is missing: no key begins with `first_stage_model.decoder.`"]);
}
