//! Checkpoints' `progress.json` and `manifest.json`.

use std::sync::OnceLock;

use anneal::trainer::checkpoint::{CheckpointDir, Kept, Lineage, Position, Snapshot, load, sha256_of, verify};
use tch::Tensor;
use tempfile::TempDir;

use crate::files::{folder, parts, said, write};

/// The input is a `progress.json`, to which the manifest is made to fit, or with a line `#=== manifest.json` both.
pub(super) fn checkpoint(data: &[u8]) {
    let (path, manifest) = whole();
    let parts = parts("progress.json", data);
    let part = |wanted: &str| parts.iter().find(|(name, _)| name == wanted).map(|(_, bytes)| *bytes);
    write(path, "progress.json", part("progress.json").unwrap_or_default());
    match part("manifest.json") {
        Some(bytes) => write(path, "manifest.json", bytes),
        None => {
            let sum = sha256_of(&path.join("progress.json")).unwrap_or_default();
            let bytes = part("progress.json").unwrap_or_default().len().to_string();
            write(path, "manifest.json", manifest.replace("BYTES", &bytes).replace("SUM", &sum).as_bytes());
        }
    }
    said(verify(path));
    said(load(path));
    said(CheckpointDir::at(path).latest());
}

/// A whole checkpoint, and its manifest with gaps for what it says of `progress.json`.
fn whole() -> (&'static std::path::Path, &'static str) {
    static WHOLE: OnceLock<(TempDir, std::path::PathBuf, String)> = OnceLock::new();
    let (_, path, manifest) = WHOLE.get_or_init(|| {
        let folder = folder();
        let tensor = || vec![("a".to_owned(), Tensor::from_slice(&[1.0_f32, 2.0]))];
        let snapshot = Snapshot {
            position: Position::default(),
            seed: 1,
            config: "a = 1\n".to_owned(),
            plugins: vec!["acme.a 1.0.0 aa".to_owned()],
            model: tensor(),
            ema: Vec::new(),
            optimizer: tensor(),
            losses: vec![1.0],
            lineage: Lineage::default(),
        };
        let path = CheckpointDir::at(folder.path()).save(&snapshot, &Kept::default());
        let path = path.unwrap_or_else(|error| panic!("a checkpoint: {error}"));
        let (sum, bytes) = (sha256_of(&path.join("progress.json")), std::fs::metadata(path.join("progress.json")));
        let (sum, bytes) = (sum.unwrap_or_default(), bytes.map_or(0, |data| data.len()));
        let manifest = std::fs::read_to_string(path.join("manifest.json")).unwrap_or_default();
        let manifest = manifest.replace(&sum, "SUM").replacen(&format!("\"bytes\": {bytes}"), "\"bytes\": BYTES", 3);
        (folder, path, manifest)
    });
    (path, manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_made_to_fit() {
        let (path, manifest) = whole();
        assert!(manifest.contains("BYTES") && manifest.contains("SUM"));
        let text = br#"{"format":1,"step":3,"batches":3,"samples_seen":3,"ema_updates":0,"seed":5,"plugins":[]}"#;
        checkpoint(text);
        assert_eq!(load(path).unwrap().seed, 5);
    }
}
