//! SHA-256 sums as they are written.

use sha2::{Digest, Sha256};

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// `work` over all `items` on several threads, each of which has a like share of the bytes; results in any order.
///
/// SHA-256 takes a core about half a second a gigabyte, and a checkpoint can have tens of them.
pub(crate) fn in_shares<T: Send, R: Send>(
    items: Vec<T>,
    bytes: impl Fn(&T) -> u64,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Vec<R> {
    // The others are left to training.
    let threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 8));
    let mut shares: Vec<(u64, Vec<T>)> = (0..threads).map(|_| (0, Vec::new())).collect();
    let mut items: Vec<(u64, T)> = items.into_iter().map(|item| (bytes(&item), item)).collect();
    items.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (bytes, item) in items {
        if let Some((sum, share)) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum += bytes;
            share.push(item);
        }
    }
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = shares.into_iter().map(|(_, share)| scope.spawn(move || work(share))).collect();
        let joined = running.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_share() {
        for count in [0, 1, 5, 100] {
            let shares = in_shares((0..count).collect(), |item| item * item, |share| share);
            let mut all: Vec<u64> = shares.into_iter().flatten().collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
