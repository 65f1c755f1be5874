//! The safetensors format, read by its header and written whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::thread;

use safetensors::tensor::{Dtype, Metadata, View};
use tch::{Device, Kind, Tensor};

use super::contents::{Contents, Entry};
use super::{Named, WeightsError};
use crate::digest::{in_shares, sha256};

/// Largest header, as in the format's own library.
const HEADER_MAX: u64 = 100_000_000;

/// What a file holds.
pub(super) fn contents(path: &Path, file: &mut File) -> Result<Contents, WeightsError> {
    let io = WeightsError::io(path);
    let bad = |reason: String| WeightsError::format(path, reason);
    let size = file.metadata().map_err(&io)?.len();
    if size < 8 {
        return Err(bad(format!("{size} bytes are too few for any")));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(&io)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_MAX || length > size - 8 {
        return Err(bad("it is neither safetensors nor a zip of torch.save".to_owned()));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(&io)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| bad(format!("its header: {error}")))?;
    let first = 8 + length;
    let mut entries = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let kind = kind(info.dtype).ok_or_else(|| bad(format!("{name} has dtype {:?}", info.dtype)))?;
        let shape = info.shape.iter().map(|&size| i64::try_from(size)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| bad(format!("{name} has shape {:?}", info.shape)))?;
        let bytes = info.shape.iter().try_fold(kind.elt_size_in_bytes(), |bytes, size| bytes.checked_mul(*size));
        let (start, end) = (info.data_offsets.0, info.data_offsets.1);
        if end.checked_sub(start) != bytes || bytes.is_none() || first + end as u64 > size {
            return Err(bad(format!(
                "{name}, {:?} {:?}, is not the bytes {start} to {end} of {size}",
                info.dtype, shape
            )));
        }
        entries.push(Entry { name, kind, shape, start: first + start as u64, strides: None });
    }
    let end = entries.iter().map(|entry| entry.start + entry.bytes()).max().unwrap_or(first);
    if end != size {
        return Err(bad(format!("it has {size} bytes, its header tells of {end}")));
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(Contents { entries, metadata })
}

/// Writes tensors to a new file at `path`, in any order the format likes; the caller makes the write atomic. Returns the
/// SHA-256 of each tensor's bytes as they are in memory, so that the file can be held to them.
///
/// # Errors
/// When the file cannot be written, or a tensor is of a kind that the format lacks.
pub fn write(
    path: &Path,
    tensors: &[Named],
    metadata: HashMap<String, String>,
) -> Result<BTreeMap<String, String>, WeightsError> {
    let entries = tensors.iter().map(|(name, tensor)| Ok((name.as_str(), Written::new(path, name, tensor)?)));
    let entries: Vec<(&str, Written)> = entries.collect::<Result<_, WeightsError>>()?;
    let views = entries.iter().map(|(name, written)| (*name, written));
    let owned = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect();
    thread::scope(|scope| {
        // Its own reading of memory, not that which goes into the file.
        let sums = scope.spawn(move || sums(owned));
        safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => WeightsError::Io { path: path.to_owned(), source },
            other => WeightsError::Format { path: path.to_owned(), reason: other.to_string() },
        })?;
        Ok(sums.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// The SHA-256 of each tensor's bytes.
fn sums(tensors: Vec<Named>) -> BTreeMap<String, String> {
    let of_share = |share: Vec<Named>| -> Vec<(String, String)> {
        let mut buffer = Vec::new();
        let sum = |(name, tensor): Named| {
            copy_bytes(&tensor, &mut buffer);
            (name, sha256(&buffer))
        };
        share.into_iter().map(sum).collect()
    };
    in_shares(tensors, |(_, tensor)| num_bytes(tensor) as u64, of_share).into_iter().flatten().collect()
}

/// Bytes of a tensor's values.
pub(crate) fn num_bytes(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

/// Makes `bytes` those of `tensor`.
fn copy_bytes(tensor: &Tensor, bytes: &mut Vec<u8>) {
    let on_host = tensor.to_device(Device::Cpu).contiguous();
    bytes.resize(num_bytes(&on_host), 0);
    on_host.copy_data_u8(bytes, on_host.numel());
}

/// A tensor as the writer asks for it; its bytes are copied out only while they are written.
struct Written {
    tensor: Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Written {
    fn new(path: &Path, name: &str, tensor: &Tensor) -> Result<Self, WeightsError> {
        let dtype = dtype(tensor.kind()).ok_or_else(|| {
            WeightsError::format(path, format!("{name} is of kind {:?}, which the format lacks", tensor.kind()))
        })?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Ok(Self { tensor: tensor.detach(), dtype, shape })
    }
}

impl View for &Written {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::new();
        copy_bytes(&self.tensor, &mut bytes);
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        num_bytes(&self.tensor)
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
    use super::super::read;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let strided = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]).transpose(0, 1);
        let scalar = Tensor::from(7_i64);
        let half = Tensor::from_slice(&[1.0_f32, -2.5]).to_kind(Kind::BFloat16);
        let none = Tensor::zeros([0, 3], (Kind::Float, Device::Cpu));
        let all = [("a.b", strided), ("n", scalar), ("h", half), ("none", none)];
        let all: Vec<Named> = all.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
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
        let good = std::fs::read(&path).unwrap();
        let long = [&good[..], &[0]].concat();
        for bad in [&good[..good.len() - 1], &long, &good[..7], b"not tensors at all"] {
            std::fs::write(&path, bad).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("bad.safetensors: not a readable"));
        }
        assert!(matches!(read(&dir.path().join("none")), Err(WeightsError::Io { .. })));
    }
}
