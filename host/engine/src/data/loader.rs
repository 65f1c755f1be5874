//! From samples to batches: worker threads, bounded prefetch, and an order that depends on neither.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use tch::Device;

use super::held::Held;
use super::reader::{BadSamples, Loaded, Reader, Share};
use super::{Batch, DataError, Source};
use crate::config::DataConfig;

/// Sample ids of previews start here, out of reach of any run.
const PREVIEW_IDS: u64 = 1 << 48;

/// Time without a batch after which it is told what the workers are reading; and again after as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether a batch is still wanted.
const TICK: Duration = Duration::from_millis(200);

/// Time that workers have after what they do is not wanted any more.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Makes the batches of a run, from any batch on.
///
/// Batch `k` holds the slots `k * batch_size ..`; a slot's number is the sample's id, its place in the epoch's
/// permutation says which sample it is, and its random stream is keyed by the id. So a batch is a pure function of
/// the seed and `k`, whatever the number of workers. An epoch's last batch runs on into the next epoch.
pub struct Loader {
    supply: Supply,
    device: Device,
    next: u64,
    bad: BadSamples,
    stopped: bool,
    /// Whether a worker did not bring its batch when the run was asked to stop.
    gave_up: bool,
    /// Reads what is asked for again.
    spare: Reader,
}

/// Where the loader gets its batches from.
enum Supply {
    /// Read when asked for, on the asking thread.
    Inline(Reader),
    /// Read ahead by workers.
    Workers {
        /// Numbers of batches to read; `None` tells the workers to end.
        tickets: Option<Sender<u64>>,
        /// Batches as they are done, in any order.
        done: Receiver<(u64, Loaded)>,
        /// Batches that are done before their turn.
        early: BTreeMap<u64, Loaded>,
        /// The next number to hand out.
        next_ticket: u64,
        threads: Vec<JoinHandle<()>>,
        /// What each of them is reading.
        held: Vec<Held>,
        source: Arc<dyn Source>,
        patience: Duration,
    },
}

impl Loader {
    /// Starts reading at batch `first_batch`, counted from the start of the run; batches come on `device`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(
        source: Arc<dyn Source>,
        config: &DataConfig,
        seed: u64,
        device: Device,
        first_batch: u64,
    ) -> Result<Self, DataError> {
        Self::of_share(source, config, seed, device, first_batch, Share::ALL)
    }

    /// As [`Loader::new`], for one process of several: `first_batch` counts this process's own batches.
    ///
    /// At most `config.prefetch_batches` batches are read or held ahead, so more workers than that are idle.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn of_share(
        source: Arc<dyn Source>,
        config: &DataConfig,
        seed: u64,
        device: Device,
        first_batch: u64,
        share: Share,
    ) -> Result<Self, DataError> {
        let bad = BadSamples::new(config);
        let reader = || Reader::new(Arc::clone(&source), config, seed, share);
        let supply = if config.workers == 0 {
            Supply::Inline(reader())
        } else {
            let ahead = config.prefetch_batches.max(1);
            let (tickets, numbers) = bounded(ahead);
            let (results, done) = unbounded();
            let (mut threads, mut held) = (Vec::new(), Vec::new());
            for worker in 0..config.workers {
                let (numbers, results, reader) = (numbers.clone(), results.clone(), reader());
                held.push(reader.held.clone());
                let name = format!("data-{worker}");
                let thread = std::thread::Builder::new().name(name).spawn(move || work(reader, &numbers, &results));
                threads.push(thread.map_err(DataError::Thread)?);
            }
            let next_ticket = first_batch + ahead as u64;
            for number in first_batch..next_ticket {
                // The channel holds as many tickets as are handed out here, so this never waits.
                tickets.send(number).map_err(|_| DataError::Stopped)?;
            }
            let (tickets, early, patience) = (Some(tickets), BTreeMap::new(), PATIENCE);
            let source = Arc::clone(&source);
            Supply::Workers { tickets, done, early, next_ticket, threads, held, source, patience }
        };
        Ok(Self { supply, device, next: first_batch, bad, stopped: false, gave_up: false, spare: reader() })
    }

    /// Tells what the workers read after this time without a batch.
    #[cfg(test)]
    pub(super) fn set_patience(&mut self, time: Duration) {
        if let Supply::Workers { patience, .. } = &mut self.supply {
            *patience = time;
        }
    }

    /// A batch by its number in the run, read again.
    ///
    /// # Errors
    /// When one of its samples cannot be read any more.
    pub fn read_again(&mut self, number: u64) -> Result<Batch, DataError> {
        Ok(self.spare.batch(number).batch?.to_device(self.device))
    }

    /// The next batch, when it is ready.
    ///
    /// # Errors
    /// When a sample cannot be read and the policy is `fail`, or more than `bad_samples_max` different ones cannot.
    /// There are no batches after an error.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        self.next_batch_unless(&mut || false)
    }

    /// As [`Loader::next_batch`], but where `stop` says so, a batch that its workers do not bring is given up after a few
    /// seconds.
    ///
    /// # Errors
    /// As there, and [`DataError::Interrupted`].
    pub fn next_batch_unless(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<Batch, DataError> {
        if self.stopped {
            return Err(DataError::Stopped);
        }
        let taken = self.supply.take(self.next, stop);
        self.stopped = taken.is_err();
        self.gave_up = matches!(taken, Err(DataError::Interrupted));
        let loaded = taken?;
        self.next += 1;
        let batch = self.bad.judge(loaded);
        self.stopped = batch.is_err();
        Ok(batch?.to_device(self.device))
    }
}

impl Supply {
    /// Batch `number`, and a ticket for the one that may be read in its place. Where it takes long, the log says what the
    /// workers are reading; where `stop` says so, it is given up.
    fn take(&mut self, number: u64, stop: &mut dyn FnMut() -> bool) -> Result<Loaded, DataError> {
        let (mut told, mut unwanted) = (Instant::now(), None);
        loop {
            match self {
                Supply::Inline(reader) => return Ok(reader.batch(number)),
                Supply::Workers { tickets, done, early, next_ticket, patience, .. } => {
                    if let Some(loaded) = early.remove(&number) {
                        let tickets = tickets.as_ref().ok_or(DataError::Stopped)?;
                        tickets.send(*next_ticket).map_err(|_| DataError::Stopped)?;
                        *next_ticket += 1;
                        return Ok(loaded);
                    }
                    match done.recv_timeout(TICK.min(*patience)) {
                        Ok((ready, loaded)) => {
                            early.insert(ready, loaded);
                            continue;
                        }
                        Err(RecvTimeoutError::Timeout) if told.elapsed() < *patience => {}
                        Err(RecvTimeoutError::Timeout) => {
                            self.tell_stalled()?;
                            told = Instant::now();
                        }
                        Err(RecvTimeoutError::Disconnected) => return Err(DataError::Stopped),
                    }
                }
            }
            if stop() && unwanted.get_or_insert_with(Instant::now).elapsed() >= LAST_WAIT {
                self.tell_stalled()?;
                return Err(DataError::Interrupted);
            }
        }
    }

    /// Says in the log what each worker has been reading, and for how long.
    ///
    /// # Errors
    /// When one of them has died, so that its batch will not come.
    fn tell_stalled(&self) -> Result<(), DataError> {
        let Supply::Workers { threads, held, source, .. } = self else { return Ok(()) };
        for (worker, (thread, held)) in threads.iter().zip(held).enumerate() {
            let reading = held.now().map(|(index, time)| (source.name(index), time.as_secs()));
            if thread.is_finished() {
                return Err(DataError::WorkerDied { worker, reading: reading.map(|(name, _)| name) });
            }
            if let Some((name, seconds)) = reading {
                tracing::warn!("waiting for data: worker {worker} has been reading {name} for {seconds} s");
            }
        }
        Ok(())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Supply::Workers { tickets, done, threads, .. } = &mut self.supply {
            // Tickets still in the channel are thrown away, so a worker ends after the batch it is at.
            drop(std::mem::replace(done, crossbeam_channel::never()));
            drop(tickets.take());
            // One that hangs in its source is left to the end of the process.
            for thread in threads.drain(..).filter(|thread| !self.gave_up || thread.is_finished()) {
                if thread.join().is_err() {
                    tracing::error!("a loader thread panicked outside of its source");
                }
            }
        }
    }
}

fn work(mut reader: Reader, numbers: &Receiver<u64>, results: &Sender<(u64, Loaded)>) {
    while let Ok(number) = numbers.recv() {
        if results.send((number, reader.batch(number))).is_err() {
            return;
        }
    }
}

/// A fixed batch to look at through a run: the same whatever was trained before.
///
/// Its samples are a selection of the source's, and their ids are none that a run uses.
///
/// # Errors
/// As [`Loader::next_batch`].
pub fn preview_batch(
    source: Arc<dyn Source>,
    config: &DataConfig,
    seed: u64,
    num_scenes: usize,
) -> Result<Batch, DataError> {
    let config = DataConfig { shuffle: true, ..config.clone() };
    let mut reader = Reader::new(source, &config, seed, Share::ALL);
    // Samples of several buckets would not fit into one batch.
    reader.order.keep_first_bucket();
    let loaded = reader.slots(PREVIEW_IDS, num_scenes);
    BadSamples::new(&config).judge(loaded)
}

/// Scenes of `source` that training never sees as they are, a batch each, read one by one: the same ones for the same seed,
/// and all of one size. An item is an error where a sample cannot be read.
pub fn single_scenes(
    source: Arc<dyn Source>,
    config: &DataConfig,
    seed: u64,
    num_scenes: usize,
) -> impl Iterator<Item = Result<Batch, DataError>> + use<> {
    let config = DataConfig { shuffle: true, ..config.clone() };
    let mut reader = Reader::new(source, &config, seed, Share::ALL);
    reader.order.keep_first_bucket();
    let mut bad = BadSamples::new(&config);
    (0..num_scenes as u64).map(move |i| bad.judge(reader.slots(PREVIEW_IDS + i, 1)))
}
