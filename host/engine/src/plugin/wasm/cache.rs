//! Compiled components, kept for the next run.
//!
//! Compiled code is native code, and libraries that run it must not be handed what others made. So each file carries a tag
//! that only holders of a key of this user can make, it is read as a whole before it is checked, and packages bring none.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::config::Environment;
use crate::digest::{hex, sha256};

/// Bytes of a tag.
const TAG: usize = 32;
/// Bytes of the key: a whole block of the hash.
const KEY: usize = 64;

/// The user's compiled components.
#[derive(Debug, Clone)]
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; KEY],
}

impl CodeCache {
    /// The cache of the user; none where the environment names no home, or its folder or its key could be written or read
    /// by others.
    pub fn of_user(env: &Environment) -> Option<Self> {
        let folder = env.cache_home.as_ref()?.join("anneal/wasm");
        let key = env.config_home.as_ref()?.join("anneal/cache.key");
        Self::open(&folder, &key)
    }

    fn open(folder: &Path, key: &Path) -> Option<Self> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(folder).and_then(|()| private.create(key.parent().unwrap_or(key))).ok()?;
        if !is_private(folder, 0o022) {
            tracing::warn!("{} is not used: it can be written by others", folder.display());
            return None;
        }
        if !key.exists() {
            make_key(key).ok()?;
        }
        if !is_private(key, 0o077) {
            tracing::warn!("{} is not used: it can be read by others", key.display());
            return None;
        }
        let key = fs::read(key).ok()?.try_into().ok()?;
        Some(Self { folder: folder.to_owned(), key })
    }

    /// The component in `bytes`: as it was compiled before, or compiled now.
    ///
    /// # Errors
    /// When it is no component.
    pub fn component(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let file = self.file(engine, bytes);
        if let Some(code) = self.read(&file) {
            // SAFETY: the tag says that this user's anneal wrote the bytes, as `serialize` gave them.
            match unsafe { Component::deserialize(engine, &code) } {
                Ok(component) => return Ok(component),
                Err(error) => tracing::debug!("{} is compiled again: {error}", file.display()),
            }
        }
        let component = Component::from_binary(engine, bytes)?;
        // A cache that cannot be written to is only slower.
        if let Err(error) =
            component.serialize().map_err(std::io::Error::other).and_then(|code| self.write(&file, code))
        {
            tracing::debug!("{}: {error}", file.display());
        }
        Ok(component)
    }

    /// Where the code of a component is for this engine, its settings, this processor, and this key: settings folders with
    /// keys of their own may share a cache.
    fn file(&self, engine: &Engine, bytes: &[u8]) -> PathBuf {
        let mut settings = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        let (component, key) = (sha256(bytes), hex(&Sha256::digest(self.key)[..4]));
        self.folder.join(format!("{component}-{:016x}-{key}", settings.finish()))
    }

    /// The tag binds the code to its file's name, too, so that no component can pass for another.
    fn tag(&self, file: &Path, code: &[u8]) -> Hmac<Sha256> {
        let mut tag = Hmac::<Sha256>::new(&self.key.into());
        tag.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        tag.update(code);
        tag
    }

    fn read(&self, file: &Path) -> Option<Vec<u8>> {
        let mut code = fs::read(file).ok()?;
        let tag = code.split_off(code.len().checked_sub(TAG)?);
        if self.tag(file, &code).verify_slice(&tag).is_ok() {
            return Some(code);
        }
        tracing::warn!("{} was not written by this user's anneal; it is removed", file.display());
        // If it cannot be removed it is refused again.
        let _ = fs::remove_file(file);
        None
    }

    fn write(&self, file: &Path, mut code: Vec<u8>) -> std::io::Result<()> {
        let tag = self.tag(file, &code).finalize().into_bytes();
        code.extend_from_slice(&tag);
        let mut new = NamedTempFile::new_in(&self.folder)?;
        new.write_all(&code)?;
        new.persist(file)?;
        Ok(())
    }
}

/// Makes a key, unless another process has just made one.
fn make_key(path: &Path) -> std::io::Result<()> {
    let mut key = [0; KEY];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut new = NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    new.write_all(&key)?;
    match new.persist_noclobber(path) {
        Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// Whether something is this user's, and none of the rights in `others` is given to anyone else.
fn is_private(path: &Path, others: u32) -> bool {
    // The kernel gives a process's folder to the user it runs as.
    let user = fs::metadata("/proc/self").map(|metadata| metadata.uid());
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    user.is_ok_and(|user| user == metadata.uid()) && metadata.permissions().mode() & others == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = "(component (core module $m (func (export \"f\") (result i32) i32.const 7)))";

    struct Place {
        dir: tempfile::TempDir,
        engine: Engine,
        bytes: Vec<u8>,
    }

    impl Place {
        fn new() -> Self {
            let bytes = wat::parse_str(COMPONENT).unwrap();
            Self { dir: tempfile::tempdir().unwrap(), engine: Engine::default(), bytes }
        }

        fn cache(&self) -> Option<CodeCache> {
            CodeCache::open(&self.dir.path().join("code"), &self.dir.path().join("keys/cache.key"))
        }

        /// The one file of the cache.
        fn file(&self) -> PathBuf {
            self.cache().unwrap().file(&self.engine, &self.bytes)
        }
    }

    #[test]
    fn what_was_compiled_is_read_again_by_the_same_user() {
        let place = Place::new();
        place.cache().unwrap().component(&place.engine, &place.bytes).unwrap();
        let code = place.cache().unwrap().read(&place.file()).unwrap();
        assert!(code.len() > 100);
        place.cache().unwrap().component(&place.engine, &place.bytes).unwrap();
        assert_eq!(fs::read_dir(place.dir.path().join("code")).unwrap().count(), 1);
    }

    #[test]
    fn what_others_wrote_is_removed_and_made_again() {
        let place = Place::new();
        let cache = place.cache().unwrap();
        cache.component(&place.engine, &place.bytes).unwrap();
        let good = fs::read(place.file()).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [flipped, good[..good.len() - 1].to_vec(), Vec::new(), vec![0; TAG]] {
            fs::write(place.file(), &bad).unwrap();
            assert_eq!(cache.read(&place.file()), None);
            cache.component(&place.engine, &place.bytes).unwrap();
            assert_eq!(cache.read(&place.file()).unwrap(), good[..good.len() - TAG]);
        }
        let other = place.dir.path().join("code/other");
        fs::write(&other, &good).unwrap();
        assert_eq!(cache.read(&other), None, "the code of one component passes for another's");
    }

    #[test]
    fn two_keys_share_a_folder_in_peace() {
        let place = Place::new();
        let other = CodeCache::open(&place.dir.path().join("code"), &place.dir.path().join("more/cache.key")).unwrap();
        for cache in [place.cache().unwrap(), other] {
            cache.component(&place.engine, &place.bytes).unwrap();
            assert!(cache.read(&cache.file(&place.engine, &place.bytes)).is_some());
        }
        assert_eq!(fs::read_dir(place.dir.path().join("code")).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_others_can_write_or_a_key_they_can_read_is_not_used() {
        let place = Place::new();
        assert!(place.cache().is_some());
        let set = |path: &str, mode| {
            fs::set_permissions(place.dir.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        set("code", 0o722);
        assert!(place.cache().is_none());
        set("code", 0o700);
        set("keys/cache.key", 0o640);
        assert!(place.cache().is_none());
    }
}
