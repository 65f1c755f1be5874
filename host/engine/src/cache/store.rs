//! The store: a folder of files, each named by the hash of what its tensors were computed from.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};
use thiserror::Error;

/// Why an entry could not be written.
#[derive(Debug, Error)]
#[error("{}: cannot be written: {reason}", path.display())]
pub struct CacheError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why not.
    pub reason: String,
}

/// What an entry is found by. Whatever a value depends on has to be in it.
#[derive(Debug, Clone)]
pub struct Key(Sha256);

impl Key {
    /// A key of values of one kind.
    pub fn new(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
    }

    /// The key of what depends on `text`, too.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        // The length goes first, so that two texts are not the same as one of both.
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
        self
    }

    /// The key of what depends on the kind, shape and values of `tensor`, too.
    #[must_use]
    pub fn tensor(mut self, tensor: &Tensor) -> Self {
        let on_host = tensor.to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; on_host.numel() * on_host.kind().elt_size_in_bytes()];
        on_host.copy_data_u8(&mut bytes, on_host.numel());
        self = self.text(&format!("{:?} {:?}", on_host.kind(), on_host.size()));
        self.0.update(bytes);
        self
    }

    /// The hash, in hexadecimal digits.
    pub fn hex(&self) -> String {
        crate::digest::hex(&self.0.clone().finalize())
    }
}

/// How many values were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Values that were there.
    pub found: u64,
    /// Values that were not.
    pub missed: u64,
    /// Values that were written.
    pub written: u64,
}

/// What was asked for in this process, of all stores.
static TOTAL: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// What was asked for in this process, of all stores.
pub fn counts() -> Counts {
    let [found, missed, written] = TOTAL.each_ref().map(|count| count.load(Ordering::Relaxed));
    Counts { found, missed, written }
}

/// A folder of entries. Any number of processes may read and write one at the same time.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    fills: bool,
    found: AtomicU64,
    missed: AtomicU64,
    written: AtomicU64,
    /// Why something could not be written, until it is asked for.
    failure: Mutex<Option<CacheError>>,
}

impl Store {
    /// The store in `dir`, which need not be there yet. With `fills` values that are missing are computed and written;
    /// else they are computed alone.
    pub fn new(dir: &Path, fills: bool) -> Self {
        let zero = || AtomicU64::new(0);
        Self { dir: dir.to_owned(), fills, found: zero(), missed: zero(), written: zero(), failure: Mutex::new(None) }
    }

    /// Whether what is missing is written.
    pub fn fills(&self) -> bool {
        self.fills
    }

    /// What was asked for so far.
    pub fn counts(&self) -> Counts {
        let [found, missed, written] =
            [&self.found, &self.missed, &self.written].map(|count| count.load(Ordering::Relaxed));
        Counts { found, missed, written }
    }

    /// Whether there is an entry of `key`. It is not counted.
    pub fn has(&self, key: &Key) -> bool {
        self.path(key).exists()
    }

    /// The tensors of `key` by name, on `device`; none when there is no entry, or one that cannot be read.
    pub fn get(&self, key: &Key, device: Device) -> Option<Vec<(String, Tensor)>> {
        let path = self.path(key);
        let entry = path.exists().then(|| Tensor::read_safetensors(&path)).and_then(|read| match read {
            Ok(entry) => Some(entry),
            Err(error) => {
                tracing::warn!("{}: a damaged entry of the cache is not used: {error}", path.display());
                None
            }
        });
        let (count, total) = if entry.is_some() { (&self.found, &TOTAL[0]) } else { (&self.missed, &TOTAL[1]) };
        let before = count.fetch_add(1, Ordering::Relaxed);
        total.fetch_add(1, Ordering::Relaxed);
        if before == 0 && !self.fills {
            let dir = self.dir.display();
            match entry {
                Some(_) => tracing::info!("{dir}: the cache is used"),
                None => tracing::warn!(
                    "{dir}: something is not in the cache and is computed; `anneal data cache` with this config puts it there"
                ),
            }
        }
        Some(entry?.into_iter().map(|(name, tensor)| (name, tensor.to_device(device))).collect())
    }

    /// What went wrong in writing since it was last asked for.
    pub fn take_failure(&self) -> Option<CacheError> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Writes the tensors of `key`: to a file beside its place, which is then renamed into it. Whoever fills the store
    /// asks for failures.
    pub fn put(&self, key: &Key, tensors: &[(String, Tensor)]) {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.dir);
        let write = || -> io::Result<()> {
            fs::create_dir_all(folder)?;
            let file = tempfile::Builder::new().prefix(".new-").suffix(".safetensors").tempfile_in(folder)?;
            let on_host: Vec<(String, Tensor)> = tensors
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.to_device(Device::Cpu).contiguous()))
                .collect();
            Tensor::write_safetensors(&on_host, file.path()).map_err(io::Error::other)?;
            File::open(file.path())?.sync_all()?;
            file.persist(&path)?;
            File::open(folder)?.sync_all()
        };
        match write() {
            Ok(()) => {
                self.written.fetch_add(1, Ordering::Relaxed);
                TOTAL[2].fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let failure = CacheError { path, reason: error.to_string() };
                *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(failure);
            }
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = key.hex();
        self.dir.join(&name[..2]).join(format!("{}.safetensors", &name[2..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_all_that_they_depend_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), true);
        let x = Tensor::from_slice(&[1.0f32, 2.0]);
        let key = Key::new("code").text("settings").tensor(&x);
        assert!(store.get(&key, Device::Cpu).is_none());
        store.put(&key, &[("0".to_owned(), &x * 3.0)]);
        let found = store.get(&key, Device::Cpu).unwrap();
        assert!(found[0].0 == "0" && found[0].1.equal(&(&x * 3.0)));
        for other in [
            Key::new("other").text("settings").tensor(&x),
            Key::new("code").text("setting").text("s").tensor(&x),
            Key::new("code").text("settings").tensor(&(&x + 1e-6)),
            Key::new("code").text("settings").tensor(&x.view([1, 2])),
            Key::new("code").text("settings").tensor(&x.to_kind(tch::Kind::Double)),
        ] {
            assert!(store.get(&other, Device::Cpu).is_none());
        }
        assert_eq!(store.counts(), Counts { found: 1, missed: 6, written: 1 });
    }

    #[test]
    fn a_damaged_entry_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), false);
        let key = Key::new("code");
        store.put(&key, &[("0".to_owned(), Tensor::from_slice(&[1i64]))]);
        assert!(store.take_failure().is_none());
        let path = store.path(&key);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(store.get(&key, Device::Cpu).is_none());
        let blocked = Store::new(&path, true);
        blocked.put(&key, &[]);
        assert!(blocked.take_failure().unwrap().to_string().contains("cannot be written"));
        assert!(blocked.take_failure().is_none() && blocked.counts().written == 0);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }
}
