//! Pictures and videos to sample from, as the command line names them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anneal::assemble::{GivenScene, GivenValues, GivenVideo, SavedRun, TrainedRun};
use anneal::config::FfmpegConfig;
use anneal::data::Batch;
use anneal::data::given::{
    Form, Framing, GivenError, Layout, ViewsLayout, clip_scene, picture_paths, planes_of, read_picture, read_video,
    views_scene,
};
use anneal::generation::{Scheme, Window, plan};
use clap::{Args, ValueEnum};
use image::RgbImage;
use tch::Tensor;

use super::Steps;
use crate::exit::{Exit, Failure};

/// Scenes of the data source when nothing else is said.
const NUM_SCENES: u64 = 4;
/// The longest side of a picture, as in configs.
const SIDE_MAX: u32 = 4096;

/// What to sample from.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "What to sample from")]
pub struct GivenArgs {
    /// A picture to sample from, or a folder of pictures. May be repeated. It is scaled to cover the model's size and cropped
    /// around its middle; what is transparent becomes white.
    #[arg(long = "image", value_name = "PATH", conflicts_with = "video")]
    images: Vec<PathBuf>,
    /// A video to make other views of: a folder of numbered images, a GIF or WebP, or any video through ffmpeg.
    #[arg(long, value_name = "PATH")]
    video: Option<PathBuf>,
    /// Crops or pads so that the longer side of what is not white takes this share of the picture.
    #[arg(long, value_name = "SHARE")]
    fill_ratio: Option<f64>,
    /// Frames a second that a clip is to have (the entry `fps_id`).
    #[arg(long, value_name = "FPS", conflicts_with = "video")]
    frames_per_second: Option<f64>,
    /// How much is to move in a clip, 0 to 255 (the entry `motion_bucket_id`).
    #[arg(long, value_name = "N", conflicts_with = "video", value_parser = clap::value_parser!(u32).range(0..=255))]
    motion_bucket: Option<u32>,
    /// Standard deviation of the noise on the conditioning picture; the config's if not given.
    #[arg(long, value_name = "SIGMA")]
    cond_aug: Option<f64>,
    /// The value of another entry that the model reads: a number, a class (counted from 0), a text, or ROWS,COLUMNS. May be
    /// repeated, once an entry. Without a picture or a video the samples are made of these values alone.
    #[arg(long = "condition", value_name = "ENTRY=VALUE", value_parser = entry_and_value)]
    conditions: Vec<(String, String)>,
    /// Rows and columns of samples that are made without a picture or a video; those of the run's data if not given.
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = size, conflicts_with_all = ["images", "video"])]
    size: Option<[u32; 2]>,
    /// Elevations of the views, degrees over the horizon: one for all, or one a view; with a video also the input's own and
    /// then one a view. Those of the data source if not given.
    #[arg(long, value_name = "DEG,..", value_delimiter = ',', allow_hyphen_values = true)]
    elevations: Option<Vec<f64>>,
    /// Azimuths of the views, degrees counter-clockwise seen from above, one a view, the input's own among them for an orbit.
    /// Those of the data source if not given.
    #[arg(long, value_name = "DEG,..", value_delimiter = ',', allow_hyphen_values = true)]
    azimuths: Option<Vec<f64>>,
    /// A folder with a picture of each view of the video's first frame, in the order of the views.
    #[arg(long, value_name = "FOLDER", requires = "video", conflicts_with = "orbit_run")]
    reference_views: Option<PathBuf>,
    /// A run of an orbit model, which makes those views from the video's first frame.
    #[arg(long, value_name = "RUN", requires = "video")]
    orbit_run: Option<PathBuf>,
    /// How windows of a long video follow each other; anchored with the views of the first frame, else rolling.
    #[arg(long, value_enum, requires = "video")]
    windows: Option<Windows>,
    /// Takes so many frames of the video at most.
    #[arg(long, value_name = "N", requires = "video")]
    video_frames: Option<usize>,
    /// Takes every n-th frame of the video.
    #[arg(long, value_name = "N", requires = "video", default_value_t = 1)]
    video_stride: usize,
}

/// How windows follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Windows {
    /// Frames spread over the video first, then those between two of them, from both ends (SV4D).
    Anchored,
    /// One after another, each from the last frame of the one before it (SV4D 2.0).
    Rolling,
}

fn entry_and_value(text: &str) -> Result<(String, String), String> {
    let (entry, value) = text.split_once('=').ok_or("it has no `=`")?;
    Ok((entry.to_owned(), value.to_owned()))
}

fn size(text: &str) -> Result<[u32; 2], String> {
    let length = |text: &str| text.parse().ok().filter(|length| (1..=SIDE_MAX).contains(length));
    let pair = text.split_once('x').and_then(|(rows, columns)| Some([length(rows)?, length(columns)?]));
    pair.ok_or_else(|| format!("it is not two numbers from 1 to {SIDE_MAX} with an `x` between them"))
}

/// What is asked for.
pub enum Request {
    /// Scenes of the data source.
    Source(Batch),
    /// Scenes of values alone.
    Values(ValuesRequest),
    /// Pictures.
    Pictures(Vec<PictureRequest>),
    /// All views of a video.
    Video(VideoRequest),
}

/// Samples of values alone.
pub struct ValuesRequest {
    pub scene: GivenScene,
    pub num: u64,
    pub caption: String,
}

/// A sample of a picture.
pub struct PictureRequest {
    pub scene: GivenScene,
    pub sample_id: u64,
    pub caption: String,
    /// The given picture's place among the views, where it is one of them.
    pub cond_idx: Option<usize>,
    pub num_views: usize,
}

/// Samples of a video.
pub struct VideoRequest {
    pub num: u64,
    pub caption: String,
    pub views: ViewsLayout,
    frames: Vec<RgbImage>,
    first_views: Option<Vec<RgbImage>>,
    windows: Vec<Window>,
    values: GivenValues,
}

impl GivenArgs {
    /// The noise on conditioning pictures, where it is given.
    pub fn cond_aug(&self) -> Option<f64> {
        self.cond_aug
    }

    /// The run of an orbit model, where it is given.
    pub fn orbit_run(&self) -> Option<&Path> {
        self.orbit_run.as_deref()
    }

    /// Reads what is given and brings it into the form of the run's scenes.
    pub fn request(&self, saved: &SavedRun, num: Option<u64>, ffmpeg: &FfmpegConfig) -> Result<Request, Failure> {
        self.refuse_repeated()?;
        if self.images.is_empty() && self.video.is_none() {
            self.refuse_without_pictures()?;
            if self.gives_values() {
                return self.of_values(saved, num.unwrap_or(1)).map(Request::Values);
            }
            return Ok(Request::Source(saved.source_batch(num.unwrap_or(NUM_SCENES) as usize)?));
        }
        let layout = saved.layout()?;
        let framing = Framing::new(layout.size, self.fill_ratio)?;
        let num = num.unwrap_or(1);
        match (&self.video, &layout.form) {
            (Some(video), Form::Views(views)) if views.num_times > 1 => {
                let views = views.clone().seen_from(self.elevations.as_deref(), self.azimuths.as_deref())?;
                self.video(video, views, framing, ffmpeg, saved, num).map(Request::Video)
            }
            (None, Form::Clip(_)) if self.elevations.is_some() || self.azimuths.is_some() => {
                Err(Self::misfit(&layout, "it has no --elevations and --azimuths"))
            }
            (None, form) if !matches!(form, Form::Views(views) if views.num_times > 1) => {
                self.pictures(&layout, framing, saved, num).map(Request::Pictures)
            }
            (Some(_), _) => Err(Self::misfit(&layout, "give a picture by --image")),
            (None, _) => Err(Self::misfit(&layout, "give a video by --video")),
        }
    }

    fn misfit(layout: &Layout, remedy: &str) -> Failure {
        GivenError::OtherForm { makes: layout.makes(), remedy: remedy.to_owned() }.into()
    }

    /// What is said of pictures and cameras is for nothing without a picture.
    fn refuse_without_pictures(&self) -> Result<(), Failure> {
        let flags = [
            ("--fill-ratio", self.fill_ratio.is_some()),
            ("--elevations", self.elevations.is_some()),
            ("--azimuths", self.azimuths.is_some()),
        ];
        match flags.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Failure::new(Exit::Usage, format!("{flag} is for --image and --video; give one"))),
            None => Ok(()),
        }
    }

    /// Of two values of one entry, none would be better than the other.
    fn refuse_repeated(&self) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        match self.conditions.iter().find(|(entry, _)| !seen.insert(entry)) {
            Some((entry, _)) => {
                Err(Failure::new(Exit::Usage, format!("--condition {entry}=.. is given more than once")))
            }
            None => Ok(()),
        }
    }

    /// Whether a scene is described, and not only how scenes are sampled.
    fn gives_values(&self) -> bool {
        let of_clips = self.frames_per_second.is_some() || self.motion_bucket.is_some();
        !self.conditions.is_empty() || self.size.is_some() || of_clips
    }

    fn of_values(&self, saved: &SavedRun, num: u64) -> Result<ValuesRequest, Failure> {
        let values = self.values(saved);
        let scene = GivenScene::of_values(&saved.blank(self.size)?, &values, saved.config())?;
        let lines: Vec<String> = values.iter().map(|(entry, value)| format!("{entry}: {value}")).collect();
        Ok(ValuesRequest { scene, num, caption: lines.join("\n") })
    }

    /// Values of entries by name.
    fn values(&self, saved: &SavedRun) -> GivenValues {
        let mut values: GivenValues = self.conditions.iter().cloned().collect();
        // As SVD counts.
        values.extend(self.frames_per_second.map(|fps| ("fps_id".to_owned(), (fps - 1.0).to_string())));
        values.extend(self.motion_bucket.map(|bucket| ("motion_bucket_id".to_owned(), bucket.to_string())));
        let cond_aug = self.cond_aug.filter(|_| saved.reads("cond_aug"));
        values.extend(cond_aug.map(|sigma| ("cond_aug".to_owned(), sigma.to_string())));
        values
    }

    fn pictures(
        &self,
        layout: &Layout,
        framing: Framing,
        saved: &SavedRun,
        num: u64,
    ) -> Result<Vec<PictureRequest>, Failure> {
        let values = self.values(saved);
        let form = match &layout.form {
            Form::Clip(clip) => Form::Clip(clip.clone()),
            Form::Views(views) => {
                Form::Views(views.clone().seen_from(self.elevations.as_deref(), self.azimuths.as_deref())?)
            }
        };
        let mut requests = Vec::new();
        for given in &self.images {
            for path in picture_paths(given)? {
                let picture = read_picture(&path, framing)?;
                let (sample, cond_idx, num_views) = match &form {
                    Form::Clip(clip) => (clip_scene(&picture, clip), None, 1),
                    Form::Views(views) => {
                        let planes = planes_of(std::slice::from_ref(&picture));
                        (views_scene(layout.size, planes, None, views), views.cond_idx, views.places.len())
                    }
                };
                let scene = GivenScene::new(sample, &values, saved.config())?;
                let request = |sample_id| PictureRequest {
                    scene: scene.clone(),
                    sample_id,
                    caption: path.display().to_string(),
                    cond_idx,
                    num_views,
                };
                requests.extend((0..num).map(request));
            }
        }
        Ok(requests)
    }

    fn video(
        &self,
        path: &Path,
        views: ViewsLayout,
        framing: Framing,
        ffmpeg: &FfmpegConfig,
        saved: &SavedRun,
        num: u64,
    ) -> Result<VideoRequest, Failure> {
        let frames = read_video(path, framing, self.video_stride, self.video_frames, ffmpeg)?;
        let first_views = self.reference_views.as_ref().map(|folder| reference_views(folder, &views, framing));
        let first_views = first_views.transpose()?.map(|pictures| with_input(pictures, &views, &frames[0]));
        let given = first_views.is_some() || self.orbit_run.is_some();
        let scheme = match self.windows {
            Some(Windows::Anchored) => Scheme::Anchored,
            Some(Windows::Rolling) => Scheme::Rolling,
            None if given => Scheme::Anchored,
            None => Scheme::Rolling,
        };
        let windows = plan(scheme, frames.len(), views.num_times, given)
            .map_err(|error| Failure::new(Exit::Data, format!("{}: {error}", path.display())))?;
        let caption = format!("{}: {} frames in {} windows", path.display(), frames.len(), windows.len());
        let values = self.values(saved);
        Ok(VideoRequest { num, caption, views, frames, first_views, windows, values })
    }
}

/// The pictures of a folder, one a view.
fn reference_views(folder: &Path, views: &ViewsLayout, framing: Framing) -> Result<Vec<RgbImage>, GivenError> {
    let paths = picture_paths(folder)?;
    if paths.len() != views.places.len() {
        let expected = format!("{} views", views.places.len());
        return Err(GivenError::Count { what: "reference views", got: paths.len(), expected });
    }
    paths.iter().map(|path| read_picture(path, framing)).collect()
}

/// The views of the first frame, the input's own among them being that frame.
fn with_input(mut pictures: Vec<RgbImage>, views: &ViewsLayout, first: &RgbImage) -> Vec<RgbImage> {
    if let Some(view) = views.cond_idx {
        pictures[view] = first.clone();
    }
    pictures
}

impl Request {
    /// The same with the views of the video's first frame from an orbit.
    pub fn with_orbit(self, layout: &Layout, mut orbit: TrainedRun, steps: &mut Steps<'_>) -> Result<Self, Failure> {
        let Request::Video(mut video) = self else { return Ok(self) };
        let elevation = video.views.cond_place.elevation.to_degrees();
        let mut progress = |step, total, sigma| steps.done(step, total, sigma);
        let made = orbit.orbit_views(layout, &video.frames[0], &video.views.places, elevation, &mut progress)?;
        let numbers: Vec<String> = made.iter().map(|(view, _)| view.to_string()).collect();
        tracing::info!("reference views are views {} of the orbit", numbers.join(", "));
        let size = [video.frames[0].height(), video.frames[0].width()];
        let pictures = made.into_iter().map(|(_, picture)| picture).collect();
        let pictures = Framing { size, fill_ratio: None }.apply(pictures);
        video.first_views = Some(with_input(pictures, &video.views, &video.frames[0]));
        Ok(Request::Video(video))
    }
}

impl VideoRequest {
    /// Sample `sample_id` of the video, as the engine takes it.
    pub fn asked(&self, sample_id: u64) -> GivenVideo<'_> {
        GivenVideo {
            frames: &self.frames,
            views: &self.views,
            first_views: self.first_views.as_deref(),
            windows: &self.windows,
            values: &self.values,
            sample_id,
        }
    }

    /// The video's frames, `[t, 3, h, w]`.
    pub fn tensor(&self) -> Tensor {
        let (rows, columns) = (i64::from(self.frames[0].height()), i64::from(self.frames[0].width()));
        Tensor::from_slice(&planes_of(&self.frames)).view([-1, 3, rows, columns])
    }
}
