//! The `video-dir` and `video-list` sources: clips of videos, with their rate, motion and caption.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anneal_torch::random::Stream;
use image::RgbImage;
use serde::Deserialize;

use super::ffmpeg::{Film, Probe};
use super::footage::{Fit, Footage, ImageFiles, nearest};
use super::frames_dir::{entries, is_image, numbered};
use super::source::of_file;
use super::threads::side_by_side;
use super::visits::{Visit, Visits};
use super::{DataError, Sample, SampleError, Source, animation, clip, footage, pixels};
use crate::bounded::{self, TEXT_MAX};
use crate::config::{BadSample, ClipConfig, FfmpegConfig, VideoDirConfig, VideoListConfig};

/// Bytes of a list of clips: some ten million lines. A device would be read without end.
const CLIPS_MAX: u64 = 4 << 30;

/// Endings of files that ffmpeg is asked to read.
const FILMS: [&str; 10] = ["mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "y4m", "ts"];
/// Endings of files that hold an animation.
const ANIMATIONS: [&str; 3] = ["gif", "webp", "apng"];
/// Folders in folders, so that a link to a folder above ends somewhere.
const DEPTH_MAX: usize = 16;

/// Videos, a clip of each an epoch, and one of each length where there are several.
///
/// A sample has what [`clip::cut`] says: `image`, `cond_image`, `fps_id`, `motion_bucket_id`, `image_only_indicator`
/// and `num_video_frames`; the text `clip`, the video's name; and with captions the text `caption`.
pub struct Videos {
    kind: &'static str,
    videos: Vec<Video>,
    captions: bool,
    clip: ClipConfig,
    /// Rows and columns; the first are those of videos whose shape is not known.
    sizes: Vec<[u32; 2]>,
    /// Which video a sample is of, in which size and length.
    visits: Visits,
    images_fps: f64,
    ffmpeg: FfmpegConfig,
}

/// A video and what the list says of it.
struct Video {
    path: PathBuf,
    name: String,
    form: Form,
    said: Said,
}

/// How frames are had.
enum Form {
    /// Image files, in order.
    Images(Vec<PathBuf>),
    /// A file that the `image` crate reads.
    Animation,
    /// A file that ffmpeg reads; what it says of itself is kept from the first time on.
    Film(OnceLock<Probe>),
}

/// A line of a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    path: PathBuf,
    caption: Option<String>,
    start_s: Option<f64>,
    end_s: Option<f64>,
    fps: Option<f64>,
    motion_bucket_id: Option<u32>,
}

impl Video {
    /// Where in it clips are cut from.
    fn seconds(&self) -> [f64; 2] {
        [self.said.start_s.unwrap_or(0.0), self.said.end_s.unwrap_or(f64::INFINITY)]
    }
}

impl Videos {
    /// Finds the videos below a folder.
    ///
    /// # Errors
    /// When a folder cannot be read, there is no video, or (with `fail`) the first cannot be read.
    pub fn in_folder(config: &VideoDirConfig, on_bad: BadSample) -> Result<Self, DataError> {
        let mut videos = Vec::new();
        find(&config.path, &config.path, DEPTH_MAX, &mut videos)?;
        let source = Self {
            kind: "video-dir",
            videos,
            captions: config.captions,
            clip: config.clip.clone(),
            sizes: [&[config.size], &config.sizes[..]].concat(),
            visits: Visits::default(),
            images_fps: config.images_fps,
            ffmpeg: config.ffmpeg.clone(),
        };
        let wanted =
            format!("no video ({}, {}) and no folder of images in it", FILMS.join(", "), ANIMATIONS.join(", "));
        source.checked(&config.path, wanted, on_bad)
    }

    /// Reads the list, and looks whether its videos are there.
    ///
    /// # Errors
    /// When the list cannot be read, a line of it is malformed, a video is not there, or (with `fail`) the first cannot
    /// be read.
    pub fn in_list(config: &VideoListConfig, on_bad: BadSample) -> Result<Self, DataError> {
        let text = bounded::read_text(&config.path, CLIPS_MAX)
            .map_err(|source| DataError::Read { path: config.path.clone(), source })?;
        let folder = config.path.parent().unwrap_or(Path::new(""));
        let mut videos = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{}:{}", config.path.display(), number + 1);
            let said = said(line.trim()).map_err(|reason| DataError::Unusable { place: place.clone(), reason })?;
            let path = folder.join(&said.path);
            let form = form(&path).map_err(|error| {
                let fetched = path.parent().is_some_and(|folder| folder.ends_with("data/clips")) && !path.exists();
                let remedy = if fetched { "; run `cargo xtask data`, which fetches the clips" } else { "" };
                DataError::Unusable { place, reason: format!("{error}{remedy}") }
            })?;
            videos.push(Video { path, name: said.path.to_string_lossy().into_owned(), form, said });
        }
        let source = Self {
            kind: "video-list",
            captions: videos.iter().any(|video| video.said.caption.is_some()),
            videos,
            clip: config.clip.clone(),
            sizes: [&[config.size], &config.sizes[..]].concat(),
            visits: Visits::default(),
            images_fps: config.images_fps,
            ffmpeg: config.ffmpeg.clone(),
        };
        if let Some(video) = source.videos.iter().find(|video| source.captions && video.said.caption.is_none()) {
            let reason = format!("{} has no `caption`, but other videos of the list have one", video.name);
            return Err(DataError::Unusable { place: config.path.display().to_string(), reason });
        }
        source.checked(&config.path, "the list names no video".to_owned(), on_bad)
    }

    fn checked(mut self, path: &Path, wanted: String, on_bad: BadSample) -> Result<Self, DataError> {
        clip::check(&self.clip)?;
        footage::check(&self.sizes)?;
        if self.videos.is_empty() {
            return Err(DataError::Empty { path: path.to_owned(), wanted });
        }
        let num_lengths = self.clip.all_lengths().len();
        let sizes = (self.sizes.len() > 1)
            .then(|| self.of_each(on_bad, 0, |video| Ok(nearest(&self.sizes, self.own_size(video)?))))
            .transpose()?;
        let lengths =
            (num_lengths > 1).then(|| self.of_each(on_bad, vec![0], |video| self.lengths(video))).transpose()?;
        self.visits = Visits::new(self.videos.len(), sizes, lengths, num_lengths);
        if on_bad == BadSample::Fail {
            self.sample(0, &mut Stream::new(0, "augment", 0, 0))?;
        }
        Ok(self)
    }

    /// What `read` says of each video. One that cannot be read has what is given for it, to be a bad sample when its turn comes.
    fn of_each<T: Clone + Send>(
        &self,
        on_bad: BadSample,
        unread: T,
        read: impl Fn(&Video) -> Result<T, SampleError> + Sync,
    ) -> Result<Vec<T>, SampleError> {
        let known = |said: Result<T, SampleError>| match (said, on_bad) {
            (Err(error), BadSample::Fail) => Err(error),
            (said, _) => Ok(said.unwrap_or_else(|_| unread.clone())),
        };
        side_by_side(&self.videos, read).into_iter().map(known).collect()
    }

    /// Indices of the lengths that a video has frames for.
    fn lengths(&self, video: &Video) -> Result<Vec<u32>, SampleError> {
        let lengths = |num_frames: usize, fps: f64| {
            clip::lengths(num_frames, video.said.fps.unwrap_or(fps), video.seconds(), &self.clip)
        };
        Ok(match &video.form {
            Form::Images(paths) => lengths(paths.len(), self.images_fps),
            Form::Animation => {
                let bytes =
                    fs::read(&video.path).map_err(|source| SampleError::Read { path: video.path.clone(), source })?;
                let film = animation::decode(&bytes, None, &video.path)?;
                lengths(film.frames.len(), film.fps)
            }
            Form::Film(known) => {
                #[cfg(feature = "openh264")]
                if let Some(film) = super::h264::Film::open(&video.path, Fit { size: [0; 2], resize: true })? {
                    return Ok(clip::lengths(film.num_frames(), film.fps(), video.seconds(), &self.clip));
                }
                let probe = self.probe(&video.path, known)?;
                clip::lengths(probe.num_frames, probe.fps, video.seconds(), &self.clip)
            }
        })
    }

    /// Rows and columns of a video as it is.
    fn own_size(&self, video: &Video) -> Result<[u32; 2], SampleError> {
        match &video.form {
            Form::Images(paths) => pixels::size(&paths[0]),
            Form::Animation => pixels::size(&video.path),
            Form::Film(known) => {
                #[cfg(feature = "openh264")]
                if let Some(size) = super::h264::Film::open(&video.path, Fit { size: [0; 2], resize: true })?
                    .map(|film| film.own_size())
                {
                    return Ok(size);
                }
                Ok(self.probe(&video.path, known)?.size)
            }
        }
    }

    /// What ffmpeg says of a video; it is asked once.
    fn probe(&self, path: &Path, known: &OnceLock<Probe>) -> Result<Probe, SampleError> {
        if let Some(probe) = known.get() {
            return Ok(*probe);
        }
        // Two workers may both ask; they get the same answer, and nobody waits for the other.
        let probe = Probe::new(&self.ffmpeg, path)?;
        Ok(*known.get_or_init(|| probe))
    }

    /// A clip of a video, in the size `fit` says, of the length of index `length`.
    fn cut(&self, video: &Video, fit: Fit, length: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        let mut clip = clip::of_length(&self.clip, length);
        clip.motion_bucket_id = video.said.motion_bucket_id.or(clip.motion_bucket_id);
        let mut cut = |footage: &dyn Footage| clip::cut(footage, &video.name, video.seconds(), &clip, draw);
        match &video.form {
            Form::Images(paths) => {
                let fps = video.said.fps.unwrap_or(self.images_fps);
                cut(&ImageFiles { paths, fps, fit })
            }
            Form::Animation => {
                let bytes =
                    fs::read(&video.path).map_err(|source| SampleError::Read { path: video.path.clone(), source })?;
                let mut film = animation::decode(&bytes, Some(fit), &video.path)?;
                film.fps = video.said.fps.unwrap_or(film.fps);
                cut(&film)
            }
            Form::Film(known) => {
                #[cfg(feature = "openh264")]
                if let Some(film) = super::h264::Film::open(&video.path, fit)? {
                    return cut(&film);
                }
                let probe = self.probe(&video.path, known)?;
                cut(&Film { ffmpeg: &self.ffmpeg, path: &video.path, probe, fit })
            }
        }
    }
}

impl Source for Videos {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn name(&self, index: usize) -> String {
        self.videos[self.visits.get(index).item].path.display().to_string()
    }

    fn contents(&self) -> Vec<(String, u64)> {
        self.videos.iter().map(|video| (video.name.clone(), of_file(&video.path).1)).collect()
    }

    fn num_samples(&self) -> usize {
        self.visits.len()
    }

    fn buckets(&self) -> Option<&[u32]> {
        self.visits.buckets()
    }

    fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        let Visit { item, size, length } = self.visits.get(index);
        let video = &self.videos[item];
        let mut sample = self.cut(video, Fit { size: self.sizes[size], resize: true }, length, draw)?;
        if self.captions {
            let caption = match &video.said.caption {
                Some(caption) => caption.clone(),
                None => caption_beside(&video.path)?,
            };
            sample.texts.insert("caption".to_owned(), caption);
        }
        sample.texts.insert("clip".to_owned(), video.name.clone());
        Ok(sample)
    }
}

/// The frames that `choose` takes out of all frames of a video, by their numbers, which grow; in the size `fit`, or as they
/// are.
///
/// # Errors
/// When it cannot be read, or needs an ffmpeg program that is not there.
pub(super) fn read_frames(
    path: &Path,
    fit: Option<Fit>,
    ffmpeg: &FfmpegConfig,
    choose: impl Fn(usize) -> Vec<usize>,
) -> Result<Vec<RgbImage>, DataError> {
    let chosen = |footage: &dyn Footage| Ok(footage.frames(&choose(footage.num_frames()))?);
    match form(path)? {
        Form::Images(paths) => match fit {
            Some(fit) => chosen(&ImageFiles { paths: &paths, fps: 1.0, fit }),
            None => Ok(choose(paths.len()).into_iter().map(|i| pixels::read(&paths[i])).collect::<Result<_, _>>()?),
        },
        Form::Animation => {
            let bytes = fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
            chosen(&animation::decode(&bytes, fit, path)?)
        }
        Form::Film(_) => {
            #[cfg(feature = "openh264")]
            {
                let own = Fit { size: [0; 2], resize: true };
                if let Some(film) = super::h264::Film::open(path, fit.unwrap_or(own))? {
                    let size = film.own_size();
                    return chosen(&film.fitted(fit.unwrap_or(Fit { size, resize: false })));
                }
            }
            let probe = Probe::new(ffmpeg, path)?;
            let fit = fit.unwrap_or(Fit { size: probe.size, resize: true });
            chosen(&Film { ffmpeg, path, probe, fit })
        }
    }
}

/// The videos below a folder, in the order of their paths.
fn find(root: &Path, folder: &Path, depth: usize, videos: &mut Vec<Video>) -> Result<(), DataError> {
    for path in entries(folder)? {
        let folder = path.is_dir();
        if folder && !entries(&path)?.iter().any(|path| is_image(path) && !is_animation(path)) {
            if depth > 0 {
                find(root, &path, depth - 1, videos)?;
            }
            continue;
        }
        if folder || has_ending(&path, &FILMS) || is_animation(&path) {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let form = form(&path)?;
            videos.push(Video { path, name, form, said: Said::default() });
        }
    }
    Ok(())
}

fn form(path: &Path) -> Result<Form, DataError> {
    if path.is_dir() {
        let frames = numbered(path)?;
        if frames.is_empty() {
            let wanted = "no images in it".to_owned();
            return Err(DataError::Empty { path: path.to_owned(), wanted });
        }
        return Ok(Form::Images(frames));
    }
    fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    Ok(if is_animation(path) || has_ending(path, &["png"]) { Form::Animation } else { Form::Film(OnceLock::new()) })
}

fn is_animation(path: &Path) -> bool {
    has_ending(path, &ANIMATIONS)
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// A line: a JSON object, or the bare path.
fn said(line: &str) -> Result<Said, String> {
    if !line.starts_with('{') {
        return Ok(Said { path: line.into(), ..Said::default() });
    }
    let said: Said = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if said.fps.is_some_and(|fps| fps <= 0.0) {
        return Err("`fps` is not above 0".to_owned());
    }
    if said.start_s.unwrap_or(0.0) >= said.end_s.unwrap_or(f64::INFINITY) {
        return Err("`start_s` is not before `end_s`".to_owned());
    }
    Ok(said)
}

/// The text of the file with a video's name and the ending `.txt`, on one line.
fn caption_beside(path: &Path) -> Result<String, SampleError> {
    let path = path.with_extension("txt");
    let text = bounded::read_text(&path, TEXT_MAX).map_err(|source| SampleError::Read { path, source })?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
#[path = "videos_tests.rs"]
mod tests;
