//! Low-rank adapters: trained over frozen weights, resumed, saved, loaded and merged.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use crate::run::{Ran, anneal, checkpoint_file, metrics, path, train};

const LORA: &str = "model.lora={rank=2,alpha=4.0}";

/// Embedders would be trained beside the adapters.
const FROZEN: &str = "model.embedders.4.is_trainable=false";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn checkpoint(args: &[&str]) -> Ran {
    anneal(&[&["checkpoint"], args].concat())
}

/// A folder with a trained base.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        train(&house.at("base"), &[FROZEN, "train.steps=3"], &[]).succeeds();
        house
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Trains in the folder `name` from the weights of `from`.
    fn from(&self, name: &str, from: &str, sets: &[&str]) -> Ran {
        let from = format!("train.init_from={}", self.at(from).display());
        train(&self.at(name), &[&[from.as_str(), FROZEN], sets].concat(), &[])
    }

    fn losses(&self, name: &str) -> Vec<f64> {
        metrics(&self.at(name)).iter().map(|line| line["loss"].as_f64().unwrap()).collect()
    }

    /// Writes a file with the adapters of a run, or with its weights and adapters merged.
    fn write(&self, verb: &[&str], from: &str, out: &str) -> PathBuf {
        let (from, out) = (self.at(from), self.at(out));
        checkpoint(&[&[verb[0], text(&from), text(&out)], &verb[1..]].concat()).succeeds();
        out
    }
}

/// The keys of a file.
fn keys(bytes: &[u8]) -> Vec<String> {
    SafeTensors::deserialize(bytes).unwrap().names().iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn adapters_start_as_the_base_and_leave_it_alone() {
    let house = House::new();
    house.from("plain", "base", &["train.steps=1"]).succeeds();
    house.from("tuned", "base", &[LORA, "train.steps=3"]).succeeds();
    // The loss of a step is from before it moves anything.
    assert_eq!(house.losses("plain")[0], house.losses("tuned")[0]);
    // No input of the first blocks needs a gradient, and their adapters have one all the same.
    house.from("recomputed", "base", &[LORA, "train.steps=3", "model.network.use_checkpoint=true"]).succeeds();
    for (kept, recomputed) in house.losses("tuned").into_iter().zip(house.losses("recomputed")) {
        assert!((kept - recomputed).abs() < 1e-4 * kept, "{kept} {recomputed}");
    }
    let file = house.at("recomputed").join("checkpoints/step-00000003/model.safetensors");
    for (key, b) in anneal::weights::read(&file).unwrap().iter().filter(|(key, _)| key.ends_with(".lora_B.weight")) {
        // A context of one token asks nothing of queries and keys.
        let is_idle = key.contains(".attn2.") && (key.contains(".to_q.") || key.contains(".to_k."));
        assert_eq!(b.abs().max().double_value(&[]) > 0.0, !is_idle, "{key}");
    }
    let base = house.write(&["convert", "--ema"], "base", "base.safetensors");
    let diff = checkpoint(&["diff", text(&base), text(&house.at("tuned"))]);
    assert_eq!(diff.code, Some(1), "{diff:?}");
    assert!(diff.out.contains(" 0 differ") && diff.out.contains("lora_A.weight"), "{}", diff.out);
    for file in ["optimizer.safetensors", "ema.safetensors"] {
        let keys = keys(&checkpoint_file(&house.at("tuned"), 3, file));
        assert!(keys.len() > 8 && keys.iter().all(|key| key.contains(".lora_") || key == "steps"), "{file}: {keys:?}");
    }
}

#[test]
fn a_tuned_run_goes_on_bit_for_bit() {
    let house = House::new();
    // What adapters drop depends on the step alone, and they do drop; in steps so long that they say something.
    let dropping = [LORA, FROZEN, "model.lora.dropout=0.5", "optimizer.learning_rate=0.5"];
    let with_steps = |steps| [&dropping[..], &[steps]].concat();
    house.from("straight", "base", &with_steps("train.steps=6")).succeeds();
    house.from("broken", "base", &with_steps("train.steps=3")).succeeds();
    house.from("whole", "base", &[LORA, dropping[3], "train.steps=6"]).succeeds();
    let (whole, dropped) = (house.losses("whole"), house.losses("straight"));
    assert!(whole[0] == dropped[0] && whole[5] != dropped[5], "{whole:?} {dropped:?}");
    let from = format!("train.init_from={}", house.at("base").display());
    train(&house.at("broken"), &[&[from.as_str()], &with_steps("train.steps=6")[..]].concat(), &["--resume"])
        .succeeds();
    house.from("all", "base", &[LORA, "model.lora.dropout=1.0"]).fails(3, &["model.lora.dropout", "below 1"]);
    for file in ["model.safetensors", "ema.safetensors", "optimizer.safetensors"] {
        let [straight, broken] = ["straight", "broken"].map(|name| checkpoint_file(&house.at(name), 6, file));
        assert!(straight == broken, "{file} differs");
    }
}

#[test]
fn adapters_are_saved_loaded_and_merged() {
    let house = House::new();
    // So long a step that adapters over three steps' weights say something.
    house.from("tuned", "base", &[LORA, "train.steps=6", "optimizer.learning_rate=0.5"]).succeeds();
    let one = ["train.steps=1"];
    house.from("went-on", "tuned", &[LORA, one[0]]).succeeds();

    // Saved by themselves and put on the base again, they give what the tuned run gives.
    let adapters = house.write(&["convert", "--adapters", "--ema"], "tuned", "adapters.safetensors");
    let names = keys(&std::fs::read(&adapters).unwrap());
    assert!(names.iter().all(|key| key.ends_with(".lora_A.weight") || key.ends_with(".lora_B.weight")), "{names:?}");
    let loaded = format!("model.lora={{rank=2,alpha=4.0,weights=\"{}\"}}", adapters.display());
    house.from("loaded", "base", &[&loaded, one[0]]).succeeds();
    assert_eq!(house.losses("loaded"), house.losses("went-on"));
    let weak = format!("model.lora={{rank=2,weights=\"{}\"}}", adapters.display());
    house.from("weak", "base", &[&weak]).fails(6, &["alpha = 4"]);

    // Merged they are a plain model that does the same, whether they come from the run or from their file.
    let merged = house.write(&["merge-lora", "--ema"], "tuned", "merged.safetensors");
    house.from("merged", "merged.safetensors", &one).succeeds();
    let [merged_loss, tuned_loss] = ["merged", "went-on"].map(|name| house.losses(name)[0]);
    house.from("plain", "base", &one).succeeds();
    assert!((merged_loss - tuned_loss).abs() < 2e-6 * tuned_loss, "{merged_loss} {tuned_loss}");
    assert!((house.losses("plain")[0] - tuned_loss).abs() > 2e-5 * tuned_loss, "the adapters say something");
    let base = house.write(&["convert", "--ema"], "base", "base.safetensors");
    let again = house.at("again.safetensors");
    checkpoint(&["merge-lora", text(&base), text(&again), "--adapters", text(&adapters)]).succeeds();
    checkpoint(&["diff", text(&merged), text(&again)]).succeeds();
    checkpoint(&["merge-lora", text(&base), text(&again), "--force"]).fails(6, &["no low-rank adapters"]);
    checkpoint(&["convert", text(&base), text(&again), "--force", "--adapters"]).fails(6, &["no low-rank adapters"]);

    // Nobody loses them unawares.
    house.from("unaware", "tuned", &one).fails(6, &["merge-lora"]);
    let folder = house.at("diffusers");
    let args = ["convert", text(&house.at("tuned")), text(&folder), "--to", "diffusers", "--num-frames", "4"]
        .map(str::to_owned);
    checkpoint(&args.each_ref().map(String::as_str)).fails(6, &["merge-lora"]);
}

#[test]
fn targets_and_groups_that_match_nothing_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |set: &str, texts: &[&str]| train(dir.path(), &[set], &[]).fails(3, texts);
    let lora = |targets: &str| format!("model.lora={{rank=2,targets={targets}}}");
    fails(&lora("[\"*.atn1.to_q\"]"), &["model.lora.targets", "did you mean `attn1` by `atn1`?"]);
    fails(&lora("[\"temporal\",\"*.to_w\"]"), &["model.lora.targets.1", "matches no parameter"]);
    fails(&lora("[]"), &["model.lora.targets", "names no layer"]);
    let groups = |groups: &str| format!("optimizer.groups=[{groups}]");
    let typo = groups("{parameters=[\"*.attn1.*\",\"*.atn2.*\"],weight_decay=0.0}");
    fails(&typo, &["optimizer.groups.0.parameters.1", "did you mean `attn2` by `atn2`?"]);
    let late = groups("{parameters=[\"*\"],weight_decay=0.0},{parameters=[\"*.bias\"],learning_rate_factor=0.5}");
    fails(&late, &["optimizer.groups.1.parameters.0", "of earlier groups"]);
}

#[test]
fn the_plan_counts_adapters_and_bits() {
    let plan = |sets: &[&str]| -> serde_json::Value {
        let mut args = vec!["plan".to_owned(), path("configs/demo.toml"), "--json".to_owned()];
        sets.iter().for_each(|set| args.extend(["--set".to_owned(), (*set).to_owned()]));
        let ran = anneal(&args.iter().map(String::as_str).collect::<Vec<_>>()).succeeds();
        serde_json::from_str(&ran.out).unwrap()
    };
    let bytes = |plan: &serde_json::Value, of: &str| plan["bytes"][of].as_u64().unwrap();
    let (full, tuned) = (plan(&[]), plan(&[LORA, FROZEN]));
    let trained = |plan: &serde_json::Value| plan["parts"][0]["trained"].as_u64().unwrap();
    // A rank of two takes far less than a tenth of what it adapts, and is all that has gradients, moments and averages.
    assert!(trained(&tuned) > 0 && 10 * trained(&tuned) < trained(&full));
    assert_eq!(bytes(&tuned, "weights"), bytes(&full, "weights") + 4 * trained(&tuned));
    for (of, each) in [("gradients", 4), ("moments", 8), ("ema", 4)] {
        assert_eq!(bytes(&tuned, of), each * trained(&tuned), "{of}");
    }
    let [half, quarter] =
        ["bf16", "int8"].map(|moments| bytes(&plan(&[&format!("optimizer.moments={moments}")]), "moments"));
    assert_eq!(2 * half, bytes(&full, "moments"));
    // A scale for each 256 values, and for each rest of a parameter.
    assert!((4 * quarter) as f64 / (bytes(&full, "moments") as f64) < 1.05);
    plan_fails(&["optimizer.groups=[{parameters=[\"*.wieght\"],weight_decay=0.0}]"], "did you mean `weight`");
}

fn plan_fails(sets: &[&str], text: &str) {
    let mut args = vec!["plan".to_owned(), path("configs/demo.toml")];
    sets.iter().for_each(|set| args.extend(["--set".to_owned(), (*set).to_owned()]));
    anneal(&args.iter().map(String::as_str).collect::<Vec<_>>()).fails(3, &[text]);
}
