//! Embedders of a real plugin that start from published weights.

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::run::{Ran, checkpoint_file, train};

/// The parameter of the demo's embedder of classes.
const KEY: &str = "conditioner.embedders.4.embedding.weight";

/// Values of a table with these rows.
fn table(rows: usize) -> Vec<f32> {
    (0..rows * 64).map(|i| (i as f32).sin()).collect()
}

fn write(path: &Path, key: &str, rows: usize) {
    let bytes: Vec<u8> = table(rows).iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![rows, 64], &bytes).unwrap();
    let other = TensorView::new(Dtype::F32, vec![1, 64], &bytes[..256]).unwrap();
    safetensors::serialize_to_file([(key, view), ("another.model.weight", other)], None, path).unwrap();
}

/// The small demo, its classes starting from `file`, at a rate too small to change any weight.
fn train_from(dir: &Path, file: &Path, more: &[&str]) -> Ran {
    let weights = format!("model.embedders.4.weights={}", file.display());
    let sets = [&["train.steps=1", "optimizer.learning_rate=1e-30", weights.as_str()], more].concat();
    train(dir, &sets, &[])
}

#[test]
fn a_table_is_taken_from_its_file_behind_either_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("classes.safetensors");
    let cases: [(&str, &[&str]); 4] = [
        ("embedding.weight", &[]),
        ("labels.embedding.weight", &["model.embedders.4.weights_prefix=labels."]),
        ("weight", &["model.embedders.4.weights_at=embedding."]),
        ("labels.weight", &["model.embedders.4.weights_prefix=labels.", "model.embedders.4.weights_at=embedding."]),
    ];
    for (i, (key, sets)) in cases.into_iter().enumerate() {
        write(&file, key, 3);
        let run = dir.path().join(i.to_string());
        train_from(&run, &file, sets).succeeds();
        let bytes = checkpoint_file(&run, 1, "model.safetensors");
        let saved = SafeTensors::deserialize(&bytes).unwrap();
        let want: Vec<u8> = table(3).iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(saved.tensor(KEY).unwrap().data(), want, "{key}");
    }
}

#[test]
fn a_file_of_other_weights_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (run, file) = (dir.path().join("run"), dir.path().join("classes.safetensors"));
    write(&file, "embedding.weight", 5);
    train_from(&run, &file, &[])
        .fails(3, &["model.embedders", "`embedding.weight` is [5, 64] there, the parameter [3, 64]"]);
    write(&file, "embeddings.weight", 3);
    train_from(&run, &file, &[]).fails(3, &["it has no key `embedding.weight`", "weights_prefix"]);
    std::fs::write(&file, "no weights").unwrap();
    train_from(&run, &file, &[]).fails(6, &["classes.safetensors", "neither safetensors nor"]);
}
