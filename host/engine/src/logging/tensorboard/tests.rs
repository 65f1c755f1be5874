//! Event files: their bytes, what a crash leaves of them, and that no step stands in them twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::message::{FILE_VERSION, START};
use super::record::{record, sum_of};
use super::*;
use crate::logging::{LogError, ValidationRecord};

/// What TensorBoard's own writer makes of the events below; golden.py says how.
const GOLDEN: &[u8] = include_bytes!("tests/golden.tfevents");

fn number(tag: &str, number: f32) -> SummaryValue {
    SummaryValue { tag: tag.to_owned(), value: Some(Value::SimpleValue(number)) }
}

fn golden_events() -> Vec<Event> {
    let event = |wall_time: f64, step: i64, what: What| Event { wall_time, step, what: Some(what) };
    let summary = |value: Vec<SummaryValue>| What::Summary(Summary { value });
    let image = Image { height: 2, width: 3, colorspace: 3, encoded_image_string: (0..200).collect() };
    let picture = SummaryValue { tag: "preview/sheet".to_owned(), value: Some(Value::Image(image)) };
    vec![
        event(1_700_000_000.25, 0, What::FileVersion(FILE_VERSION.to_owned())),
        event(1_700_000_000.5, 1, What::SessionLog(SessionLog { status: START })),
        event(1_700_000_001.5, 300, summary(vec![number("train/loss", 0.1), number("train/samples_seen", 600.0)])),
        event(1_700_000_002.75, 300, summary(vec![picture])),
    ]
}

/// The steps of what was logged, with the values' names.
fn logged(dir: &Path) -> Vec<(i64, String)> {
    let mut logged = Vec::new();
    for event in EventFiles::read(dir).unwrap() {
        if let Some(What::Summary(summary)) = event.what {
            logged.extend(summary.value.into_iter().map(|value| (event.step, value.tag)));
        }
    }
    logged
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The only file of a folder in which steps 1 to `steps` were logged.
fn written(dir: &Path, steps: u64) -> PathBuf {
    let mut events = EventFiles::new(dir.to_owned());
    events.rewind(0).unwrap();
    for step in 1..=steps {
        events.append(step, vec![number("loss", step as f32)]).unwrap();
    }
    let [file] = &files(dir)[..] else { panic!("{:?}", files(dir)) };
    file.clone()
}

fn steps(dir: &Path) -> Vec<i64> {
    logged(dir).into_iter().map(|(step, _)| step).collect()
}

#[test]
fn sums_are_masked_crc_32c() {
    // RFC 3720, B.4: 32 zeros, 32 ones, and the bytes from 0 to 31.
    for (bytes, crc) in
        [([0; 32], 0x8a91_36aa_u32), ([0xff; 32], 0x62a8_ab43), (std::array::from_fn(|i| i as u8), 0x46dd_794e)]
    {
        assert_eq!(crc32c::crc32c(&bytes), crc);
        let unmasked = sum_of(&bytes).wrapping_sub(0xa282_ead8);
        assert_eq!(unmasked.rotate_left(15), crc);
    }
    assert_eq!(sum_of(&24u64.to_le_bytes()), 0x224b_7fa3, "of the length of every file's first record");
}

#[test]
fn files_are_those_that_tensorboard_writes() {
    let bytes: Vec<u8> = golden_events().iter().flat_map(record).collect();
    assert!(bytes == GOLDEN, "{bytes:x?}");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.out.tfevents.1700000000.golden"), GOLDEN).unwrap();
    assert_eq!(EventFiles::read(dir.path()).unwrap(), golden_events());
}

#[test]
fn a_file_says_what_it_is_and_where_its_session_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = EventFiles::new(dir.path().join("run/tensorboard"));
    events.rewind(4).unwrap();
    assert!(!dir.path().join("run").exists(), "nothing is made before there is something to write");
    events.append(5, vec![number("loss", 0.5)]).unwrap();
    let events = EventFiles::read(&dir.path().join("run/tensorboard")).unwrap();
    let whats: Vec<(i64, Option<What>)> = events.into_iter().map(|event| (event.step, event.what)).collect();
    assert_eq!(
        whats,
        [
            (0, Some(What::FileVersion("brain.Event:2".to_owned()))),
            (5, Some(What::SessionLog(SessionLog { status: START }))),
            (5, Some(What::Summary(Summary { value: vec![number("loss", 0.5)] }))),
        ]
    );
}

#[test]
fn a_run_that_goes_on_has_no_step_twice_and_never_writes_to_an_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let first = written(dir.path(), 5);
    let mut events = EventFiles::new(dir.path().to_owned());
    events.rewind(3).unwrap();
    assert_eq!(steps(dir.path()), [1, 2, 3]);
    let cut = fs::read(&first).unwrap();
    events.append(4, vec![number("loss", 4.0)]).unwrap();
    events.append(5, vec![number("loss", 5.0)]).unwrap();
    assert_eq!(steps(dir.path()), [1, 2, 3, 4, 5]);
    // Back over the beginning of a file, within the same run.
    events.rewind(2).unwrap();
    events.append(3, vec![number("loss", 3.0)]).unwrap();
    assert_eq!(steps(dir.path()), [1, 2, 3]);
    assert_eq!(fs::read(&first).unwrap(), cut[..fs::read(&first).unwrap().len()]);
    let names = files(dir.path());
    assert_eq!((names.len(), &names[0]), (3, &first), "names grow, even within a second");
}

#[test]
fn names_grow_though_the_clock_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let later = dir.path().join("events.out.tfevents.9999999998.anneal");
    fs::rename(written(dir.path(), 2), &later).unwrap();
    let mut events = EventFiles::new(dir.path().to_owned());
    events.rewind(2).unwrap();
    events.append(3, vec![number("loss", 3.0)]).unwrap();
    assert_eq!(files(dir.path()), [later, dir.path().join("events.out.tfevents.9999999999.anneal")]);
    assert_eq!(steps(dir.path()), [1, 2, 3]);
}

#[test]
fn a_record_that_is_torn_anywhere_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), 3);
    let whole = fs::read(&file).unwrap();
    let mut events = EventFiles::new(dir.path().to_owned());
    events.rewind(2).unwrap();
    let two = fs::read(&file).unwrap();
    assert!(two.len() < whole.len() && whole.starts_with(&two));
    for length in two.len()..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(steps(dir.path()), [1, 2], "{length} bytes are read");
        events.rewind(9).unwrap();
        assert_eq!(fs::read(&file).unwrap(), two, "{length} bytes");
    }
    fs::write(&file, &whole).unwrap();
    events.rewind(9).unwrap();
    assert_eq!(fs::read(&file).unwrap(), whole, "what is whole stays");
}

#[test]
fn what_follows_damage_is_dropped_as_every_reader_does() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), 3);
    let whole = fs::read(&file).unwrap();
    EventFiles::new(dir.path().to_owned()).rewind(1).unwrap();
    let one = fs::read(&file).unwrap();
    for at in one.len()..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&file, damaged).unwrap();
        EventFiles::new(dir.path().to_owned()).rewind(9).unwrap();
        let kept = fs::read(&file).unwrap();
        assert!(kept.len() < whole.len() && whole.starts_with(&kept), "byte {at}");
        assert!(kept.len() >= one.len() && steps(dir.path()).len() < 3, "byte {at}");
    }
    // A length without end costs no memory, and holes are no records.
    for tail in [record_of_length(u64::MAX), record_of_length(u64::MAX - 3), vec![0; 5000]] {
        fs::write(&file, [&one[..], &tail].concat()).unwrap();
        EventFiles::new(dir.path().to_owned()).rewind(9).unwrap();
        assert_eq!(fs::read(&file).unwrap(), one);
    }
}

/// The beginning of a record that says how long it is.
fn record_of_length(length: u64) -> Vec<u8> {
    let length = length.to_le_bytes();
    [&length[..], &sum_of(&length).to_le_bytes(), &[1; 40]].concat()
}

#[test]
fn every_number_of_a_line_but_its_step_is_a_value() {
    let scores = BTreeMap::from([("loss_at_0.3".to_owned(), 0.25), ("psnr".to_owned(), 1e300)]);
    let record = ValidationRecord { step: 7, scores, seconds: 2.5 };
    let wanted = [
        number("validation/loss_at_0.3", 0.25),
        number("validation/psnr", f32::INFINITY),
        number("validation/seconds", 2.5),
    ];
    let mut values = scalars("validation", &record).unwrap();
    values.sort_by(|one, other| one.tag.cmp(&other.tag));
    assert_eq!(values, wanted);
}

#[test]
fn pictures_have_their_size_and_their_own_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["sheet.png", "clip.gif"] {
        let path = dir.path().join(name);
        image::RgbImage::new(5, 3).save(&path).unwrap();
        let SummaryValue { tag, value: Some(Value::Image(image)) } = picture("preview", &path).unwrap() else {
            panic!("{name} is no picture");
        };
        assert_eq!(tag, format!("preview/{}", &name[..name.len() - 4]));
        assert_eq!((image.width, image.height, image.colorspace), (5, 3, 3));
        assert!(image.encoded_image_string == fs::read(&path).unwrap());
    }
    let broken = dir.path().join("broken.png");
    fs::write(&broken, b"no picture").unwrap();
    let error = picture("preview", &broken).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: ", broken.display())), "{error}");
}

#[test]
fn a_full_disk_is_an_error_with_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let mut events = EventFiles::new(dir.path().to_owned());
    events.write_to(full);
    let error = events.append(2, vec![number("loss", 1.0)]).unwrap_err();
    assert!(matches!(&error, LogError::Write { path, .. } if path == full), "{error}");
    assert!(error.to_string().starts_with("/dev/full: cannot be written: "), "{error}");
    // A folder that cannot be made.
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = EventFiles::new(file.join("tensorboard")).append(1, Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with(&file.display().to_string()), "{error}");
}
