//! Files in the safetensors format.

use super::weights;

/// An input that begins like JSON is a header, up to the first NUL, and then values: its length is put before it. Any other
/// is a file as it is.
pub(super) fn safetensors(data: &[u8]) {
    if !data.starts_with(b"{") {
        return weights::read(data);
    }
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let values = data.get(end + 1..).unwrap_or_default();
    weights::read(&[&(end as u64).to_le_bytes(), &data[..end], values].concat());
}
