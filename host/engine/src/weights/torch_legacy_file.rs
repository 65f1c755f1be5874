//! The files of `torch.save` before PyTorch 1.6: pickles, then one storage after another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use super::contents::Contents;
use super::state_dict::StateDict;
use super::torch_file::{PICKLE_MAX, Record, entry, kind};
use super::{WeightsError, pickle, state_dict};

/// How a file begins: the pickle of the format's number.
pub(super) const MAGIC: [u8; 4] = [0x80, 2, 0x8a, 10];

/// What a file holds.
pub(super) fn contents(path: &Path, file: &mut File) -> Result<Contents, WeightsError> {
    let bad = |reason: String| WeightsError::format(path, reason);
    let io = WeightsError::io(path);
    let size = file.metadata().map_err(&io)?.len();
    let mut head = Vec::new();
    Read::by_ref(file).take(PICKLE_MAX).read_to_end(&mut head).map_err(&io)?;
    let (found, storages, start) = pickles(&head).map_err(&bad)?;
    let mut records = HashMap::new();
    let mut at = start as u64;
    for storage in storages {
        let wrong = |reason: &str| bad(format!("its storage `{storage}` {reason}"));
        let class = found.storages.get(&storage).ok_or_else(|| wrong("is nowhere described"))?;
        let kind = kind(class).ok_or_else(|| wrong(&format!("is of {class}, which is not read")))?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(at)).map_err(&io)?;
        file.read_exact(&mut count).map_err(&io)?;
        let bytes = u64::from_le_bytes(count).checked_mul(kind.elt_size_in_bytes() as u64);
        let end = bytes.and_then(|bytes| (at + 8).checked_add(bytes)).filter(|end| *end <= size);
        let (Some(bytes), Some(end)) = (bytes, end) else {
            return Err(wrong("ends behind the file"));
        };
        records.insert(storage, Record { start: at + 8, bytes });
        at = end;
    }
    let entries = found.tensors.into_iter().map(|(name, tensor)| {
        entry(&name, &tensor, records.get(&tensor.storage)).map_err(|reason| bad(format!("`{name}` {reason}")))
    });
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    if entries.is_empty() {
        return Err(bad("its pickle holds no dict of tensors".to_owned()));
    }
    Ok(Contents { entries, metadata: found.facts })
}

/// The model's pickle, the names of storages in the file's order, and where the first of them begins.
fn pickles(head: &[u8]) -> Result<(StateDict, Vec<Rc<str>>, usize), String> {
    // The format's number and its version come first.
    let mut at = pickle::read(head)?.length;
    at += pickle::read(&head[at..])?.length;
    let system = state_dict::read(&head[at..])?;
    if system.facts.get("little_endian").is_none_or(|little| little != "true") {
        return Err("its numbers are big-endian".to_owned());
    }
    at += system.length;
    let found = state_dict::read(&head[at..])?;
    at += found.length;
    let (storages, length) = state_dict::texts(&head[at..])?;
    Ok((found, storages, at + length))
}
