//! What is in the shards: read header by header when the source is opened, so that any sample can be read at any time.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::{Archive, EntryType, PaxExtensions};

use crate::data::DataError;
use crate::data::threads::side_by_side;

/// A member may be this long.
const MEMBER_BYTES_MAX: u64 = 1 << 30;
/// The name of a member may be this long.
const NAME_BYTES_MAX: u64 = 1 << 16;

/// A sample, as it lies in its shard.
#[derive(Debug)]
pub(super) struct Stored {
    /// Index of the shard.
    pub(super) shard: usize,
    /// The name that its members share: up to the first dot of the file name.
    pub(super) key: String,
    /// In the shard's order.
    pub(super) members: Vec<Member>,
}

/// A file in a shard.
#[derive(Debug)]
pub(super) struct Member {
    /// What follows the first dot of the file name.
    pub(super) ending: String,
    /// Where its bytes start.
    pub(super) at: u64,
    /// How many there are.
    pub(super) len: u64,
}

/// The samples of all shards, in order. Shards are read side by side.
///
/// # Errors
/// When a shard cannot be read, is no tar file, or is cut off.
pub(super) fn index(shards: &[PathBuf]) -> Result<Vec<Stored>, DataError> {
    let numbered: Vec<(usize, &PathBuf)> = shards.iter().enumerate().collect();
    let shares = side_by_side(&numbered, |(shard, path)| scan(path, *shard));
    let mut stored = Vec::new();
    for share in shares {
        stored.append(&mut share?);
    }
    Ok(stored)
}

/// The samples of one shard.
fn scan(path: &Path, shard: usize) -> Result<Vec<Stored>, DataError> {
    let unreadable = |source: io::Error| DataError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if bytes == 0 {
        return Err(unusable(path, "the file is empty"));
    }
    let mut archive = Archive::new(file);
    let mut names = Names::default();
    let (mut stored, mut endings) = (Vec::<Stored>::new(), HashSet::new());
    let entries = archive.entries_with_seek().map_err(unreadable)?.raw(true);
    for entry in entries {
        let mut entry =
            entry.map_err(|error| unusable(path, &format!("no readable tar file: {error}{}", hint(path))))?;
        let (at, len, kind) = (entry.raw_file_position(), entry.size(), entry.header().entry_type());
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if at.checked_add(len).is_none_or(|end| end > bytes) {
            return Err(unusable(path, &format!("the file is cut off in member {name:?}")));
        }
        if names.take(&mut entry, kind).map_err(|reason| unusable(path, &format!("member {name:?}: {reason}")))? {
            continue;
        }
        let name = names.next.take().unwrap_or(name);
        if kind == EntryType::GNUSparse {
            return Err(unusable(path, &format!("member {name:?} is sparse; write it as a plain file")));
        }
        // Folders and links hold no bytes of their own.
        if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        if len > MEMBER_BYTES_MAX {
            return Err(unusable(path, &format!("member {name:?} is longer than {MEMBER_BYTES_MAX} bytes")));
        }
        if let Some((key, ending)) = split(&name) {
            let member = Member { ending, at, len };
            add(&mut stored, &mut endings, shard, key, member).map_err(|reason| unusable(path, &reason))?;
        }
    }
    Ok(stored)
}

fn unusable(path: &Path, reason: &str) -> DataError {
    DataError::Unusable { place: path.display().to_string(), reason: reason.to_owned() }
}

fn hint(path: &Path) -> &'static str {
    let name = path.to_string_lossy().to_lowercase();
    let packed = [".gz", ".tgz", ".xz", ".zst", ".bz2"].iter().any(|ending| name.ends_with(ending));
    if packed { "; samples are read in any order, which a compressed file does not allow: unpack it" } else { "" }
}

/// Adds a member to its sample, which is the last of those that are stored or a new one; `endings` are those of the last.
fn add(
    stored: &mut Vec<Stored>,
    endings: &mut HashSet<String>,
    shard: usize,
    key: String,
    member: Member,
) -> Result<(), String> {
    match stored.last_mut() {
        Some(last) if last.key == key => {
            if !endings.insert(member.ending.clone()) {
                return Err(format!("sample {key:?} has two members {:?}", member.ending));
            }
            last.members.push(member);
        }
        _ => {
            *endings = HashSet::from([member.ending.clone()]);
            stored.push(Stored { shard, key, members: vec![member] });
        }
    }
    Ok(())
}

/// Key and ending of a member's name; none for files without an ending, and for webdataset's own (`__..`).
fn split(name: &str) -> Option<(String, String)> {
    let name = name.trim_start_matches("./");
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.')?;
    let (key, ending) = (&name[..dot], &name[dot + 1..]);
    (dot > file && !ending.is_empty() && !name[file..].starts_with("__")).then(|| (key.to_owned(), ending.to_owned()))
}

/// Long names, which stand before the members that have them.
#[derive(Debug, Default)]
struct Names {
    next: Option<String>,
}

impl Names {
    /// Whether the entry is about the one after it, and not a member itself.
    fn take(&mut self, entry: &mut tar::Entry<impl Read>, kind: EntryType) -> Result<bool, String> {
        let about_next = [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader];
        if !about_next.contains(&kind) {
            return Ok(false);
        }
        if entry.size() > NAME_BYTES_MAX {
            return Err(format!("a header longer than {NAME_BYTES_MAX} bytes"));
        }
        let mut bytes = Vec::new();
        entry.take(NAME_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        match kind {
            EntryType::GNULongName => {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                self.next = Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
            }
            EntryType::XHeader => {
                for extension in PaxExtensions::new(&bytes) {
                    let extension = extension.map_err(|error| error.to_string())?;
                    if extension.key() == Ok("path") {
                        self.next = Some(String::from_utf8_lossy(extension.value_bytes()).into_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dot_of_the_file_name_splits_it() {
        let expect = |name: &str, parts: Option<(&str, &str)>| {
            assert_eq!(split(name), parts.map(|(key, ending)| (key.to_owned(), ending.to_owned())), "{name}");
        };
        expect("0001.image.0000.PNG", Some(("0001", "image.0000.PNG")));
        expect("./a.b/0001.txt", Some(("a.b/0001", "txt")));
        expect("README", None);
        expect("a/.hidden", None);
        expect("__meta__.json", None);
        expect("x.", None);
    }

    fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn scanned(bytes: &[u8]) -> Result<Vec<Stored>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.tar");
        std::fs::write(&path, bytes).unwrap();
        scan(&path, 3).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "s.tar"))
    }

    #[test]
    fn members_of_a_key_are_one_sample_and_lie_where_it_says() {
        let long = format!("{}/clip.txt", "folder".repeat(40));
        let bytes = tar(&[("a.png", b"picture"), ("a.txt", b"words"), (&long, b"long"), ("b.txt", b"")]);
        let stored = scanned(&bytes).unwrap();
        let keys: Vec<&str> = stored.iter().map(|sample| sample.key.as_str()).collect();
        assert_eq!(keys, ["a", long.trim_end_matches(".txt"), "b"]);
        assert!(stored.iter().all(|sample| sample.shard == 3));
        let read = |member: &Member| &bytes[member.at as usize..(member.at + member.len) as usize];
        assert_eq!(stored[0].members.iter().map(read).collect::<Vec<_>>(), [&b"picture"[..], b"words"]);
        assert_eq!(read(&stored[1].members[0]), b"long");
    }

    #[test]
    fn what_is_wrong_with_a_shard_is_said_with_the_member() {
        let whole = tar(&[("a.png", &[7; 2000]), ("a.txt", b"words")]);
        let cut = scanned(&whole[..1500]).unwrap_err();
        assert_eq!(cut, "s.tar: the file is cut off in member \"a.png\"");
        let twice = scanned(&tar(&[("a.txt", b"1"), ("a.txt", b"2")])).unwrap_err();
        assert_eq!(twice, "s.tar: sample \"a\" has two members \"txt\"");
        let noise: Vec<u8> = (0..2048_u32).map(|i| (i * i % 251) as u8).collect();
        assert!(scanned(&noise).unwrap_err().starts_with("s.tar: no readable tar file"));
        assert_eq!(scanned(b"").unwrap_err(), "s.tar: the file is empty");
        assert!(hint(Path::new("a.tar.gz")).contains("unpack it"));
    }

    #[test]
    fn a_header_that_claims_more_than_there_is_is_refused() {
        let mut bytes = tar(&[("a.txt", b"words")]);
        let mut header = tar::Header::new_gnu();
        header.set_path("a.txt").unwrap();
        header.set_size(u64::MAX / 2);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        assert!(scanned(&bytes).unwrap_err().contains("cut off in member \"a.txt\""));

        let mut bytes = tar(&[("a.txt", &[0; 200_000])]);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_path("long").unwrap();
        header.set_size(200_000);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        assert!(scanned(&bytes).unwrap_err().contains("a header longer than 65536 bytes"));
    }
}
