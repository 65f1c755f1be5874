//! The loader from the outside: one order whatever the workers, resumption, bad samples.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anneal_torch::random::Stream;
use image::{Rgb, RgbImage};
use tch::Device;

use super::*;
use crate::config::{BadSample, FramesDirConfig};

/// Samples that tell their index and one draw; some cannot be read, one panics.
struct Numbers {
    count: usize,
    bad: BTreeSet<usize>,
    panics: Option<usize>,
}

impl Numbers {
    fn good(count: usize) -> Arc<dyn Source> {
        Arc::new(Self { count, bad: BTreeSet::new(), panics: None })
    }

    fn with_bad(count: usize, bad: &[usize]) -> Arc<dyn Source> {
        Arc::new(Self { count, bad: bad.iter().copied().collect(), panics: None })
    }
}

impl Source for Numbers {
    fn kind(&self) -> &'static str {
        "numbers"
    }

    fn num_samples(&self) -> usize {
        self.count
    }

    fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        assert_ne!(Some(index), self.panics, "an unlucky number");
        if self.bad.contains(&index) {
            let path = format!("{index}.png").into();
            return Err(SampleError::Read { path, source: std::io::Error::other("lost") });
        }
        // Uneven work, so that workers overtake each other.
        std::thread::sleep(std::time::Duration::from_micros(draw.bits() % 500));
        let mut sample = Sample::default();
        sample.put("index", Entry::class(index));
        sample.put("draw", Entry::f32(&[1], vec![draw.uniform() as f32]));
        Ok(sample)
    }
}

fn config(batch_size: usize, workers: usize, prefetch_batches: usize) -> DataConfig {
    let emoji = "kind = \"emoji\"\nsize = 8\nclasses = [{ name = \"cats\", words = [\"cat\"] }]";
    let config = format!(
        "batch_size = {batch_size}\nworkers = {workers}\nprefetch_batches = {prefetch_batches}\n[source]\n{emoji}"
    );
    toml::from_str(&config).unwrap()
}

fn loader(source: &Arc<dyn Source>, config: &DataConfig, first_batch: u64) -> Loader {
    Loader::new(Arc::clone(source), config, 11, Device::Cpu, first_batch).unwrap()
}

/// Indices, draws and ids of a batch.
type Seen = (Vec<i64>, Vec<f32>, Vec<u64>);

fn look(batch: &Batch) -> Seen {
    let indices = Vec::<i64>::try_from(&batch.tensors["index"]).unwrap();
    let draws = Vec::<f32>::try_from(&batch.tensors["draw"]).unwrap();
    (indices, draws, batch.sample_ids.clone())
}

fn batches(loader: &mut Loader, count: usize) -> Vec<Seen> {
    (0..count).map(|_| look(&loader.next_batch().unwrap())).collect()
}

#[test]
fn batches_do_not_depend_on_workers_or_prefetch() {
    let source = Numbers::good(10);
    let expected = batches(&mut loader(&source, &config(3, 0, 1), 0), 12);
    for (workers, prefetch) in [(1, 1), (1, 4), (4, 1), (4, 3), (4, 9)] {
        let got = batches(&mut loader(&source, &config(3, workers, prefetch), 0), 12);
        assert_eq!(got, expected, "{workers} workers, {prefetch} batches ahead");
    }
}

#[test]
fn batches_run_on_from_epoch_to_epoch_and_ids_are_unique() {
    let source = Numbers::good(10);
    let seen = batches(&mut loader(&source, &config(3, 2, 4), 0), 10);
    assert!(seen.iter().all(|(indices, ..)| indices.len() == 3), "no batch is short");
    let indices: Vec<i64> = seen.iter().flat_map(|(indices, ..)| indices.clone()).collect();
    for epoch in indices.chunks(10) {
        assert_eq!(epoch.iter().collect::<BTreeSet<_>>().len(), 10, "each epoch visits all: {epoch:?}");
    }
    assert_ne!(indices[..10], indices[10..20]);
    let ids: Vec<u64> = seen.iter().flat_map(|(_, _, ids)| ids.clone()).collect();
    assert_eq!(ids, (0..30).collect::<Vec<u64>>());
    let draws: BTreeSet<u32> = seen.iter().flat_map(|(_, draws, _)| draws.iter().map(|draw| draw.to_bits())).collect();
    assert_eq!(draws.len(), 30, "a sample is drawn anew each time it is visited");
}

#[test]
fn a_resumed_loader_goes_on_where_the_run_stood() {
    let source = Numbers::good(10);
    let all = batches(&mut loader(&source, &config(3, 0, 1), 0), 9);
    assert_eq!(batches(&mut loader(&source, &config(3, 2, 4), 5), 4), all[5..]);
}

#[test]
fn processes_share_the_batches_of_one_without_loss_or_double() {
    let source = Numbers::good(10);
    let all = batches(&mut loader(&source, &config(3, 0, 1), 0), 12);
    for rank in 0..3 {
        let share = Share { rank, num_ranks: 3 };
        let share = |first| Loader::of_share(Arc::clone(&source), &config(3, 2, 3), 11, Device::Cpu, first, share);
        let own: Vec<Seen> = all.iter().skip(rank as usize).step_by(3).cloned().collect();
        assert_eq!(batches(&mut share(0).unwrap(), 4), own);
        assert_eq!(batches(&mut share(2).unwrap(), 2), own[2..], "a resumed one goes on");
    }
}

#[test]
fn unshuffled_batches_come_in_the_source_order() {
    let config = DataConfig { shuffle: false, ..config(4, 1, 2) };
    let seen = batches(&mut loader(&Numbers::good(6), &config, 0), 3);
    let indices: Vec<Vec<i64>> = seen.into_iter().map(|(indices, ..)| indices).collect();
    assert_eq!(indices, [[0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5]]);
}

#[test]
fn a_bad_sample_is_replaced_by_the_next_in_order_whatever_the_workers() {
    let good = batches(&mut loader(&Numbers::good(10), &config(5, 0, 1), 0), 2);
    let order: Vec<i64> = good.iter().flat_map(|(indices, ..)| indices.clone()).collect();
    let bad = [order[2] as usize, order[3] as usize, order[9] as usize];
    let mut expected = order.clone();
    (expected[2], expected[3], expected[9]) = (order[4], order[4], order[0]);

    let source = Numbers::with_bad(10, &bad);
    for workers in [0, 1, 4] {
        let config = DataConfig { on_bad_sample: BadSample::Skip, ..config(5, workers, 3) };
        let seen = batches(&mut loader(&source, &config, 0), 2);
        let indices: Vec<i64> = seen.iter().flat_map(|(indices, ..)| indices.clone()).collect();
        assert_eq!(indices, expected);
        assert_eq!(seen[0].1[..2], good[0].1[..2], "draws of the others stay the same");
        assert_eq!(seen[0].2, good[0].2, "a slot keeps its id");
    }
}

#[test]
fn too_many_different_bad_samples_stop_the_run_at_the_same_batch() {
    let source = Numbers::with_bad(8, &[1, 3, 5]);
    for workers in [0, 3] {
        let mut config = DataConfig { on_bad_sample: BadSample::Skip, shuffle: false, ..config(2, workers, 4) };
        config.bad_samples_max = 2;
        let mut loader = loader(&source, &config, 0);
        assert_eq!(batches(&mut loader, 2).len(), 2);
        let error = loader.next_batch().unwrap_err();
        assert!(matches!(error, DataError::TooManyBad { max: 2, .. }), "{error}");
        assert!(error.to_string().contains("5.png: cannot be read: lost"), "{error}");
        assert!(matches!(loader.next_batch(), Err(DataError::Stopped)));

        // The same bad samples met again in later epochs do not count again.
        config.bad_samples_max = 3;
        assert_eq!(batches(&mut self::loader(&source, &config, 0), 20).len(), 20);
    }
}

#[test]
fn nothing_but_bad_samples_is_an_error_and_not_a_loop() {
    let source = Numbers::with_bad(3, &[0, 1, 2]);
    let config = DataConfig { on_bad_sample: BadSample::Skip, ..config(1, 1, 1) };
    let error = loader(&source, &config, 0).next_batch().unwrap_err();
    assert!(matches!(error, DataError::AllBad { num_samples: 3, .. }), "{error}");
}

#[test]
fn a_panic_of_the_source_names_the_sample() {
    for workers in [0, 2] {
        let source: Arc<dyn Source> = Arc::new(Numbers { count: 4, bad: BTreeSet::new(), panics: Some(2) });
        let mut loader = loader(&source, &DataConfig { shuffle: false, ..config(2, workers, 2) }, 0);
        loader.next_batch().unwrap();
        let error = loader.next_batch().unwrap_err().to_string();
        assert!(
            error.starts_with("sample 2 of numbers: the source panicked: ") && error.contains("unlucky"),
            "{error}"
        );
    }
}

#[test]
fn dropping_a_loader_ends_its_threads() {
    let source = Numbers::good(10);
    let mut loader = loader(&source, &config(3, 3, 8), 0);
    loader.next_batch().unwrap();
    drop(loader);
    assert_eq!(Arc::strong_count(&source), 1, "no thread holds the source any more");
}

#[test]
fn previews_are_fixed_and_use_no_id_of_a_run() {
    let source = Numbers::good(10);
    let preview = |seed, shuffle| {
        let config = DataConfig { shuffle, ..config(3, 1, 1) };
        look(&preview_batch(Arc::clone(&source), &config, seed, 4).unwrap())
    };
    let first = preview(11, true);
    assert_eq!(first, preview(11, true));
    assert_eq!(first, preview(11, false));
    assert_ne!(first, preview(12, true));
    assert_eq!(first.0.len(), 4);
    assert!(first.2.iter().all(|&id| id >= 1 << 48));
}

/// Two clips of two grey frames each; frame 1 of clip `b` is cut off in the middle.
fn write_clips(root: &Path) {
    for (clip, grey) in [("a", 50), ("b", 100), ("c", 150)] {
        fs::create_dir_all(root.join(clip)).unwrap();
        for n in 0..2 {
            let frame = RgbImage::from_fn(8, 8, |x, y| Rgb([grey, (x * 31) as u8, (y * 29 + n) as u8]));
            frame.save(root.join(clip).join(format!("{n}.png"))).unwrap();
        }
    }
    let damaged = root.join("b/1.png");
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_damaged_file_is_fatal_or_skipped_as_the_config_says() {
    let root = tempfile::tempdir().unwrap();
    write_clips(root.path());
    let frames =
        FramesDirConfig { path: root.path().into(), size: [8, 8], num_frames: 2, stride: 1, resize: false, fps: 6.0 };
    let mut config =
        DataConfig { source: crate::config::SourceConfig::FramesDir(frames), shuffle: false, ..config(1, 1, 2) };

    let mut fatal = loader(&open(&config).unwrap(), &config, 0);
    assert_eq!(fatal.next_batch().unwrap().texts["clip"], ["a"]);
    let error = fatal.next_batch().unwrap_err().to_string();
    assert!(error.contains("b/1.png: not a readable image"), "{error}");

    config.on_bad_sample = BadSample::Skip;
    let mut skipping = loader(&open(&config).unwrap(), &config, 0);
    let clips: Vec<String> = (0..6).map(|_| skipping.next_batch().unwrap().texts["clip"][0].clone()).collect();
    assert_eq!(clips, ["a", "c", "c", "a", "c", "c"]);
}

#[test]
fn a_worker_that_takes_long_is_told_with_what_it_reads() {
    use super::held::Held;
    let held = Held::default();
    assert_eq!(held.now(), None);
    {
        let _holding = held.hold(7);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let (index, time) = held.now().unwrap();
        assert!(index == 7 && time.as_millis() >= 20);
    }
    assert_eq!(held.now(), None);
    // What is slow is waited for; nothing of the order changes.
    let source = Numbers::good(40);
    let mut patient = loader(&source, &config(4, 3, 6), 0);
    let mut impatient = loader(&source, &config(4, 3, 6), 0);
    impatient.set_patience(std::time::Duration::from_micros(1));
    for _ in 0..12 {
        assert_eq!(look(&patient.next_batch().unwrap()), look(&impatient.next_batch().unwrap()));
    }
}
