//! What a weights file holds, whatever its format.

use std::collections::BTreeMap;

use tch::Kind;

/// What a format finds in a file.
pub(super) struct Contents {
    pub entries: Vec<Entry>,
    pub metadata: BTreeMap<String, String>,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its first byte.
    pub(super) start: u64,
    /// Values from one position of an axis to the next; none where values lie side by side.
    pub(super) strides: Option<Vec<i64>>,
}

impl Entry {
    /// Number of values.
    pub fn numel(&self) -> u64 {
        self.shape.iter().map(|&size| size as u64).product()
    }

    /// Bytes of its values.
    pub fn bytes(&self) -> u64 {
        self.numel() * self.kind.elt_size_in_bytes() as u64
    }

    /// Where its bytes are in the file, where values lie side by side.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.start..self.start + self.bytes()
    }

    /// Values from the first to the last, gaps included.
    pub(super) fn span(&self) -> u64 {
        match &self.strides {
            _ if self.numel() == 0 => 0,
            None => self.numel(),
            Some(strides) => {
                1 + self
                    .shape
                    .iter()
                    .zip(strides)
                    .map(|(&size, &stride)| (size as u64 - 1) * stride as u64)
                    .sum::<u64>()
            }
        }
    }
}
