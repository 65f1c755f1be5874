//! The zip of `torch.save`: a pickle, and one uncompressed record for each storage.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use tch::Kind;
use zip::{CompressionMethod, ZipArchive};

use super::WeightsError;
use super::contents::{Contents, Entry};
use super::pickle::TensorRef;
use super::state_dict;

/// Largest pickle, in bytes. Those of published models are below one million.
pub(super) const PICKLE_MAX: u64 = 64 << 20;

/// Where a record lies in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// Its first byte.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
}

/// What a file holds.
pub(super) fn contents(path: &Path, file: &mut File) -> Result<Contents, WeightsError> {
    let bad = |reason: String| WeightsError::format(path, reason);
    let io = WeightsError::io(path);
    let records = records(file).map_err(&bad)?;
    let name = records.keys().find(|name| name.split_once('/').is_some_and(|(_, rest)| rest == "data.pkl"));
    let Some(name) = name else {
        return Err(bad("it is a zip, but holds no `data.pkl`, as those of torch.save do".to_owned()));
    };
    let root = &name[..name.len() - "data.pkl".len()];
    let pickle = records[name];
    if pickle.bytes > PICKLE_MAX {
        return Err(bad(format!("its pickle has {} bytes; at most {PICKLE_MAX} are read", pickle.bytes)));
    }
    if let Some(order) = records.get(&format!("{root}byteorder"))
        && bytes(file, *order).map_err(&io)? != b"little"
    {
        return Err(bad("its numbers are big-endian".to_owned()));
    }
    let pickled = state_dict::read(&bytes(file, pickle).map_err(&io)?).map_err(&bad)?;
    if pickled.tensors.is_empty() {
        return Err(bad("its pickle holds no dict of tensors".to_owned()));
    }
    let entries = pickled.tensors.into_iter().map(|(name, tensor)| {
        let record = records.get(&format!("{root}data/{}", tensor.storage));
        entry(&name, &tensor, record).map_err(|reason| bad(format!("`{name}` {reason}")))
    });
    Ok(Contents { entries: entries.collect::<Result<_, _>>()?, metadata: pickled.facts })
}

/// The records by name. Compressed ones are refused: `torch.save` writes none, and what they unfold to has no bound.
fn records(file: &File) -> Result<HashMap<String, Record>, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let mut zip = ZipArchive::new(file).map_err(|error| error.to_string())?;
    let mut records = HashMap::new();
    for i in 0..zip.len() {
        let record = zip.by_index_raw(i).map_err(|error| error.to_string())?;
        let (name, start, bytes) = (record.name().to_owned(), record.data_start(), record.size());
        if record.compression() != CompressionMethod::Stored {
            return Err(format!("its record `{name}` is compressed"));
        }
        if start.checked_add(bytes).is_none_or(|end| end > size) {
            return Err(format!("its record `{name}` ends behind the file"));
        }
        records.insert(name, Record { start, bytes });
    }
    Ok(records)
}

fn bytes(file: &mut File, record: Record) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(record.start))?;
    file.take(record.bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A tensor's place in the file, or why there is none.
pub(super) fn entry(name: &str, tensor: &TensorRef, record: Option<&Record>) -> Result<Entry, String> {
    let kind = kind(&tensor.class).ok_or_else(|| format!("is of {}, which is not read", tensor.class))?;
    let record = record.ok_or_else(|| format!("lies in the storage `{}`, which is not there", tensor.storage))?;
    let there = record.bytes / kind.elt_size_in_bytes() as u64;
    let signed = |sizes: &[u64]| sizes.iter().map(|&size| i64::try_from(size)).collect::<Result<Vec<_>, _>>();
    let too_large = || format!("has shape {:?} and strides {:?}", tensor.shape, tensor.strides);
    let (shape, strides) =
        (signed(&tensor.shape).map_err(|_| too_large())?, signed(&tensor.strides).map_err(|_| too_large())?);
    let numel = tensor.shape.iter().try_fold(1_u64, |all, size| all.checked_mul(*size)).ok_or_else(too_large)?;
    let span = if numel == 0 {
        0
    } else {
        let axes = tensor.shape.iter().zip(&tensor.strides);
        let mut last = axes.map(|(size, stride)| (size - 1).checked_mul(*stride));
        let last = last.try_fold(0_u64, |sum, part| sum.checked_add(part?)).ok_or_else(too_large)?;
        last.checked_add(1).ok_or_else(too_large)?
    };
    if tensor.offset.checked_add(span).is_none_or(|end| end > there) {
        return Err(format!("reaches behind the {there} values of its storage"));
    }
    if numel > span {
        return Err(format!("has {numel} values over {span} of its storage"));
    }
    let mut dense = 1;
    let is_dense = tensor.shape.iter().zip(&tensor.strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == dense;
        dense = u64::saturating_mul(dense, size);
        fits
    });
    let start = record.start + tensor.offset * kind.elt_size_in_bytes() as u64;
    let strides = (numel > 0 && !is_dense).then_some(strides);
    Ok(Entry { name: name.to_owned(), kind, shape, start, strides })
}

/// The kind of a storage class.
pub(super) fn kind(class: &str) -> Option<Kind> {
    Some(match class {
        "FloatStorage" => Kind::Float,
        "HalfStorage" => Kind::Half,
        "BFloat16Storage" => Kind::BFloat16,
        "DoubleStorage" => Kind::Double,
        "LongStorage" => Kind::Int64,
        "IntStorage" => Kind::Int,
        "ShortStorage" => Kind::Int16,
        "CharStorage" => Kind::Int8,
        "ByteStorage" => Kind::Uint8,
        "BoolStorage" => Kind::Bool,
        _ => return None,
    })
}

#[cfg(test)]
#[path = "torch_file_tests.rs"]
mod tests;
