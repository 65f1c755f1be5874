//! SV4D's network in the small: views of the fox over time, trained for a few steps and sampled.

use std::path::Path;

use anneal::assemble::{SampleSettings, SavedRun};
use anneal::config::Environment;
use anneal::data::Batch;
use tch::Kind;

use super::{open, repository, train};

/// Two times by three views in pixel space. A context token for each time comes from a tiny tower.
const CONFIG: &str = r#"
[run]
dir = "run"
seed = 4

[data]
batch_size = 1
workers = 0

[data.source]
kind = "mesh-orbit"
path = "FOX"
size = 16
num_views = 3
num_times = 2
seconds_per_time = 0.2
elevation_deg = [0.0, 20.0]

[model]
input_key = "image"
extra_inputs = ["num_video_frames", "image_only_indicator"]

[model.first_stage]
kind = "identity"

[model.network]
kind = "spatial-unet-with-time"
in_channels = 21
out_channels = 3
model_channels = 32
channel_mult = [1, 1]
num_res_blocks = 1
attention_resolutions = [2]
num_head_channels = 32
num_classes = "sequential"
adm_in_channels = 16
context_dim = 8
motion_context_dim = 3
use_spatial_transformer = true
use_spatial_context = true
use_linear_in_transformer = true
use_scale_shift_norm = true
time_block_merge_strategy = "learned_with_images"
time_kernel_size = [3, 1, 1]
time_mix_legacy = false
use_motion_attention = true

[model.denoiser]
kind = "continuous"
scaling = { kind = "v-edm-cnoise" }

[[model.embedders]]
plugin = "open-clip-image-prediction"
input_key = "cond_image"
n_cond_frames = 2
n_copies = 1
vision = { embed_dim = 8, width = 8, head_width = 8, layers = 1, patch_size = 56 }

[[model.embedders]]
plugin = "fourier"
input_key = "camera"
octaves = 1

[[model.embedders]]
plugin = "scalar"
input_key = "polar_rad"
dim = 8

[[model.embedders]]
plugin = "scalar"
input_key = "azimuth_rad"
dim = 8

[[model.embedders]]
plugin = "identity"
input_key = "cond_view"
ucg_rate = 0.1

[loss]
distance = "l2"
sigma_per = "clip"
sigma_sampling = { plugin = "edm", p_mean = 0.0, p_std = 1.0 }
weighting = { plugin = "v" }

[optimizer]
kind = "adamw"
learning_rate = 3e-3

[train]
steps = 4

[sampling]
num_steps = 2
sampler = { plugin = "euler-edm" }
discretization = { plugin = "edm", sigma_min = 0.02, sigma_max = 20.0 }
guidance = { plugin = "spatiotemporal", max_scale = 1.5 }
additional_cond_keys = ["cond_view"]

[logging]
preview_scenes = 1
preview_every_steps = 4
"#;

fn config(dir: &Path) -> std::path::PathBuf {
    let fox = repository("target/data/fox/Fox.gltf");
    assert!(fox.is_file(), "{} is missing: run `cargo xtask setup`", fox.display());
    let path = dir.join("views.toml");
    std::fs::write(&path, CONFIG.replace("FOX", &fox.display().to_string())).unwrap();
    path
}

#[test]
fn it_trains_and_samples_under_its_views() {
    let dir = tempfile::tempdir().unwrap();
    let (path, run) = (config(dir.path()), dir.path().join("run"));
    let mut project = open(&path, &run, &[]);
    let trainer = train(&mut project, false);
    // Attention over views and over frames takes part: its weights have had a gradient.
    let params = trainer.state.optimizer.params();
    let reached: Vec<&str> = params
        .places()
        .iter()
        .zip(params.reached())
        .filter(|(_, reached)| **reached)
        .map(|(p, _)| &p.name[..])
        .collect();
    for part in ["time_mix_blocks.0.attn1.to_q.weight", "motion_blocks.0.attn2.to_k.weight"] {
        assert!(reached.iter().any(|name| name.contains(part)), "{part} is not in {reached:?}");
    }
    assert!(run.join("previews/step-00000004/sheet.png").is_file());

    let plugins = [repository("target/plugins")];
    let saved = SavedRun::open(&run, &SampleSettings::default(), &plugins, &Environment::default()).unwrap();
    let mut batch = saved.source_batch(1).unwrap();
    let mut sampled = saved.build().unwrap();
    let mut sample = |batch: &Batch| sampled.sampling.run(&sampled.model, batch, 5, &mut |_, _, _| true).unwrap();
    let first = sample(&batch);
    assert_eq!(first.size(), [6, 3, 16, 16]);
    assert!(first.isfinite().all().int64_value(&[]) == 1 && first.equal(&sample(&batch)));
    // Other reference views make another sample.
    let views = batch.tensors.get_mut("cond_view").unwrap();
    *views = -views.shallow_clone();
    let change = (sample(&batch) - first).abs().max().to_kind(Kind::Double).double_value(&[]);
    assert!(change > 1e-5, "the reference views change the sample by {change}");
}
