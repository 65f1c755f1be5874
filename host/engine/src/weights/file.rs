//! A weights file, opened: what it holds is known, and tensors are read one at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tch::Tensor;

use super::contents::Entry;
use super::{WeightsError, safetensors_file, torch_file, torch_legacy_file};

/// An open weights file.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
    metadata: BTreeMap<String, String>,
}

/// How many times its length a file's tensors may be: they may share values, of which each gets its own.
const SHARED_MAX: u64 = 16;

impl WeightsFile {
    /// Opens a file and reads what it holds, but no values.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or is of no known format.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = WeightsError::io(path);
        let mut file = File::open(path).map_err(&io)?;
        let mut magic = Vec::with_capacity(4);
        Read::by_ref(&mut file).take(4).read_to_end(&mut magic).map_err(&io)?;
        file.seek(SeekFrom::Start(0)).map_err(&io)?;
        let contents = match magic[..] {
            [b'P', b'K', 3, 4] => torch_file::contents(path, &mut file)?,
            _ if magic == torch_legacy_file::MAGIC => torch_legacy_file::contents(path, &mut file)?,
            _ => safetensors_file::contents(path, &mut file)?,
        };
        let size = file.metadata().map_err(&io)?.len();
        let bytes = contents.entries.iter().map(Entry::bytes).fold(0, u64::saturating_add);
        if bytes / SHARED_MAX > size {
            let reason =
                format!("its tensors would have {bytes} bytes, more than {SHARED_MAX} times those of the file");
            return Err(WeightsError::format(path, reason));
        }
        Ok(Self { path: path.to_owned(), file, entries: contents.entries, metadata: contents.metadata })
    }

    /// What it holds, in the file's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What it says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The values of the entry at `index`, on the CPU.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tensor(&mut self, index: usize) -> Result<Tensor, WeightsError> {
        let entry = &self.entries[index];
        // Opening has compared the span with the file's size, so this much is there.
        let mut bytes = vec![0; entry.span() as usize * entry.kind.elt_size_in_bytes()];
        let io = WeightsError::io(&self.path);
        self.file.seek(SeekFrom::Start(entry.start)).map_err(&io)?;
        self.file.read_exact(&mut bytes).map_err(&io)?;
        let tensor = match &entry.strides {
            None => Tensor::f_from_data_size(&bytes, &entry.shape, entry.kind),
            Some(strides) => Tensor::f_from_data_size(&bytes, &[entry.span() as i64], entry.kind)
                .and_then(|flat| flat.f_as_strided(&entry.shape, strides, 0))
                .and_then(|view| view.f_contiguous()),
        };
        tensor.map_err(|error| WeightsError::format(&self.path, format!("{}: {error}", entry.name)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::FileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    #[test]
    fn tensors_share_values_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pt");
        let storage =
            b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x00\x30NJ\0\x10\0\0tQK\0(J\0\x10\0\0t(K\x01tt";
        let tensor = [b"ctorch._utils\n_rebuild_tensor_v2\n".as_slice(), storage, b"Rq\x010"].concat();
        let write = |count: u8| {
            let items: Vec<u8> = (0..count).flat_map(|i| [b'K', i, b'h', 1]).collect();
            let pickle = [b"\x80\x02", &tensor[..], b"}(", &items[..], b"u."].concat();
            let mut zip = ZipWriter::new(File::create(&path).unwrap());
            for (name, bytes) in [("a/data.pkl", &pickle[..]), ("a/data/0", &[0; 4 * 4096])] {
                zip.start_file(name, FileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
                zip.write_all(bytes).unwrap();
            }
            zip.finish().unwrap();
            WeightsFile::open(&path).map(|file| file.entries().len()).map_err(|error| error.to_string())
        };
        assert_eq!(write(3), Ok(3));
        assert!(write(200).unwrap_err().contains("more than 16 times those of the file"));
    }
}
