//! One batch after the other, read by their numbers on the thread that asks.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anneal_torch::random::Stream;

use super::held::Held;
use super::order::Order;
use super::sample::collate;
use super::{Batch, DataError, Sample, SampleError, Source};
use crate::config::{BadSample, DataConfig};

/// Which batches a process of several takes.
///
/// The batches of a run are dealt out one after another, so no sample is lost or doubled, and together the processes see
/// what one would see alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The process, `0..num_ranks`.
    pub rank: u64,
    /// How many processes there are; at least 1.
    pub num_ranks: u64,
}

impl Share {
    /// All batches.
    pub const ALL: Share = Share { rank: 0, num_ranks: 1 };

    /// The number in the run of batch `number` of this process.
    fn in_run(self, number: u64) -> u64 {
        number * self.num_ranks + self.rank
    }
}

/// A batch, or why there is none, and the samples that could not be read on the way.
pub(super) struct Loaded {
    pub(super) batch: Result<Batch, DataError>,
    /// Index and error of each, in the order they were met.
    bad: Vec<(usize, SampleError)>,
}

/// Reads batches by number.
pub(super) struct Reader {
    source: Arc<dyn Source>,
    share: Share,
    pub(super) order: Order,
    seed: u64,
    batch_size: usize,
    policy: BadSample,
    bad_samples_max: usize,
    /// What is being read.
    pub(super) held: Held,
}

impl Reader {
    pub(super) fn new(source: Arc<dyn Source>, config: &DataConfig, seed: u64, share: Share) -> Self {
        Self {
            order: Order::new(seed, source.num_samples(), source.buckets(), config.batch_size, config.shuffle),
            source,
            share,
            seed,
            batch_size: config.batch_size,
            policy: config.on_bad_sample,
            bad_samples_max: config.bad_samples_max,
            held: Held::default(),
        }
    }

    pub(super) fn batch(&mut self, number: u64) -> Loaded {
        self.slots(self.share.in_run(number) * self.batch_size as u64, self.batch_size)
    }

    /// The batch of the slots `first..first + count`.
    pub(super) fn slots(&mut self, first: u64, count: usize) -> Loaded {
        let ids: Vec<u64> = (first..first + count as u64).collect();
        let mut bad = Vec::new();
        let samples: Result<Vec<Sample>, DataError> = ids.iter().map(|&slot| self.slot(slot, &mut bad)).collect();
        Loaded { batch: samples.and_then(|samples| collate(&samples, ids)), bad }
    }

    /// The sample of a slot: its own, or with `skip` the next in the epoch's order that can be read.
    fn slot(&mut self, slot: u64, bad: &mut Vec<(usize, SampleError)>) -> Result<Sample, DataError> {
        let mut tried = 0;
        loop {
            let (index, num_samples) = self.order.at(slot, tried);
            let error = match self.read(index, slot) {
                Ok(sample) => return Ok(sample),
                Err(error) => error,
            };
            tried += 1;
            if self.policy == BadSample::Fail {
                return Err(error.into());
            }
            if tried == num_samples {
                return Err(DataError::AllBad { num_samples, last: error });
            }
            if tried > self.bad_samples_max {
                return Err(DataError::TooManyBad { max: self.bad_samples_max, last: error });
            }
            bad.push((index, error));
        }
    }

    fn read(&self, index: usize, slot: u64) -> Result<Sample, SampleError> {
        let mut draw = Stream::new(self.seed, "augment", slot, 0);
        let _holding = self.held.hold(index);
        // A source changes nothing in itself, so a panic leaves nothing half done behind.
        let sample = catch_unwind(AssertUnwindSafe(|| self.source.sample(index, &mut draw)));
        sample.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(SampleError::Panicked { origin: self.source.kind().to_owned(), index, message })
        })
    }
}

/// The samples a run could not read. They are counted where batches are taken, in the batches' order, so that a
/// run stops at the same batch whatever the workers do.
pub(super) struct BadSamples {
    max: usize,
    seen: BTreeSet<usize>,
}

impl BadSamples {
    pub(super) fn new(config: &DataConfig) -> Self {
        Self { max: config.bad_samples_max, seen: BTreeSet::new() }
    }

    pub(super) fn judge(&mut self, loaded: Loaded) -> Result<Batch, DataError> {
        for (index, error) in loaded.bad {
            if !self.seen.insert(index) {
                continue;
            }
            if self.seen.len() > self.max {
                return Err(DataError::TooManyBad { max: self.max, last: error });
            }
            tracing::warn!("{error}; the next sample takes its place");
        }
        loaded.batch
    }
}
