//! A file as large as Stable Video Diffusion's, with its keys and shapes, through training and back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anneal::assemble::{AnyProject, Place, build_model};
use anneal::config::{Environment, Files};
use image::codecs::gif::GifEncoder;
use image::{Frame, RgbaImage};
use serde_json::{Map, Value, json};

use super::run::{anneal, path};

/// The one tensor that a step moves where all weights are zero: the bias of the network's last layer.
const MOVED: &str = "model.diffusion_model.out.2.bias";

/// Whose first values are not zero in the file.
const MARKED: [&str; 3] = [
    "model.diffusion_model.middle_block.1.time_stack.0.attn2.to_k.weight",
    "conditioner.embedders.0.open_clip.model.visual.conv1.weight",
    "first_stage_model.decoder.conv_out.weight",
];

/// 1.5 in f16 and in f32, little-endian.
const MARK: ([u8; 2], [u8; 4]) = ([0x00, 0x3e], [0x00, 0x00, 0xc0, 0x3f]);

/// Keys and shapes of the model that `configs/svd.toml` describes, which are the published file's.
fn keys_and_shapes() -> Vec<(String, Vec<i64>)> {
    let config = path("configs/svd.toml");
    let opened = AnyProject::open(
        Path::new(&config),
        &[],
        Files::MayLack,
        &[path("target/plugins").into()],
        &Environment::default(),
    );
    let Ok(AnyProject::Diffusion(mut project)) = opened else { panic!("{config} is no diffusion model's") };
    let config = project.config().clone();
    let built = build_model(&config, &mut project.registry, Place::Meta).unwrap();
    built.weights.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect()
}

/// Zeros in f16 that take no room on a disk with sparse files, but for the marks.
fn write_zeros(file: &Path, tensors: &[(String, Vec<i64>)]) {
    let (mut header, mut end, mut marks) = (Map::new(), 0, Vec::new());
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<i64>() as u64;
        header.insert(name.clone(), json!({ "dtype": "F16", "shape": shape, "data_offsets": [start, end] }));
        if MARKED.contains(&name.as_str()) {
            marks.push(start);
        }
    }
    let header = Value::Object(header).to_string();
    let data = 8 + header.len() as u64;
    let mut file = File::create(file).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(data + end).unwrap();
    for start in marks {
        file.seek(SeekFrom::Start(data + start)).unwrap();
        file.write_all(&MARK.0).unwrap();
    }
}

/// Kind, shape and place of each tensor of a file, and where its data begin.
fn header(file: &mut File) -> (BTreeMap<String, Value>, u64) {
    let mut length = [0; 8];
    file.read_exact(&mut length).unwrap();
    let mut text = vec![0; u64::from_le_bytes(length) as usize];
    file.read_exact(&mut text).unwrap();
    let mut tensors: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap();
    tensors.remove("__metadata__");
    (tensors, 8 + text.len() as u64)
}

/// Whether all bytes from `start` to `end` but the first `but` are zero.
fn is_zero(file: &mut File, start: u64, end: u64, but: u64) -> bool {
    file.seek(SeekFrom::Start(start + but)).unwrap();
    let mut rest = BufReader::with_capacity(1 << 20, file).take(end - start - but);
    let mut block = vec![0; 1 << 20];
    loop {
        let count = rest.read(&mut block).unwrap();
        if count == 0 {
            return true;
        }
        if block[..count].iter().any(|byte| *byte != 0) {
            return false;
        }
    }
}

fn write_clip(file: &Path) {
    let mut encoder = GifEncoder::new(File::create(file).unwrap());
    let frame = |i: u8| Frame::new(RgbaImage::from_fn(64, 64, |x, y| [x as u8 * 3, y as u8 * 3, 90 * i, 255].into()));
    encoder.encode_frames((0..3).map(frame)).unwrap();
}

#[test]
#[ignore = "takes 14 GiB of memory, 20 GB of disk and minutes: cargo test --workspace --test cli -- --ignored full_size"]
fn a_file_of_svds_size_is_loaded_trained_and_written_back_under_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let tensors = keys_and_shapes();
    write_zeros(Path::new(&at("svd.safetensors")), &tensors);
    std::fs::create_dir(at("clips")).unwrap();
    write_clip(&dir.path().join("clips/clip.gif"));

    // All of the model, two small frames, and of the network only the last layer in motion.
    let mut args: Vec<String> = ["train", &path("configs/finetune/svd.toml"), "--quiet"].map(str::to_owned).into();
    args.extend(["--plugin-dir".to_owned(), path("target/plugins")]);
    let weights = at("svd.safetensors");
    for set in [
        format!("run.dir={}", at("run")),
        format!("train.init_from={weights}"),
        format!("model.first_stage.weights={weights}"),
        format!("model.embedders.0.weights={weights}"),
        format!("model.embedders.3.weights={weights}"),
        format!("data.source.path={}", at("clips")),
    ] {
        args.extend(["--set".to_owned(), set]);
    }
    for set in [
        "run.device=cpu",
        "run.precision=f32",
        "data.workers=0",
        "data.source.size=[64,64]",
        "data.source.clip.num_frames=2",
        "data.source.clip.stride=[1, 1]",
        "model.embedders.0.n_copies=2",
        "model.embedders.3.n_copies=2",
        "model.trainable=[\"out.*\"]",
        "optimizer.schedule={plugin=\"constant\"}",
        "train.steps=1",
        "logging.preview_every_steps=1000",
    ] {
        args.extend(["--set".to_owned(), set.to_owned()]);
    }
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>()).succeeds();
    anneal(&["checkpoint", "convert", &at("run"), &at("back.safetensors")]).succeeds();

    let mut back = File::open(at("back.safetensors")).unwrap();
    let (found, data) = header(&mut back);
    let want: BTreeMap<&String, &Vec<i64>> = tensors.iter().map(|(name, shape)| (name, shape)).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), want.keys().copied().collect::<Vec<_>>());
    for (name, entry) in &found {
        assert_eq!(entry["shape"], json!(want[name]), "{name}");
        let [start, end] = [0, 1].map(|i| data + entry["data_offsets"][i].as_u64().unwrap());
        let marked = MARKED.contains(&name.as_str());
        if marked {
            let mut first = [0; 4];
            back.seek(SeekFrom::Start(start)).unwrap();
            back.read_exact(&mut first).unwrap();
            assert_eq!(first, MARK.1, "{name}");
        }
        assert_eq!(is_zero(&mut back, start, end, if marked { 4 } else { 0 }), name != MOVED, "{name}");
    }
}
