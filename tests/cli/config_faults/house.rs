//! A folder in which nothing is wrong with any shipped config: data, and weights whose headers fit.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anneal::assemble::{AnyProject, Place, build_model};
use anneal::config::{Environment, Files};
use anneal_nn::{Lpips, Params};
use image::codecs::gif::GifEncoder;
use image::{Frame, RgbImage, RgbaImage};
use serde_json::{Map, json};

use crate::recipes::{idx, shard_of};
use crate::run::path;

/// Keys and shapes.
type Header = BTreeMap<String, Vec<i64>>;

/// The shipped configs, below `configs/`.
pub fn shipped() -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["", "finetune/"] {
        for entry in fs::read_dir(path(&format!("configs/{folder}"))).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".toml") {
                names.push(format!("{folder}{name}"));
            }
        }
    }
    names.sort();
    names
}

/// Folders like the repository's.
pub struct House {
    dir: tempfile::TempDir,
}

impl House {
    /// Copies the configs and makes what they name.
    pub fn new() -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["configs/finetune", "data", "weights", "runs"] {
            fs::create_dir_all(house.at(folder)).unwrap();
        }
        std::os::unix::fs::symlink(path("target"), house.at("target")).unwrap();
        for name in shipped() {
            fs::copy(path(&format!("configs/{name}")), house.at(&format!("configs/{name}"))).unwrap();
        }
        house.data();
        house.weights();
        // Some configs start from what others train, and those begin in a folder without runs.
        fs::create_dir_all(house.at("fresh/runs")).unwrap();
        for shared in ["configs", "data", "weights", "target"] {
            let (from, to) = (house.at(shared), house.dir.path().join("fresh").join(shared));
            match shared {
                "configs" => copy_all(&from, &to),
                _ => std::os::unix::fs::symlink(from, to).unwrap(),
            }
        }
        house
    }

    /// Where to put a config like the shipped one `name` under another name.
    pub fn beside(&self, name: &str, other: &str) -> PathBuf {
        let root = if name.starts_with("autoencoder") { "fresh/configs" } else { "configs" };
        self.at(root).join(name).with_file_name(other)
    }

    /// A file or folder in it.
    pub fn at(&self, relative: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(relative)
    }

    fn data(&self) {
        for folder in ["mnist", "cifar10", "imagenet", "captioned", "videos"] {
            fs::create_dir(self.at(&format!("data/{folder}"))).unwrap();
        }
        let write = |name: &str, bytes: Vec<u8>| fs::write(self.at(&format!("data/{name}")), bytes).unwrap();
        write("mnist/train-images-idx3-ubyte.gz", idx(&[2, 28, 28], (0..2 * 28 * 28).map(|i| (i % 251) as u8)));
        write("mnist/train-labels-idx1-ubyte.gz", idx(&[2], [7, 9].into_iter()));
        for i in 1..=5 {
            write(&format!("cifar10/data_batch_{i}.bin"), (0..3073).map(|at| (at % 10) as u8).collect());
        }
        shard_of(&self.at("data/imagenet"), |i| [(format!("{i}.cls"), i.to_string().into_bytes())]);
        shard_of(&self.at("data/captioned"), |i| [(format!("{i}.txt"), b"a fox".to_vec())]);
        clip(&self.at("data/videos/walk.gif"));
        fs::write(self.at("configs/clips.jsonl"), "{ \"path\": \"../data/videos/walk.gif\" }\n").unwrap();
        self.object("objects", 21, 1);
        self.object("moving_objects", 9, 12);
    }

    /// An object from that many cameras at that many times: one picture for all.
    fn object(&self, name: &str, views: usize, times: usize) {
        let folder = self.at(&format!("data/{name}/fox"));
        let camera = |i: usize| format!("v{i:02}");
        let cameras =
            |i| json!({ "name": camera(i), "azimuth_deg": 360.0 / views as f64 * i as f64, "elevation_deg": 10.0 });
        for view in 0..views {
            fs::create_dir_all(folder.join(camera(view))).unwrap();
        }
        let picture = folder.join("v00/0000.png");
        RgbImage::new(576, 576).save(&picture).unwrap();
        for (view, time) in (0..views).flat_map(|view| (0..times).map(move |time| (view, time))).skip(1) {
            fs::hard_link(&picture, folder.join(camera(view)).join(format!("{time:04}.png"))).unwrap();
        }
        let cameras = json!({ "views": (0..views).map(cameras).collect::<Vec<_>>() });
        fs::write(folder.join("cameras.json"), cameras.to_string()).unwrap();
    }

    /// Every file of weights that a config names, as long as the header says, which takes no room where nothing is written.
    /// Beside each lies one of the same keys in other shapes, and in `weights` one of another model.
    fn weights(&self) {
        let mut files: BTreeMap<PathBuf, Header> = BTreeMap::new();
        for name in shipped() {
            self.weights_of(&self.at(&format!("configs/{name}")), &mut files);
        }
        for (file, header) in &files {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            write_header(file, header);
            let wider = |shape: &Vec<i64>| shape.iter().map(|side| side + 1).collect();
            write_header(&twin(file), &header.iter().map(|(key, shape)| (key.clone(), wider(shape))).collect());
        }
        let other = Header::from([("blocks.0.weight".to_owned(), vec![4, 4]), ("blocks.0.bias".to_owned(), vec![4])]);
        write_header(&self.at("weights/other.safetensors"), &other);
        fs::write(self.at("weights/words.safetensors"), "these are no weights").unwrap();
        let words = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": { "a": 0, "fox": 1 }, "unk_token": "a" },
        });
        fs::write(self.at("weights/clip-vit-large-patch14/tokenizer.json"), words.to_string()).unwrap();
    }

    /// What `config` needs to find in its files.
    fn weights_of(&self, config: &Path, files: &mut BTreeMap<PathBuf, Header>) {
        let plugins = [path("target/plugins").into()];
        let opened = AnyProject::open(config, &[], Files::MayLack, &plugins, &Environment::default());
        let mut add = |file: &Path, named: Vec<(String, Vec<i64>)>| {
            files.entry(file.to_owned()).or_default().extend(named);
        };
        match opened.unwrap_or_else(|error| panic!("{}:\n{error}", config.display())) {
            AnyProject::Autoencoder(project) => {
                let Some(lpips) = &project.config().loss.lpips else { return };
                let params = Params::meta();
                Lpips::new(&params.root());
                add(&lpips.weights, params.into_entries().into_iter().map(|p| (p.path, p.tensor.size())).collect());
            }
            AnyProject::Diffusion(mut project) => {
                let config = project.config().clone();
                let built = build_model(&config, &mut project.registry, Place::Meta).unwrap();
                let below = |from: &str, to: &str| -> Vec<(String, Vec<i64>)> {
                    let own =
                        built.weights.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(from)?, tensor)));
                    own.map(|(name, tensor)| (format!("{to}{name}"), tensor.size())).collect()
                };
                if let Some(file) = &config.train.init_from {
                    add(file, below("", ""));
                }
                if let Some((file, prefix)) = config.model.first_stage.weights() {
                    add(file, below("first_stage_model.", prefix));
                }
                for (i, used) in config.model.embedders.iter().enumerate() {
                    let Some(file) = &used.weights else { continue };
                    let from = format!("conditioner.embedders.{i}.{}", used.weights_at);
                    add(file, below(&from, &used.weights_prefix));
                }
            }
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, place) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        match entry.is_dir() {
            true => copy_all(&entry, &place),
            false => drop(fs::copy(&entry, &place).unwrap()),
        }
    }
}

/// Where the weights of other shapes than those in `file` lie.
pub fn twin(file: &Path) -> PathBuf {
    file.with_file_name(format!("wider-{}", file.file_name().unwrap().to_string_lossy()))
}

/// A safetensors file of zeros in f16.
fn write_header(file: &Path, tensors: &Header) {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<i64>() as u64;
        header.insert(name.clone(), json!({ "dtype": "F16", "shape": shape, "data_offsets": [start, end] }));
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = File::create(file).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
}

/// Frames enough for every clip that a config cuts out, of a third of the video too.
fn clip(file: &Path) {
    let mut encoder = GifEncoder::new(File::create(file).unwrap());
    let frame = |i: u8| Frame::new(RgbaImage::from_fn(64, 36, |x, y| [x as u8 * 3, y as u8 * 3, 5 * i, 255].into()));
    encoder.encode_frames((0..48).map(frame)).unwrap();
}

/// All names of settings that any schema knows.
pub fn vocabulary() -> HashSet<String> {
    let mut names = HashSet::new();
    for kind in [&[][..], &["--autoencoder"]] {
        let plugins = path("target/plugins");
        let args = [&["config", "schema", "--plugin-dir", plugins.as_str()], kind].concat();
        let schema: serde_json::Value = serde_json::from_str(&crate::run::anneal(&args).succeeds().out).unwrap();
        collect(&schema, &mut names);
    }
    names
}

fn collect(schema: &serde_json::Value, names: &mut HashSet<String>) {
    match schema {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                if key == "properties" {
                    names.extend(member.as_object().into_iter().flat_map(Map::keys).cloned());
                }
                collect(member, names);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}
