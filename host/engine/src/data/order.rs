//! Which sample stands in which slot of a run.

use anneal_torch::random::Stream;

/// The order samples are visited in: a pure function of the seed and the slot.
///
/// A slot is one place of one batch, counted through the whole run. Where all samples are alike, slot `s` of `n` samples
/// is in epoch `s / n`. Where they are in buckets, a batch takes its samples from one of them: an epoch has as many batches
/// as it takes to visit every sample, in an order of its own, and the last batch of a bucket is filled up with the first
/// samples of the bucket's order.
#[derive(Debug)]
pub(super) struct Order {
    seed: u64,
    batch_size: u64,
    shuffle: bool,
    /// Indices of the samples of each bucket; no bucket is empty.
    buckets: Vec<Vec<usize>>,
    /// The last epoch asked for, so that neighbouring slots do not draw it again.
    epoch: Option<(u64, Epoch)>,
}

/// The orders of one epoch.
#[derive(Debug)]
struct Epoch {
    /// Indices of the samples of each bucket, in order.
    samples: Vec<Vec<usize>>,
    /// Bucket of each batch, and the first of its samples in the bucket's order. Empty where there is one bucket.
    batches: Vec<(usize, usize)>,
}

impl Order {
    /// The order of `num_samples` samples, shuffled in each epoch or as they are. `buckets` has the bucket of each, where
    /// they are in several.
    pub(super) fn new(
        seed: u64,
        num_samples: usize,
        buckets: Option<&[u32]>,
        batch_size: usize,
        shuffle: bool,
    ) -> Self {
        let mut of_buckets: Vec<Vec<usize>> = Vec::new();
        for index in 0..num_samples {
            let bucket = buckets.map_or(0, |buckets| buckets[index] as usize);
            if of_buckets.len() <= bucket {
                of_buckets.resize(bucket + 1, Vec::new());
            }
            of_buckets[bucket].push(index);
        }
        of_buckets.retain(|bucket| !bucket.is_empty());
        Self { seed, batch_size: batch_size.max(1) as u64, shuffle, buckets: of_buckets, epoch: None }
    }

    /// Leaves all samples out but those of the first bucket, so that any number of them makes a batch.
    pub(super) fn keep_first_bucket(&mut self) {
        self.buckets.truncate(1);
        self.epoch = None;
    }

    /// Index of the sample `ahead` places after slot `slot`, staying within the slot's epoch and bucket; and how many
    /// samples there are to stay within.
    pub(super) fn at(&mut self, slot: u64, ahead: usize) -> (usize, usize) {
        if let [only] = &self.buckets[..] {
            let n = only.len();
            let (epoch, place) = (slot / n as u64, ((slot % n as u64) as usize + ahead) % n);
            return (self.epoch(epoch).samples[0][place], n);
        }
        let per_epoch: u64 = self.buckets.iter().map(|bucket| (bucket.len() as u64).div_ceil(self.batch_size)).sum();
        let (batch, place) = (slot / self.batch_size, (slot % self.batch_size) as usize);
        let epoch = self.epoch(batch / per_epoch);
        let (bucket, first) = epoch.batches[(batch % per_epoch) as usize];
        let samples = &epoch.samples[bucket];
        (samples[(first + place + ahead) % samples.len()], samples.len())
    }

    fn epoch(&mut self, epoch: u64) -> &Epoch {
        let known = self.epoch.take().filter(|(known, _)| *known == epoch);
        let drawn = known.map_or_else(|| self.draw(epoch), |(_, drawn)| drawn);
        &self.epoch.insert((epoch, drawn)).1
    }

    fn draw(&self, epoch: u64) -> Epoch {
        let shuffled = |purpose: &str, bucket: usize, count: usize| {
            Stream::new(self.seed, purpose, epoch, bucket as u64).permutation(count)
        };
        if !self.shuffle && self.buckets.len() == 1 {
            return Epoch { samples: self.buckets.clone(), batches: Vec::new() };
        }
        let samples = self.buckets.iter().enumerate().map(|(bucket, samples)| match self.shuffle {
            true => shuffled("order", bucket, samples.len()).into_iter().map(|place| samples[place]).collect(),
            false => samples.clone(),
        });
        let samples: Vec<Vec<usize>> = samples.collect();
        if samples.len() == 1 {
            return Epoch { samples, batches: Vec::new() };
        }
        let size = self.batch_size as usize;
        let batches = samples.iter().enumerate();
        let batches =
            batches.flat_map(|(bucket, samples)| (0..samples.len()).step_by(size).map(move |first| (bucket, first)));
        let mut batches: Vec<(usize, usize)> = batches.collect();
        if self.shuffle {
            batches = shuffled("order/batches", 0, batches.len()).into_iter().map(|place| batches[place]).collect();
        }
        Epoch { samples, batches }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_epoch_visits_every_sample_once_in_an_order_of_its_own() {
        let mut order = Order::new(3, 10, None, 4, true);
        let epoch = |order: &mut Order, e: u64| -> Vec<usize> { (0..10).map(|i| order.at(10 * e + i, 0).0).collect() };
        let (first, second) = (epoch(&mut order, 0), epoch(&mut order, 1));
        assert_ne!(first, second);
        assert_eq!(first, epoch(&mut Order::new(3, 10, None, 4, true), 0), "a fresh order is the same");
        for mut visited in [first, second] {
            visited.sort_unstable();
            assert_eq!(visited, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn unshuffled_samples_come_as_they_are_and_ahead_wraps_within_the_epoch() {
        let mut order = Order::new(3, 4, None, 3, false);
        assert_eq!((0..6).map(|slot| order.at(slot, 0).0).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1]);
        assert_eq!(order.at(3, 2), (1, 4));
    }

    /// Samples 0, 3, 6 and 9 are in one bucket, 1, 4 and 7 in another, 2, 5 and 8 in a third.
    const BUCKETS: [u32; 10] = [5, 1, 0, 5, 1, 0, 5, 1, 0, 5];

    #[test]
    fn a_batch_is_of_one_bucket_and_an_epoch_has_every_sample() {
        let mut order = Order::new(3, 10, Some(&BUCKETS), 2, true);
        let mut epochs = BTreeSet::new();
        for epoch in 0..5 {
            let batches: Vec<[usize; 2]> =
                (0..6).map(|batch| [0, 1].map(|place| order.at(2 * (6 * epoch + batch) + place, 0).0)).collect();
            assert!(batches.iter().all(|[a, b]| BUCKETS[*a] == BUCKETS[*b] && a != b), "{batches:?}");
            let seen: BTreeSet<usize> = batches.iter().flatten().copied().collect();
            assert_eq!(seen.len(), 10, "nothing is left out: {batches:?}");
            epochs.insert(batches);
        }
        assert_eq!(epochs.len(), 5, "each epoch has its order");
        let (_, reach) = order.at(0, 0);
        let within: BTreeSet<usize> = (0..reach).map(|ahead| order.at(0, ahead).0).collect();
        assert_eq!(within.len(), reach, "ahead stays in the bucket and comes to each of its samples");
        assert_eq!(within.iter().map(|&index| BUCKETS[index]).collect::<BTreeSet<_>>().len(), 1);
    }

    #[test]
    fn unshuffled_buckets_follow_each_other() {
        let mut order = Order::new(3, 10, Some(&BUCKETS), 2, false);
        let slots: Vec<usize> = (0..12).map(|slot| order.at(slot, 0).0).collect();
        assert_eq!(slots, [2, 5, 8, 2, 1, 4, 7, 1, 0, 3, 6, 9]);
        order.keep_first_bucket();
        assert_eq!((0..4).map(|slot| order.at(slot, 0).0).collect::<Vec<_>>(), [2, 5, 8, 2]);
    }
}
