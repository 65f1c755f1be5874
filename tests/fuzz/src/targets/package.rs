//! Plugins as one file.

use anneal::plugin::unpack;

use super::tar::with_sums;
use crate::files::{folder, said};

/// As `anneal plugin add` unpacks a file. An input that begins with zstd's magic is one as it is; any other is the tar in it.
pub(super) fn package(data: &[u8]) {
    let folder = folder();
    if data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        said(unpack(data, folder.path()));
        return;
    }
    let packed = zstd::encode_all(&*with_sums(data), 1).unwrap_or_default();
    said(unpack(&*packed, folder.path()));
}
