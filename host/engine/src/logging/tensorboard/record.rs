//! Records with sums (TFRecord), which event files consist of.
//!
//! A record is the length of its content (u64), that length's sum (u32), the content, and the content's sum (u32), all
//! little-endian. A sum is a CRC-32C, turned and shifted so that sums of what holds sums are good ones.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use prost::Message;

use super::Event;

const LENGTH: usize = 8;
const SUM: usize = 4;

/// The masked CRC-32C of some bytes.
pub(super) fn sum_of(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The record of an event.
pub(super) fn record(event: &Event) -> Vec<u8> {
    let content = event.encode_to_vec();
    let length = (content.len() as u64).to_le_bytes();
    let sums = [&length[..], &content].map(|bytes| sum_of(bytes).to_le_bytes());
    [&length[..], &sums[0], &content, &sums[1]].concat()
}

/// The events of a file, one after the other, up to where one is not whole.
#[derive(Debug)]
pub(super) struct Events {
    file: BufReader<File>,
    /// Bytes of the file when it was opened.
    length: u64,
    /// Where the last event ends.
    end: u64,
}

impl Events {
    /// The events of the file at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::new(file), length, end: 0 })
    }

    /// Where the last event ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of the file when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next event; none at the end of the file, and where a record is cut off or is not what its sums say.
    pub fn next(&mut self) -> io::Result<Option<Event>> {
        let Some(length) = self.part(LENGTH as u64)? else { return Ok(None) };
        let length = <[u8; LENGTH]>::try_from(length).map_or(0, u64::from_le_bytes);
        let Some(content) = self.part(length)? else { return Ok(None) };
        let Ok(event) = Event::decode(content.as_slice()) else { return Ok(None) };
        self.end += (LENGTH + SUM + SUM) as u64 + length;
        Ok(Some(event))
    }

    /// `length` bytes that have the sum behind them; none where they do not.
    fn part(&mut self, length: u64) -> io::Result<Option<Vec<u8>>> {
        // What is not there is not given memory.
        if length > self.length.saturating_sub(self.end) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.file.by_ref().take(length + SUM as u64).read_to_end(&mut bytes)?;
        let Some((content, sum)) =
            bytes.split_last_chunk::<SUM>().filter(|(content, _)| content.len() as u64 == length)
        else {
            return Ok(None);
        };
        let is_whole = u32::from_le_bytes(*sum) == sum_of(content);
        bytes.truncate(length as usize);
        Ok(is_whole.then_some(bytes))
    }
}
