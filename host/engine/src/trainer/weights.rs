//! Named tensors in safetensors files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, View};
use tch::{Device, Kind, Tensor};
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
    /// It is not a safetensors file, or a damaged one.
    #[error("{}: not a readable safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A named tensor.
pub type Named = (String, Tensor);

/// Writes tensors to a new file at `path`, in any order the format likes; the caller makes the write atomic.
///
/// # Errors
/// When the file cannot be written, or a tensor is of a kind that the format lacks.
pub fn write(path: &Path, tensors: &[Named], metadata: HashMap<String, String>) -> Result<(), WeightsError> {
    let entries = tensors.iter().map(|(name, tensor)| Ok((name.as_str(), Entry::new(path, name, tensor)?)));
    let entries: Vec<(&str, Entry)> = entries.collect::<Result<_, WeightsError>>()?;
    safetensors::serialize_to_file(entries, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => WeightsError::Io { path: path.to_owned(), source },
        other => WeightsError::Format { path: path.to_owned(), reason: other.to_string() },
    })
}

/// Reads all tensors of a file onto the CPU, in the file's order.
///
/// # Errors
/// When the file cannot be read, or is no safetensors file.
pub fn read(path: &Path) -> Result<Vec<Named>, WeightsError> {
    let io = |source| WeightsError::Io { path: path.to_owned(), source };
    let format = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(io)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| format(error.to_string()))?;
    file.iter()
        .map(|(name, view)| {
            let kind = kind(view.dtype()).ok_or_else(|| format(format!("{name} has dtype {:?}", view.dtype())))?;
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            let tensor =
                Tensor::f_from_data_size(view.data(), &shape, kind).map_err(|e| format(format!("{name}: {e}")))?;
            Ok((name.to_owned(), tensor))
        })
        .collect()
}

/// A tensor as the writer asks for it; its bytes are copied out only while they are written.
struct Entry {
    tensor: Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Entry {
    fn new(path: &Path, name: &str, tensor: &Tensor) -> Result<Self, WeightsError> {
        let dtype = dtype(tensor.kind()).ok_or_else(|| {
            let reason = format!("{name} is of kind {:?}, which the format lacks", tensor.kind());
            WeightsError::Format { path: path.to_owned(), reason }
        })?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Ok(Self { tensor: tensor.detach(), dtype, shape })
    }
}

impl View for Entry {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let on_host = self.tensor.to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; self.data_len()];
        on_host.copy_data_u8(&mut bytes, on_host.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

const KINDS: [(Kind, Dtype); 10] = [
    (Kind::Float, Dtype::F32),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Double, Dtype::F64),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Int16, Dtype::I16),
    (Kind::Int8, Dtype::I8),
    (Kind::Uint8, Dtype::U8),
    (Kind::Bool, Dtype::BOOL),
];

fn dtype(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|(k, _)| *k == kind).map(|(_, d)| *d)
}

fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|(_, d)| *d == dtype).map(|(k, _)| *k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let strided = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]).transpose(0, 1);
        let scalar = Tensor::from(7_i64);
        let half = Tensor::from_slice(&[1.0_f32, -2.5]).to_kind(Kind::BFloat16);
        let all = vec![("a.b".to_owned(), strided), ("n".to_owned(), scalar), ("h".to_owned(), half)];
        write(&path, &all, HashMap::new()).unwrap();
        let mut back: HashMap<String, Tensor> = read(&path).unwrap().into_iter().collect();
        for (name, tensor) in &all {
            let read = back.remove(name).unwrap();
            assert!(read.kind() == tensor.kind() && read.size() == tensor.size() && read.equal(tensor), "{name}");
        }
        assert!(back.is_empty());
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.safetensors");
        write(&path, &[("a".to_owned(), Tensor::from(1.0_f32))], HashMap::new()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 1);
        std::fs::write(&path, bytes).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("bad.safetensors"));
        assert!(matches!(read(&dir.path().join("none")), Err(WeightsError::Io { .. })));
    }
}
