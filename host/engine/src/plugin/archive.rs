//! A plugin as one file: a compressed tar of its folder with a `SHA256SUMS`. The same folder packs to the same bytes,
//! and nothing that is unpacked leaves its folder.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};
use thiserror::Error;

use crate::bounded::{self, TEXT_MAX};
use crate::digest::{hex, sha256};

/// Files in a package, its list of digests included.
const FILES_MAX: usize = 4096;
/// Bytes of a package when unpacked.
const BYTES_MAX: u64 = 2 << 30;
/// The list of the other files' digests, as `sha256sum` writes and checks it.
const SUMS: &str = "SHA256SUMS";
/// zstd's level: plugins are small and packed once.
const LEVEL: i32 = 19;

/// Why a folder is not packed, or a package not unpacked.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive itself is damaged, or is none.
    #[error("is no package of a plugin: {0}")]
    Damaged(io::Error),
    /// What a package must not hold.
    #[error("`{name}` {problem}")]
    Refused {
        /// The path in the package.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Too much.
    #[error("holds more than {0}")]
    TooLarge(&'static str),
    /// The list of digests and the files do not agree.
    #[error("SHA256SUMS {0}")]
    Sums(String),
}

fn refused(name: impl Into<String>, problem: &'static str) -> ArchiveError {
    ArchiveError::Refused { name: name.into(), problem }
}

fn too_many(files: usize) -> Result<(), ArchiveError> {
    if files > FILES_MAX { Err(ArchiveError::TooLarge("4096 files")) } else { Ok(()) }
}

/// Packs a plugin's folder: its files by name, without times and owners.
///
/// # Errors
/// When a file cannot be read, is a link or compiled code of the host, or there is too much.
pub fn pack(folder: &Path) -> Result<Vec<u8>, ArchiveError> {
    let mut files = files_below(folder)?;
    files.remove(SUMS);
    let sums: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect();
    files.insert(SUMS.to_owned(), sums.into_bytes());
    too_many(files.len())?;
    let encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(ArchiveError::Damaged)?;
    let mut tar = Builder::new(encoder);
    for (name, bytes) in &files {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes.as_slice()).map_err(ArchiveError::Damaged)?;
    }
    tar.into_inner().and_then(zstd::Encoder::finish).map_err(ArchiveError::Damaged)
}

/// The files below a folder by their names there.
fn files_below(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let mut files = BTreeMap::new();
    let mut total = 0;
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        let failed = |source| ArchiveError::Io { path: at.clone(), source };
        for entry in fs::read_dir(&at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            let below = path.strip_prefix(folder).unwrap_or(&path);
            let name = checked(below)?;
            if !kind.is_file() {
                return Err(refused(name, "is a link or no file"));
            }
            let bytes = fs::read(&path).map_err(|source| ArchiveError::Io { path, source })?;
            total += bytes.len() as u64;
            if total > BYTES_MAX {
                return Err(ArchiveError::TooLarge("2 GiB"));
            }
            files.insert(name, bytes);
            too_many(files.len())?;
        }
    }
    Ok(files)
}

/// The name of a file in a package, if it may be there.
fn checked(path: &Path) -> Result<String, ArchiveError> {
    let shown = path.to_string_lossy().into_owned();
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let parts = parts.filter(|parts| !parts.is_empty()).ok_or_else(|| refused(&shown, "leads out of the package"))?;
    let name = parts.join("/");
    if name.chars().any(char::is_control) {
        return Err(refused(name, "has a control character in its name"));
    }
    if path.extension().is_some_and(|extension| extension == "cwasm") {
        return Err(refused(name, "is compiled code, which only the host itself may make"));
    }
    Ok(name)
}

/// Unpacks a package into an empty folder.
///
/// # Errors
/// When it holds anything but files within the folder, each once and each as `SHA256SUMS` says; or too much. Some files
/// may then be written.
pub fn unpack(package: impl Read, folder: &Path) -> Result<(), ArchiveError> {
    let decoder = zstd::Decoder::new(package).map_err(ArchiveError::Damaged)?;
    // One byte more than is allowed shows that there is more, whatever the headers say.
    let mut archive = Archive::new(decoder.take(BYTES_MAX + 1));
    let mut digests = BTreeMap::new();
    let mut sums = None;
    let mut total = 0;
    for (count, entry) in archive.entries().map_err(ArchiveError::Damaged)?.enumerate() {
        too_many(count + 1)?;
        let mut entry = entry.map_err(ArchiveError::Damaged)?;
        let name = checked(&entry.path().map_err(ArchiveError::Damaged)?)?;
        if entry.header().entry_type() != EntryType::Regular {
            return Err(refused(name, "is a link or no file"));
        }
        if digests.contains_key(&name) {
            return Err(refused(name, "is there twice"));
        }
        let left = BYTES_MAX - total;
        let (bytes, digest) = write(folder, &name, &mut entry.by_ref().take(left + 1))?;
        if bytes > left {
            return Err(ArchiveError::TooLarge("2 GiB"));
        }
        total += bytes;
        if name == SUMS {
            let path = folder.join(SUMS);
            let text = bounded::read(&path, TEXT_MAX).map_err(|source| ArchiveError::Io { path, source })?;
            sums = Some(String::from_utf8_lossy(&text).into_owned());
        }
        digests.insert(name, digest);
    }
    digests.remove(SUMS);
    check_sums(&sums.ok_or_else(|| ArchiveError::Sums("is missing".to_owned()))?, &digests)
}

/// Writes a file that no other user can write, whatever the umask, piece by piece: few bytes unpack to very many. Says how
/// long it is, and its SHA-256.
fn write(folder: &Path, name: &str, from: &mut impl Read) -> Result<(u64, String), ArchiveError> {
    let path = folder.join(name);
    let failed = |source| ArchiveError::Io { path: path.clone(), source };
    for parent in Path::new(name).ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
        let parent = folder.join(parent);
        if !parent.is_dir() {
            fs::create_dir(&parent).map_err(failed)?;
            fs::set_permissions(&parent, Permissions::from_mode(0o755)).map_err(failed)?;
        }
    }
    let mut file = fs::File::create_new(&path).map_err(failed)?;
    let (mut piece, mut digest, mut length) = (vec![0; 1 << 16], Sha256::new(), 0);
    loop {
        let count = from.read(&mut piece).map_err(ArchiveError::Damaged)?;
        if count == 0 {
            break;
        }
        digest.update(&piece[..count]);
        file.write_all(&piece[..count]).map_err(failed)?;
        length += count as u64;
    }
    file.set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
    Ok((length, hex(&digest.finalize())))
}

fn check_sums(sums: &str, digests: &BTreeMap<String, String>) -> Result<(), ArchiveError> {
    let mut listed = BTreeMap::new();
    for line in sums.lines() {
        let Some((sum, name)) = line.split_once("  ") else {
            return Err(ArchiveError::Sums(format!("has a line that is no digest and name: {line}")));
        };
        listed.insert(name.to_owned(), sum.to_owned());
    }
    for (name, digest) in digests {
        match listed.remove(name) {
            None => return Err(ArchiveError::Sums(format!("does not list `{name}`"))),
            Some(sum) if sum != *digest => {
                return Err(ArchiveError::Sums(format!("says that `{name}` has {sum}, it has {digest}")));
            }
            Some(_) => {}
        }
    }
    match listed.keys().next() {
        Some(name) => Err(ArchiveError::Sums(format!("lists `{name}`, which is not there"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
