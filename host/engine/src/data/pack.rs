//! Any source as tar shards, which the `webdataset` source reads back.

use std::fs;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use anneal_torch::random::Stream;
use image::{ImageFormat, RgbImage};
use thiserror::Error;

use super::threads::side_by_side;
use super::{Entry, Sample, SampleError, Source, Values, npy};
use crate::config::BadSample;

/// Why a source was not packed.
#[derive(Debug, Error)]
pub enum PackError {
    /// The folder holds something already.
    #[error("{}: is not empty; name a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// A file or folder cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A sample cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// The shards, in order.
    pub shards: Vec<PathBuf>,
    /// Samples in them.
    pub num_samples: usize,
    /// Samples that could not be read and were left out.
    pub num_bad: usize,
}

/// Writes one epoch of `source` to `folder`, `shard_size` samples a shard, as `shard-000000.tar` and so on.
///
/// Sample `i` is drawn as a run of this seed draws the sample in its slot `i` when it does not shuffle. Pictures of 8
/// bits become PNG files, all other arrays `.npy`; nothing is rounded, so samples read back are equal. A shard appears
/// under its name when it is whole.
///
/// # Errors
/// When the folder is not empty or cannot be written, or a sample cannot be read and `on_bad` is `fail`.
pub fn pack(
    source: &dyn Source,
    seed: u64,
    on_bad: BadSample,
    folder: &Path,
    shard_size: usize,
    mut progress: impl FnMut(usize),
) -> Result<Packed, PackError> {
    let failed = |source| PackError::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    if fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(PackError::NotEmpty(folder.to_owned()));
    }
    let total = source.num_samples();
    let mut packed = Packed { shards: Vec::new(), num_samples: 0, num_bad: 0 };
    for first in (0..total).step_by(shard_size.max(1)) {
        let path = folder.join(format!("shard-{:06}.tar", packed.shards.len()));
        let failed = |source| PackError::Write { path: path.clone(), source };
        let mut tar = tar::Builder::new(tempfile::NamedTempFile::new_in(folder).map_err(failed)?);
        let before = packed.num_samples;
        let last = (first + shard_size.max(1)).min(total);
        let batch = std::thread::available_parallelism().map_or(1, usize::from);
        for start in (first..last).step_by(batch) {
            let indices: Vec<usize> = (start..(start + batch).min(last)).collect();
            let read = |index: &usize| source.sample(*index, &mut Stream::new(seed, "augment", *index as u64, 0));
            for (index, sample) in indices.iter().zip(side_by_side(&indices, read)) {
                match sample {
                    Ok(sample) => {
                        append(&mut tar, &format!("{index:08}"), &sample).map_err(failed)?;
                        packed.num_samples += 1;
                    }
                    Err(error) if on_bad == BadSample::Skip => {
                        tracing::warn!("{error}; it is left out");
                        packed.num_bad += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
                progress(index + 1);
            }
        }
        // A shard of bad samples only would be no readable dataset.
        if packed.num_samples > before {
            finish(tar, &path).map_err(failed)?;
            packed.shards.push(path);
        }
    }
    Ok(packed)
}

fn finish(tar: tar::Builder<tempfile::NamedTempFile>, path: &Path) -> io::Result<()> {
    let mut file = tar.into_inner()?;
    file.flush()?;
    file.as_file().sync_all()?;
    let file = file.persist(path)?;
    // Temporary files are the owner's alone; a dataset is to be shared like any file.
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// Appends the members of a sample.
fn append(tar: &mut tar::Builder<impl Write>, key: &str, sample: &Sample) -> io::Result<()> {
    let mut member = |ending: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{key}.{ending}"), bytes)
    };
    for (name, entry) in &sample.tensors {
        match pictures(entry) {
            Some(pictures) if pictures.len() == 1 => member(&format!("{name}.png"), &png(&pictures[0])?)?,
            Some(pictures) => {
                for (row, picture) in pictures.iter().enumerate() {
                    member(&format!("{name}.{row:04}.png"), &png(picture)?)?;
                }
            }
            None => member(&format!("{name}.npy"), &npy::write(entry)?)?,
        }
    }
    for (name, text) in &sample.texts {
        member(&format!("{name}.txt"), text.as_bytes())?;
    }
    if !sample.integers.is_empty() {
        member("integers.json", serde_json::to_string(&sample.integers)?.as_bytes())?;
    }
    Ok(())
}

fn png(picture: &RgbImage) -> io::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(io::Error::other)?;
    Ok(bytes.into_inner())
}

/// The entry's rows as pictures, if each of its numbers is exactly one of a picture of 8 bits.
fn pictures(entry: &Entry) -> Option<Vec<RgbImage>> {
    let (Values::F32(values), [_, 3, rows, columns]) = (&entry.values, &entry.shape[..]) else { return None };
    let (rows, columns) = (*rows as usize, *columns as usize);
    let bytes = values
        .iter()
        .map(|&value| {
            let level = ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
            (f32::from(level) / 127.5 - 1.0 == value).then_some(level)
        })
        .collect::<Option<Vec<u8>>>()?;
    let pictures = bytes.chunks(3 * rows * columns).map(|planes| {
        RgbImage::from_fn(columns as u32, rows as u32, |x, y| {
            let at = |channel: usize| planes[(channel * rows + y as usize) * columns + x as usize];
            image::Rgb([at(0), at(1), at(2)])
        })
    });
    Some(pictures.collect())
}

#[cfg(test)]
mod tests {
    use super::super::Webdataset;
    use super::*;
    use crate::config::WebdatasetConfig;

    /// Samples with everything a sample may have; some cannot be read.
    struct Everything {
        bad: Vec<usize>,
    }

    impl Source for Everything {
        fn kind(&self) -> &'static str {
            "everything"
        }

        fn num_samples(&self) -> usize {
            5
        }

        fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
            if self.bad.contains(&index) {
                return Err(SampleError::Unusable { place: format!("sample {index}"), reason: "is bad".to_owned() });
            }
            let levels = |count: usize| (0..count).map(|i| ((i * 37 + index) % 256) as f32 / 127.5 - 1.0).collect();
            let mut sample = Sample::default();
            sample.put_frames(Entry::f32(&[2, 3, 4, 5], levels(120)));
            sample.put("cond_image", Entry::f32(&[1, 3, 4, 5], levels(60)));
            sample.put("rendered", Entry::f32(&[2, 3, 1, 1], (0..6).map(|_| draw.uniform() as f32).collect()));
            sample.put("polar_rad", Entry::f32(&[2], vec![draw.normal() as f32, 0.1]));
            sample.put("class", Entry::class(index));
            sample.integers.insert("num_views".to_owned(), 2);
            sample.texts.insert("caption".to_owned(), format!("sample {index}\nof ä"));
            Ok(sample)
        }
    }

    fn webdataset(folder: &Path) -> Webdataset {
        let config: WebdatasetConfig =
            toml::from_str(&format!("shards = [{:?}]", folder.join("shard-{000000..000002}.tar"))).unwrap();
        Webdataset::open(&config, BadSample::Fail).unwrap()
    }

    #[test]
    fn what_is_packed_is_read_back_equal() {
        let root = tempfile::tempdir().unwrap();
        let (source, folder) = (Everything { bad: vec![] }, root.path().join("packed"));
        let mut seen = Vec::new();
        let packed = pack(&source, 3, BadSample::Fail, &folder, 2, |done| seen.push(done)).unwrap();
        assert_eq!((packed.shards.len(), packed.num_samples, packed.num_bad), (3, 5, 0));
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        let read = webdataset(&folder);
        assert_eq!(read.num_samples(), 5);
        for index in 0..5 {
            let expected = source.sample(index, &mut Stream::new(3, "augment", index as u64, 0)).unwrap();
            let got = read.sample(index, &mut Stream::new(99, "augment", 7, 0)).unwrap();
            assert_eq!(got, expected, "sample {index}");
        }
        let names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names.len(), 3, "nothing half done is left: {names:?}");
        let again = pack(&source, 3, BadSample::Fail, &folder, 2, |_| ()).unwrap_err().to_string();
        assert!(again.ends_with("packed: is not empty; name a new folder"), "{again}");
    }

    #[test]
    fn bad_samples_end_it_or_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let source = Everything { bad: vec![1, 2, 3] };
        let failed = pack(&source, 3, BadSample::Fail, &root.path().join("a"), 2, |_| ()).unwrap_err();
        assert_eq!(failed.to_string(), "sample 1: is bad");
        let packed = pack(&source, 3, BadSample::Skip, &root.path().join("b"), 2, |_| ()).unwrap();
        assert_eq!((packed.shards.len(), packed.num_samples, packed.num_bad), (2, 2, 3));
    }
}
