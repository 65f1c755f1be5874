//! Shards of samples.

use anneal::config::BadSample;
use anneal::data::{Source, Webdataset};
use anneal_torch::random::Stream;

use crate::files::{folder, said, write};

/// Samples that are read of one shard.
const SAMPLES_MAX: usize = 4;

/// As the source `webdataset` indexes a shard and reads its samples, whole and in clips.
pub(super) fn tar(data: &[u8]) {
    let folder = folder();
    write(folder.path(), "shard.tar", &with_sums(data));
    let shards = folder.path().join("shard.tar");
    for rest in
        ["size = [8, 8]\nresize = true", "size = [8, 8]\nresize = true\nclip = { num_frames = 2, lengths = [3] }", ""]
    {
        let config = format!("shards = [{shards:?}]\n{rest}\n{}", "ffmpeg = { program = \"no-ffmpeg\" }");
        let config = toml::from_str(&config).unwrap_or_else(|error| panic!("{error}"));
        let Some(source) = said(Webdataset::open(&config, BadSample::Skip)) else { return };
        for sample in 0..source.num_samples().min(SAMPLES_MAX) {
            said(source.sample(sample, &mut Stream::new(0, "augment", 1, 0)));
        }
    }
}

/// The same bytes with the sums of headers mended where a header is expected: what mutations change is read, not refused.
pub(super) fn with_sums(data: &[u8]) -> Vec<u8> {
    let mut fixed = data.to_vec();
    let mut at = 0;
    while let Some(block) = fixed.get_mut(at..at + 512) {
        // Two blocks of nothing are the end.
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
        let size = block[124..136].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = size.fold(0_usize, |size, digit| (size << 3) | usize::from(digit - b'0'));
        at = at.saturating_add(512 + size.div_ceil(512) * 512);
    }
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_headers_are_mended() {
        let mut header = tar::Header::new_ustar();
        header.set_path("a.txt").unwrap();
        header.set_size(5);
        header.set_cksum();
        let whole = [header.as_bytes(), &[b'x'; 512][..], header.as_bytes(), &[b'y'; 512][..], &[0; 1024][..]].concat();
        let mut damaged = whole.clone();
        damaged[148..156].fill(0);
        damaged[1024 + 150] = b'9';
        assert!(with_sums(&damaged) == whole);
    }
}
