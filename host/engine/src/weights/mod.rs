//! Named tensors in files: safetensors, and the files of `torch.save`, of which nothing is executed.

mod adapters;
mod contents;
mod file;
mod pickle;
mod report;
mod safetensors_file;
mod state_dict;
mod torch_file;
mod torch_legacy_file;

pub use adapters::{ALPHA, aligned, merge_adapters, split_adapters};
pub use contents::Entry;
pub use file::WeightsFile;
pub use report::{KeyReport, Misshapen, other_prefix};
pub(crate) use safetensors_file::num_bytes;
pub use safetensors_file::write;

use std::path::{Path, PathBuf};

use tch::Tensor;
use thiserror::Error;

/// What can go wrong with a weights file.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no weights file, or a damaged one.
    #[error("{}: not a readable weights file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl WeightsError {
    fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }

    fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), reason: reason.into() }
    }
}

/// A named tensor.
pub type Named = (String, Tensor);

/// A name and the shape of its tensor.
pub type Shaped = (String, Vec<i64>);

/// The shapes of tensors.
pub fn shapes(named: &[Named]) -> Vec<Shaped> {
    named.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect()
}

/// Reads all tensors of a file onto the CPU, in the file's order.
///
/// # Errors
/// When the file cannot be read, or is neither a safetensors file nor one of `torch.save`.
pub fn read(path: &Path) -> Result<Vec<Named>, WeightsError> {
    let mut file = WeightsFile::open(path)?;
    (0..file.entries().len()).map(|i| Ok((file.entries()[i].name.clone(), file.tensor(i)?))).collect()
}
