//! Files that are read as a whole, as long as they are no longer than anything of their kind.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a text that a person writes.
pub(crate) const TEXT_MAX: u64 = 1 << 20;
/// Bytes of a list that a program writes, a line or so for each tensor, view or file.
pub(crate) const LIST_MAX: u64 = 64 << 20;

/// The bytes of a file that has `max` at most. A device gives bytes without end, so its length is not asked for.
///
/// # Errors
/// When it cannot be read, or is longer.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let reason = format!("it has more than the {max} bytes that are read of such a file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// The same as a text.
///
/// # Errors
/// As [`read`], or when it is no UTF-8.
pub(crate) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    String::from_utf8(read(path, max)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "words").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "words");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(Path::new("/dev/zero"), 1000).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(folder.path(), 5).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
