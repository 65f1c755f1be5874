//! A sample out of its shard: members to entries.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anneal_torch::random::Stream;
use image::RgbImage;
use serde_json::Value;

use super::ending::{Ending, Format};
use super::index::{Member, Stored};
use crate::config::{ClipConfig, WebdatasetConfig};
use crate::data::ffmpeg::{Film, Probe};
use crate::data::footage::{Decoded, Fit, Footage};
use crate::data::sample::{CROP, ORIGINAL_SIZE, TARGET_SIZE};
use crate::data::{Entry, Sample, SampleError, Values, animation, clip, npy, pixels};

/// Name of the entry whose frames make a clip.
const IMAGE: &str = "image";

/// Most frames that a sample may say it has.
const FRAMES_MAX: i64 = 1 << 16;

/// Entries of which a list of numbers is one row, as SDXL's conditions on sizes are.
const TUPLES: [&str; 3] = [ORIGINAL_SIZE, CROP, TARGET_SIZE];

/// Rows and columns of the sample's first picture of `image`; none when there is none that says it.
pub(super) fn picture_size(shard: &Path, stored: &Stored) -> Option<[u32; 2]> {
    let is_image = |member: &&Member| {
        Ending::parse(&member.ending).is_some_and(|ending| ending.format == Format::Picture && ending.entry == IMAGE)
    };
    let member = stored.members.iter().find(is_image)?;
    let mut bytes = vec![0; member.len as usize];
    File::open(shard).ok()?.read_exact_at(&mut bytes, member.at).ok()?;
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().ok()?;
    let (columns, rows) = reader.into_dimensions().ok()?;
    Some([rows, columns])
}

/// How many pictures of `image` the sample has, and how many of them a second takes; none when it has a video in their place, or
/// cannot be read.
pub(super) fn pictures(config: &WebdatasetConfig, shard: &Path, stored: &Stored) -> Option<(usize, f64)> {
    let endings = || stored.members.iter().filter_map(|member| Some((member, Ending::parse(&member.ending)?)));
    let count = endings().filter(|(_, ending)| ending.format == Format::Picture && ending.entry == IMAGE).count();
    let is_film = |(_, ending): (&Member, Ending)| ending.format == Format::Film && ending.entry == IMAGE;
    if count < 2 || endings().any(is_film) {
        return None;
    }
    let mut reader = Reader::open(config, None, None, shard, stored).ok()?;
    // Where clips are of the pictures' own rate, what that is does not count.
    if config.clip.as_ref().is_some_and(|clip| clip.fps.is_some()) {
        for (member, ending) in endings().filter(|(_, ending)| ending.format == Format::Json) {
            reader.number_or_text(&ending, member).ok()?;
        }
    }
    Some((count, reader.fps.unwrap_or(config.images_fps)))
}

/// Reads the sample `stored` of `shard`, its pictures in `size` and its clip as `clip` says, where those are given.
pub(super) fn sample(
    config: &WebdatasetConfig,
    size: Option<[u32; 2]>,
    clip: Option<ClipConfig>,
    shard: &Path,
    stored: &Stored,
    draw: &mut Stream,
) -> Result<Sample, SampleError> {
    let mut reader = Reader::open(config, size, clip, shard, stored)?;
    let mut pictures: BTreeMap<String, Vec<(Option<u64>, &Member)>> = BTreeMap::new();
    for member in &stored.members {
        let Some(ending) = Ending::parse(&member.ending) else { continue };
        if !reader.wants(&ending) {
            continue;
        }
        match ending.format {
            Format::Picture => pictures.entry(ending.entry).or_default().push((ending.row, member)),
            Format::Film if ending.entry == IMAGE => reader.images = Images::Film(member),
            Format::Film => return Err(reader.wrong(member, "a video is read as `image` alone: leave its name away")),
            _ => reader.number_or_text(&ending, member)?,
        }
    }
    for (entry, mut members) in pictures {
        members.sort_by_key(|(row, _)| *row);
        let members: Vec<&Member> = members.into_iter().map(|(_, member)| member).collect();
        if entry == IMAGE {
            if matches!(reader.images, Images::Film(_)) {
                return Err(reader.wrong(members[0], "the sample has a video, too"));
            }
            reader.images = Images::Pictures(members);
        } else {
            let frames = reader.all(&members)?.frames;
            let pictures = reader.stacked(&frames, members[0])?;
            reader.sample.put(&entry, pictures);
        }
    }
    reader.images(draw)?;
    reader.finished()
}

/// Where the frames of `image` are.
enum Images<'a> {
    None,
    Pictures(Vec<&'a Member>),
    Film(&'a Member),
}

struct Reader<'a> {
    config: &'a WebdatasetConfig,
    size: Option<[u32; 2]>,
    /// How a clip is cut, if one is.
    clip: Option<ClipConfig>,
    shard: &'a Path,
    file: File,
    stored: &'a Stored,
    sample: Sample,
    images: Images<'a>,
    /// The sample's own number `fps`.
    fps: Option<f64>,
}

impl<'a> Reader<'a> {
    fn open(
        config: &'a WebdatasetConfig,
        size: Option<[u32; 2]>,
        clip: Option<ClipConfig>,
        shard: &'a Path,
        stored: &'a Stored,
    ) -> Result<Self, SampleError> {
        let file = File::open(shard).map_err(|source| SampleError::Read { path: shard.to_owned(), source })?;
        let (sample, images) = (Sample::default(), Images::None);
        Ok(Self { config, size, clip, shard, file, stored, sample, images, fps: None })
    }

    /// Whether a member is read: what a `.json` holds is told apart when it is open.
    fn wants(&self, ending: &Ending) -> bool {
        let entries = &self.config.entries;
        let always = matches!(ending.format, Format::Json | Format::Integers);
        always || entries.is_empty() || entries.contains(&ending.entry)
    }

    /// A member's place, for errors.
    fn place(&self, member: &Member) -> PathBuf {
        let name = format!("{}: {}.{}", self.shard.display(), self.stored.key, member.ending);
        PathBuf::from(name)
    }

    fn wrong(&self, member: &Member, reason: &str) -> SampleError {
        SampleError::Unusable { place: self.place(member).display().to_string(), reason: reason.to_owned() }
    }

    /// The bytes of a member. The index has seen that they are there, and how many.
    fn bytes(&self, member: &Member) -> Result<Vec<u8>, SampleError> {
        let mut bytes = vec![0; member.len as usize];
        let read = self.file.read_exact_at(&mut bytes, member.at);
        read.map_err(|source| SampleError::Read { path: self.place(member), source })?;
        Ok(bytes)
    }

    fn text(&self, member: &Member) -> Result<String, SampleError> {
        String::from_utf8(self.bytes(member)?).map_err(|_| self.wrong(member, "the text is no UTF-8"))
    }

    fn number_or_text(&mut self, ending: &Ending, member: &Member) -> Result<(), SampleError> {
        match ending.format {
            Format::Npy => {
                let entry = npy::read(&self.bytes(member)?).map_err(|reason| self.wrong(member, &reason))?;
                self.sample.put(&ending.entry, entry);
            }
            Format::Text => {
                let text = self.text(member)?;
                self.sample.texts.insert(ending.entry.clone(), text);
            }
            Format::Class => {
                let text = self.text(member)?;
                let class = text.trim().parse().map_err(|_| self.wrong(member, "the class is no whole number"))?;
                self.sample.put(&ending.entry, Entry { shape: vec![1], values: Values::I64(vec![class]) });
            }
            Format::Integers => {
                let integers: BTreeMap<String, i64> = serde_json::from_str(&self.text(member)?)
                    .map_err(|error| self.wrong(member, &format!("no integers by name: {error}")))?;
                self.sample.integers = integers;
            }
            Format::Json => {
                let table: BTreeMap<String, Value> = serde_json::from_str(&self.text(member)?)
                    .map_err(|error| self.wrong(member, &format!("no JSON object: {error}")))?;
                for (name, value) in table {
                    self.named(&name, &value).map_err(|reason| self.wrong(member, &format!("{name:?} {reason}")))?;
                }
            }
            Format::Picture | Format::Film => {}
        }
        Ok(())
    }

    /// A value of a `.json` member. Tables and nulls say nothing to a model and are left alone, unless they are wanted.
    fn named(&mut self, name: &str, value: &Value) -> Result<(), String> {
        if name == "fps" {
            self.fps = value.as_f64().filter(|fps| *fps > 0.0);
        }
        let entries = &self.config.entries;
        let wanted = entries.iter().any(|entry| entry == name);
        if !entries.is_empty() && !wanted {
            return Ok(());
        }
        let values = match value {
            Value::String(text) => {
                self.sample.texts.insert(name.to_owned(), text.clone());
                return Ok(());
            }
            Value::Number(_) | Value::Bool(_) => std::slice::from_ref(value),
            Value::Array(values) if !values.is_empty() => values,
            _ if wanted => return Err("is neither a text nor numbers".to_owned()),
            _ => return Ok(()),
        };
        let shape = match TUPLES.contains(&name) {
            true => vec![1, values.len() as i64],
            false => vec![values.len() as i64],
        };
        let values = if self.config.classes.iter().any(|class| class == name) {
            let classes = values.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
            Values::I64(classes.ok_or("is a class, but no whole number")?)
        } else {
            let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(f64::from)).map(|v| v as f32);
            match values.iter().map(number).collect::<Option<Vec<f32>>>() {
                Some(numbers) => Values::F32(numbers),
                None if wanted => return Err("is a list of other things than numbers".to_owned()),
                None => return Ok(()),
            }
        };
        self.sample.put(name, Entry { shape, values });
        Ok(())
    }

    fn fit(&self) -> Option<Fit> {
        self.size.map(|size| Fit { size, resize: self.config.resize })
    }

    /// The frames of some picture members, in their order.
    fn all(&self, members: &[&Member]) -> Result<Decoded, SampleError> {
        if let [single] = members {
            return animation::decode(&self.bytes(single)?, self.fit(), &self.place(single));
        }
        let frames = members.iter().map(|member| self.picture(member)).collect::<Result<_, _>>()?;
        Ok(Decoded { frames, fps: self.fps.unwrap_or(self.config.images_fps) })
    }

    fn picture(&self, member: &Member) -> Result<RgbImage, SampleError> {
        let (image, place) = (pixels::decode(&self.bytes(member)?, &self.place(member))?, self.place(member));
        match self.fit() {
            Some(fit) => pixels::fit(image, fit.size, fit.resize, &place),
            None => Ok(image),
        }
    }

    /// Pictures `[n, 3, h, w]`.
    fn stacked(&self, frames: &[RgbImage], member: &Member) -> Result<Entry, SampleError> {
        let (columns, rows) = frames[0].dimensions();
        if frames.iter().any(|frame| frame.dimensions() != (columns, rows)) {
            return Err(self.wrong(member, "its pictures differ in size; set data.source.size and resize"));
        }
        let mut planes = Vec::with_capacity(frames.len() * 3 * (rows * columns) as usize);
        for frame in frames {
            pixels::append_planes(frame, &mut planes);
        }
        Ok(Entry::f32(&[frames.len() as i64, 3, rows.into(), columns.into()], planes))
    }

    /// Puts the frames of `image`, or a clip of them.
    fn images(&mut self, draw: &mut Stream) -> Result<(), SampleError> {
        match std::mem::replace(&mut self.images, Images::None) {
            Images::None => Ok(()),
            Images::Pictures(members) if self.clip.is_some() && members.len() > 1 => {
                let footage =
                    Pictures { reader: self, members: &members, fps: self.fps.unwrap_or(self.config.images_fps) };
                let cut = self.cut(&footage, members[0], draw)?;
                self.take(cut);
                Ok(())
            }
            Images::Pictures(members) => {
                if let ([single], Some(Fit { size, resize: true })) = (&members[..], self.fit()) {
                    self.size_and_crop(single, size)?;
                }
                let film = self.all(&members)?;
                self.footage(&film, members[0], draw)
            }
            Images::Film(member) => self.film(member, draw),
        }
    }

    /// What SDXL is told of a picture that is scaled and cropped (Podell et al. 2023, section 2.2), unless the sample says
    /// it itself: `original_size_as_tuple` `[1, 2]`, rows and columns before, `crop_coords_top_left` `[1, 2]`, rows and
    /// columns cut off at the top and the left after scaling, and `target_size_as_tuple` `[1, 2]`, rows and columns that
    /// are left.
    fn size_and_crop(&mut self, member: &Member, [rows, columns]: [u32; 2]) -> Result<(), SampleError> {
        let place = self.place(member);
        let [own_rows, own_columns] = pixels::size_of(&self.bytes(member)?, &place)?.map(f64::from);
        let scale = (f64::from(rows) / own_rows).max(f64::from(columns) / own_columns);
        let cut = |own: f64, kept: u32| ((own * scale).round() - f64::from(kept)).max(0.0) / 2.0;
        let crop = [cut(own_rows, rows), cut(own_columns, columns)].map(|cut| cut.floor() as f32);
        let original = [own_rows as f32, own_columns as f32];
        let target = [rows as f32, columns as f32];
        for (name, values) in TUPLES.into_iter().zip([original, crop, target]) {
            let entries = &self.config.entries;
            if (entries.is_empty() || entries.iter().any(|entry| entry == name))
                && !self.sample.tensors.contains_key(name)
            {
                self.sample.put(name, Entry::f32(&[1, 2], values.to_vec()));
            }
        }
        Ok(())
    }

    /// A video. The decoders read files, so it becomes one for as long as that takes.
    fn film(&mut self, member: &Member, draw: &mut Stream) -> Result<(), SampleError> {
        let Some(fit) = self.fit() else {
            return Err(self.wrong(member, "videos need data.source.size, which is not given"));
        };
        let place = self.place(member);
        let kept = tempfile::NamedTempFile::new().and_then(|mut file| {
            file.write_all(&self.bytes(member).map_err(std::io::Error::other)?)?;
            Ok(file)
        });
        let kept = kept.map_err(|source| SampleError::Read { path: place.clone(), source })?;
        // Errors name the member, not the file that is gone.
        let renamed = |error: SampleError| match error {
            SampleError::Unusable { reason, .. } => {
                SampleError::Unusable { place: place.display().to_string(), reason }
            }
            SampleError::Size { expected, got, .. } => SampleError::Size { path: place.clone(), expected, got },
            error => error,
        };
        #[cfg(feature = "openh264")]
        if let Some(film) = crate::data::h264::Film::open(kept.path(), fit).map_err(renamed)? {
            return self.footage(&film, member, draw).map_err(renamed);
        }
        let ffmpeg = &self.config.ffmpeg;
        let probe = Probe::new(ffmpeg, kept.path()).map_err(renamed)?;
        self.footage(&Film { ffmpeg, path: kept.path(), probe, fit }, member, draw).map_err(renamed)
    }

    /// Puts a clip of the frames where clips are cut, and else all of them.
    fn footage(&mut self, footage: &dyn Footage, member: &Member, draw: &mut Stream) -> Result<(), SampleError> {
        if self.clip.is_some() {
            let cut = self.cut(footage, member, draw)?;
            self.take(cut);
            return Ok(());
        }
        let numbers: Vec<usize> = (0..footage.num_frames()).collect();
        let image = self.stacked(&footage.frames(&numbers)?, member)?;
        self.sample.put(IMAGE, image);
        Ok(())
    }

    fn cut(&self, footage: &dyn Footage, member: &Member, draw: &mut Stream) -> Result<Sample, SampleError> {
        let Some(clip) = &self.clip else { return Err(self.wrong(member, "no clip is wanted")) };
        clip::cut(footage, &self.place(member).display().to_string(), [0.0, f64::INFINITY], clip, draw)
    }

    fn take(&mut self, cut: Sample) {
        self.sample.frames = cut.frames;
        self.sample.tensors.extend(cut.tensors);
        self.sample.integers.extend(cut.integers);
    }

    /// The sample, with what all clips have, if it has all that is wanted.
    fn finished(self) -> Result<Sample, SampleError> {
        let mut sample = self.sample;
        let rows = sample.tensors.get(IMAGE).map_or(1, |image| image.shape[0]);
        if rows > 1 && !sample.integers.contains_key("num_video_frames") {
            sample.integers.insert("num_video_frames".to_owned(), rows);
        }
        sample.frames = sample.integers.get("num_video_frames").copied().unwrap_or(rows);
        if !(1..=FRAMES_MAX).contains(&sample.frames) {
            let place = format!("{}: {}", self.shard.display(), self.stored.key);
            let reason = format!("num_video_frames is {}, and at most {FRAMES_MAX} are read", sample.frames);
            return Err(SampleError::Unusable { place, reason });
        }
        if rows > 1 && !sample.tensors.contains_key("image_only_indicator") {
            let indicator = Entry::f32(&[1, sample.frames], vec![0.0; sample.frames as usize]);
            sample.put("image_only_indicator", indicator);
        }
        let entries = &self.config.entries;
        if let Some(missing) =
            entries.iter().find(|name| !sample.tensors.contains_key(*name) && !sample.texts.contains_key(*name))
        {
            let place = format!("{}: {}", self.shard.display(), self.stored.key);
            return Err(SampleError::Unusable { place, reason: format!("the sample has no {missing:?}") });
        }
        Ok(sample)
    }
}

/// Pictures of a sample as footage: only those of the clip are read and decoded.
struct Pictures<'r, 'a> {
    reader: &'r Reader<'a>,
    members: &'r [&'a Member],
    fps: f64,
}

impl Footage for Pictures<'_, '_> {
    fn num_frames(&self) -> usize {
        self.members.len()
    }

    fn fps(&self) -> f64 {
        self.fps
    }

    fn frames(&self, numbers: &[usize]) -> Result<Vec<RgbImage>, SampleError> {
        numbers.iter().map(|&number| self.reader.picture(self.members[number])).collect()
    }
}
