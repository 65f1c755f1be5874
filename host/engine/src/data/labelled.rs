//! The `idx` and `cifar10` sources: sets of small labelled images that are held in memory.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anneal_torch::random::Stream;
use flate2::read::MultiGzDecoder;

use super::{DataError, Entry, Sample, SampleError, Source};
use crate::config::{Cifar10Config, IdxConfig};
use crate::digest::sha256;

/// Largest file that is read, unpacked: what says more is no set of small images.
const BYTES_MAX: u64 = 4 << 30;

/// Channels, rows and columns of CIFAR's images.
const CIFAR: [usize; 3] = [3, 32, 32];

/// Small images of one size, with a class each.
///
/// A sample has `image` `[1, c, h, w]` in `[-1, 1]`, and `class` `[1]` i64 where the set has labels.
pub struct Labelled {
    kind: &'static str,
    /// Channels, rows and columns.
    size: [usize; 3],
    /// Images in `[n, c, h, w]`, 0 to 255.
    pixels: Vec<u8>,
    labels: Option<Vec<u8>>,
}

impl Labelled {
    /// Rows and columns of CIFAR's images.
    pub(super) const CIFAR_SIZE: [u32; 2] = [CIFAR[1] as u32, CIFAR[2] as u32];

    /// Rows and columns of an image.
    pub(super) fn size(&self) -> [u32; 2] {
        [self.size[1] as u32, self.size[2] as u32]
    }

    /// Reads images, and labels where they are given, in MNIST's format.
    ///
    /// # Errors
    /// When a file cannot be read, is not of that format, is cut off, or the two are not as many.
    pub fn idx(config: &IdxConfig) -> Result<Self, DataError> {
        let (shape, pixels) = read_idx(&config.images)?;
        let [_, rows, columns] = shape[..] else {
            let reason = format!("holds an array of {} axes, not images of rows and columns", shape.len());
            return Err(wrong(&config.images, &reason));
        };
        if pixels.is_empty() {
            let wanted = "images of at least one pixel".to_owned();
            return Err(DataError::Empty { path: config.images.clone(), wanted });
        }
        let labels = config.labels.as_ref().map(|path| match read_idx(path)? {
            (of_labels, labels) if of_labels.len() == 1 && of_labels[0] == shape[0] => Ok(labels),
            (of_labels, _) => Err(wrong(path, &format!("holds {of_labels:?} labels for {} images", shape[0]))),
        });
        Ok(Self { kind: "idx", size: [1, rows, columns], pixels, labels: labels.transpose()? })
    }

    /// Reads the binary files of CIFAR-10.
    ///
    /// # Errors
    /// When a file cannot be read, or is not made of its records.
    pub fn cifar10(config: &Cifar10Config) -> Result<Self, DataError> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        let per_image = CIFAR.iter().product::<usize>();
        for path in &config.files {
            let bytes = read(path)?;
            if bytes.is_empty() || bytes.len() % (per_image + 1) != 0 {
                let reason = format!("its {} bytes are no records of {} bytes", bytes.len(), per_image + 1);
                return Err(wrong(path, &reason));
            }
            for record in bytes.chunks_exact(per_image + 1) {
                if record[0] > 9 {
                    return Err(wrong(path, &format!("has the label {}, but CIFAR-10 has ten classes", record[0])));
                }
                labels.push(record[0]);
                pixels.extend_from_slice(&record[1..]);
            }
        }
        Ok(Self { kind: "cifar10", size: CIFAR, pixels, labels: Some(labels) })
    }
}

impl Source for Labelled {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn contents(&self) -> Vec<(String, u64)> {
        // Files of one format are all of one size.
        let parts = [Some(&self.pixels), self.labels.as_ref()].into_iter().flatten();
        parts.map(|bytes| (sha256(bytes), bytes.len() as u64)).collect()
    }

    fn num_samples(&self) -> usize {
        self.pixels.len() / self.size.iter().product::<usize>()
    }

    fn sample(&self, index: usize, _draw: &mut Stream) -> Result<Sample, SampleError> {
        let per_image = self.size.iter().product::<usize>();
        let image = &self.pixels[index * per_image..][..per_image];
        let [c, h, w] = self.size.map(|length| length as i64);
        let mut sample = Sample { frames: 1, ..Sample::default() };
        let values = image.iter().map(|&value| f32::from(value) / 127.5 - 1.0).collect();
        sample.put("image", Entry::f32(&[1, c, h, w], values));
        if let Some(labels) = &self.labels {
            sample.put("class", Entry::class(labels[index].into()));
        }
        Ok(sample)
    }
}

fn wrong(path: &Path, reason: &str) -> DataError {
    DataError::Sample(SampleError::Unusable { place: path.display().to_string(), reason: reason.to_owned() })
}

/// The bytes of a file, unpacked if it is compressed by gzip.
fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let mut start = [0; 2];
    let file = File::open(path).map_err(failed)?;
    let packed = BufReader::new(&file).read(&mut start).map_err(failed)? == 2 && start == [0x1f, 0x8b];
    let file = File::open(path).map_err(failed)?;
    let mut reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    reader.by_ref().take(BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 == BYTES_MAX {
        return Err(wrong(path, "holds more than 4 GiB"));
    }
    Ok(bytes)
}

/// Shape and values of an IDX file of bytes: two zeros, the type 8, the number of axes, their lengths as big-endian
/// 32-bit numbers, and the values (LeCun, The MNIST database).
fn read_idx(path: &Path) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let mut bytes = read(path)?;
    let [0, 0, kind, axes, ..] = bytes[..] else { return Err(wrong(path, "is no IDX file: it starts otherwise")) };
    if kind != 8 {
        return Err(wrong(path, &format!("holds values of type {kind:#04x}; images and labels are bytes, 0x08")));
    }
    let head = 4 + 4 * usize::from(axes);
    let lengths = bytes.get(4..head).ok_or_else(|| wrong(path, "ends within its head"))?;
    let lengths =
        lengths.chunks_exact(4).map(|length| u32::from_be_bytes([length[0], length[1], length[2], length[3]]));
    let shape: Vec<usize> = lengths.map(|length| length as usize).collect();
    let wanted = shape.iter().try_fold(1usize, |all, &length| all.checked_mul(length));
    let got = bytes.len() - head;
    if wanted != Some(got) {
        return Err(wrong(path, &format!("says it holds {shape:?} bytes, but {got} follow; it is damaged or cut off")));
    }
    Ok((shape, bytes.split_off(head)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::data::Values;

    fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
        let lengths = shape.iter().flat_map(|length| length.to_be_bytes());
        [0, 0, 8, shape.len() as u8].into_iter().chain(lengths).chain(values.iter().copied()).collect()
    }

    /// Two images of 2x3 pixels with labels, the images compressed.
    fn folder() -> (tempfile::TempDir, IdxConfig) {
        let folder = tempfile::tempdir().unwrap();
        let [images, labels] = ["images.gz", "labels"].map(|name| folder.path().join(name));
        let mut packed = GzEncoder::new(File::create(&images).unwrap(), Compression::default());
        packed.write_all(&idx(&[2, 2, 3], &[0, 51, 102, 153, 204, 255, 1, 2, 3, 4, 5, 6])).unwrap();
        packed.finish().unwrap();
        std::fs::write(&labels, idx(&[2], &[7, 3])).unwrap();
        (folder, IdxConfig { images, labels: Some(labels) })
    }

    fn draw() -> Stream {
        Stream::new(0, "augment", 0, 0)
    }

    #[test]
    fn images_and_labels_are_read_compressed_or_not() {
        let (_folder, config) = folder();
        let source = Labelled::idx(&config).unwrap();
        assert_eq!(source.num_samples(), 2);
        let sample = source.sample(0, &mut draw()).unwrap();
        assert_eq!(sample.tensors["class"], Entry::class(7));
        let image = &sample.tensors["image"];
        assert_eq!(image.shape, [1, 1, 2, 3]);
        let Values::F32(values) = &image.values else { panic!("images are floats") };
        for (value, wanted) in values.iter().zip([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0]) {
            assert!((value - wanted).abs() < 1e-6, "{values:?}");
        }
        let without = Labelled::idx(&IdxConfig { labels: None, ..config }).unwrap();
        assert!(!without.sample(1, &mut draw()).unwrap().tensors.contains_key("class"));
    }

    #[test]
    fn damaged_idx_files_are_told() {
        let (folder, config) = folder();
        let path = folder.path().join("other");
        let complaint = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Labelled::idx(&IdxConfig { images: path.clone(), labels: None }).err().unwrap().to_string()
        };
        assert!(complaint(b"PNG").contains("is no IDX file"));
        assert!(complaint(&[0, 0, 13, 1, 0, 0, 0, 0]).contains("values of type 0x0d"));
        assert!(complaint(&[0, 0, 8, 3, 0, 0]).contains("ends within its head"));
        assert!(complaint(&idx(&[2, 2, 3], &[0; 11])).contains("says it holds [2, 2, 3] bytes, but 11 follow"));
        assert!(complaint(&idx(&[u32::MAX; 3], &[0; 12])).contains("damaged or cut off"));
        assert!(complaint(&idx(&[12], &[0; 12])).contains("an array of 1 axes"));
        assert!(complaint(&idx(&[0, 2, 3], &[])).contains("at least one pixel"));
        std::fs::write(&path, idx(&[3], &[1, 2, 3])).unwrap();
        let error = Labelled::idx(&IdxConfig { labels: Some(path), ..config }).err().unwrap().to_string();
        assert!(error.contains("holds [3] labels for 2 images"), "{error}");
    }

    #[test]
    fn cifars_records_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data_batch_1.bin");
        let config = Cifar10Config { files: vec![path.clone(), path.clone()] };
        let record = |label: u8| [vec![label], vec![255; 1024], vec![0; 2048]].concat();
        std::fs::write(&path, [record(3), record(9)].concat()).unwrap();
        let source = Labelled::cifar10(&config).unwrap();
        assert_eq!(source.num_samples(), 4);
        let sample = source.sample(3, &mut draw()).unwrap();
        assert_eq!(
            (&sample.tensors["class"], &sample.tensors["image"].shape[..]),
            (&Entry::class(9), &[1, 3, 32, 32][..])
        );
        let Values::F32(values) = &sample.tensors["image"].values else { panic!("images are floats") };
        assert_eq!((values[0], values[1023], values[1024]), (1.0, 1.0, -1.0));
        std::fs::write(&path, record(10)).unwrap();
        assert!(Labelled::cifar10(&config).err().unwrap().to_string().contains("has the label 10"));
        std::fs::write(&path, [0; 99]).unwrap();
        assert!(Labelled::cifar10(&config).err().unwrap().to_string().contains("no records of 3073 bytes"));
    }
}
