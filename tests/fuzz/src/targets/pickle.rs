//! Files of `torch.save`, new and old.

use std::io::{Cursor, Write};

use zip::write::FileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::weights;

/// The number of the old format and of its version, and a system of little-endian numbers.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00X\x0d\x00\x00\x00little_endianq\x01\x88s.";

/// An input is a file as it is; after a `Z` a pickle, which is put into a zip beside a storage of 64 bytes; after an `L` what
/// follows the old format's head.
pub(super) fn pickle(data: &[u8]) {
    match data.split_first() {
        Some((b'Z', pickle)) => weights::read(&zipped(pickle).unwrap_or_default()),
        Some((b'L', rest)) => weights::read(&[LEGACY, rest].concat()),
        _ => weights::read(data),
    }
}

fn zipped(pickle: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = FileOptions::default().compression_method(CompressionMethod::Stored);
    let values: Vec<u8> = (0..64).collect();
    for (name, bytes) in [("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &values)] {
        zip.start_file(name, stored)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}
