//! A target's committed inputs.

use std::io;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The inputs of a target, in the order of their names.
#[derive(Debug)]
pub struct Corpus {
    /// Name and bytes of each.
    pub inputs: Vec<(String, Vec<u8>)>,
}

impl Corpus {
    /// The folder of a target's inputs in this checkout.
    pub fn folder(target: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
    }

    /// Reads the files of a folder.
    ///
    /// # Errors
    /// When the folder or one of them cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let inputs = paths.iter().map(|path| Ok((name(path), fs::read(path)?)));
        Ok(Self { inputs: inputs.collect::<io::Result<_>>()? })
    }
}
