//! What a member is, by its ending.

/// A member's part in its sample: `cond_image.0003.png` is row 3 of the pictures of entry `cond_image`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    /// The entry, or text.
    pub(super) entry: String,
    /// The number of a picture among several.
    pub(super) row: Option<u64>,
    pub(super) format: Format,
}

/// How a member's bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A picture, or an animation.
    Picture,
    /// A video that ffmpeg or the H.264 decoder reads.
    Film,
    /// Numbers and texts by name.
    Json,
    /// Integers that hold for the whole batch, by name.
    Integers,
    /// A class as decimal digits.
    Class,
    Text,
    Npy,
}

impl Ending {
    /// Reads an ending; `None` for formats that are left alone.
    pub(super) fn parse(ending: &str) -> Option<Self> {
        let mut parts: Vec<&str> = ending.split('.').collect();
        let (format, entry) = match parts.pop()?.to_lowercase().as_str() {
            "json" if parts == ["integers"] => return Some(Self::new("integers", None, Format::Integers)),
            "png" | "jpg" | "jpeg" | "webp" | "gif" => (Format::Picture, "image"),
            "mp4" | "m4v" | "mov" | "mkv" | "webm" | "avi" => (Format::Film, "image"),
            "json" => (Format::Json, "json"),
            "cls" => (Format::Class, "class"),
            "txt" => (Format::Text, "caption"),
            "npy" => (Format::Npy, "array"),
            _ => return None,
        };
        let is_row = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let row = match parts.last() {
            Some(last) if format == Format::Picture && is_row(last) => {
                let row = last.parse().ok()?;
                parts.pop();
                Some(row)
            }
            _ => None,
        };
        Some(match parts[..] {
            [] => Self::new(entry, row, format),
            _ => Self::new(&parts.join("."), row, format),
        })
    }

    fn new(entry: &str, row: Option<u64>, format: Format) -> Self {
        Self { entry: entry.to_owned(), row, format }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_name_entry_row_and_format() {
        let expect = |ending: &str, entry: &str, row: Option<u64>, format: Format| {
            assert_eq!(Ending::parse(ending), Some(Ending::new(entry, row, format)), "{ending}");
        };
        expect("png", "image", None, Format::Picture);
        expect("Mask.PNG", "Mask", None, Format::Picture);
        expect("0012.jpg", "image", Some(12), Format::Picture);
        expect("cond_image.0003.png", "cond_image", Some(3), Format::Picture);
        expect("cond_image.png", "cond_image", None, Format::Picture);
        expect("mp4", "image", None, Format::Film);
        expect("json", "json", None, Format::Json);
        expect("integers.json", "integers", None, Format::Integers);
        expect("cls", "class", None, Format::Class);
        expect("txt", "caption", None, Format::Text);
        expect("name.txt", "name", None, Format::Text);
        expect("polar_rad.npy", "polar_rad", None, Format::Npy);
        for other in ["pth", "pickle", "", "png.bak", "99999999999999999999999.png"] {
            assert_eq!(Ending::parse(other), None, "{other}");
        }
    }
}
