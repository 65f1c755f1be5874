//! What is common to files of weights: opened, and their tensors read.

use anneal::weights::WeightsFile;

use crate::files::{folder, said, write};

/// Tensors that are read of one file.
const TENSORS_MAX: usize = 64;

/// As a run reads weights.
pub(super) fn read(bytes: &[u8]) {
    let folder = folder();
    write(folder.path(), "weights", bytes);
    let path = folder.path().join("weights");
    let Some(mut file) = said(WeightsFile::open(&path)) else { return };
    for entry in file.entries() {
        assert!(entry.range().end <= bytes.len() as u64 || entry.numel() <= bytes.len() as u64, "{entry:?}");
    }
    for index in 0..file.entries().len().min(TENSORS_MAX) {
        let shape = file.entries()[index].shape.clone();
        if let Some(tensor) = said(file.tensor(index)) {
            assert_eq!(tensor.size(), shape);
        }
    }
    if file.entries().len() <= TENSORS_MAX {
        said(anneal::weights::read(&path));
    }
}
