//! Samples to files.

use std::path::{Path, PathBuf};

use anneal::config::{ClipFormat, FfmpegConfig, LoggingConfig};
use anneal::logging::{
    FrameFormat, LogError, Row, SceneFiles, check_ffmpeg, clip_frames, contact_sheet, grid, pictures, write_clip,
    write_png,
};
use clap::{Args, ValueEnum};
use tch::Tensor;

use crate::exit::{Exit, Failure};

/// What is written.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "What is written")]
pub struct OutputArgs {
    /// The form of frames and clips. May be repeated. The config's `logging.clip_format` if not given.
    #[arg(long = "format", value_enum)]
    formats: Vec<Format>,
    /// Frames a second of clips; the config's `logging.clip_fps` if not given.
    #[arg(long, value_name = "FPS")]
    clip_fps: Option<f64>,
    /// The ffmpeg program, for videos and mp4 files.
    #[arg(long, value_name = "PROGRAM", default_value = "ffmpeg")]
    ffmpeg: PathBuf,
}

/// A form of frames and clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A folder of numbered PNG files.
    Png,
    /// Animated GIF, 256 colours a frame.
    Gif,
    /// Animated WebP, lossless.
    Webp,
    /// Through an ffmpeg program.
    Mp4,
}

/// What was sampled.
pub struct Results {
    /// What the samples were made from, by label, `[b*r, c, h, w]`.
    pub rows: Vec<(String, Tensor)>,
    /// The samples, `[b*t*v, c, h, w]`.
    pub samples: Tensor,
    /// What moves beside the samples, where they have something to be compared with.
    pub beside: Option<Tensor>,
    /// A text a scene.
    pub captions: Vec<String>,
    pub num_scenes: usize,
    pub num_views: usize,
}

impl OutputArgs {
    /// The program that decodes videos.
    pub fn ffmpeg(&self) -> FfmpegConfig {
        FfmpegConfig { program: self.ffmpeg.clone(), ..FfmpegConfig::default() }
    }

    /// Whether what is asked for can be written, before anything is sampled.
    pub fn check(&self) -> Result<(), Failure> {
        if let Some(fps) = self.clip_fps.filter(|fps| !(*fps > 0.0 && *fps <= 100.0)) {
            return Err(Failure::new(Exit::Usage, format!("--clip-fps {fps} is not above 0 and at most 100")));
        }
        if self.formats.contains(&Format::Mp4) {
            check_ffmpeg(&self.ffmpeg)?;
        }
        Ok(())
    }

    /// Writes all of it; the path of the sheet.
    pub fn write(&self, results: &Results, logging: &LoggingConfig, out: &Path) -> Result<PathBuf, LogError> {
        let fps = self.clip_fps.unwrap_or(logging.clip_fps);
        let formats = self.formats.iter().map(|format| match format {
            Format::Png => FrameFormat::Png,
            Format::Gif => FrameFormat::Clip(ClipFormat::Gif),
            Format::Webp => FrameFormat::Clip(ClipFormat::Webp),
            Format::Mp4 => FrameFormat::Mp4,
        });
        let mut formats: Vec<FrameFormat> = formats.collect();
        if formats.is_empty() {
            formats.push(FrameFormat::Clip(logging.clip_format));
        }
        let scenes = results.num_scenes.max(1);
        let frames = (results.samples.size()[0] as usize / scenes).max(1);
        let is_matrix = results.num_views > 1 && frames > results.num_views;

        let sheet = out.join("sheet.png");
        let labelled = results.labelled(is_matrix);
        let rows: Vec<Row> = labelled.iter().map(|(label, pictures)| Row { label, pictures }).collect();
        write_png(&contact_sheet(&rows, &results.captions, results.num_scenes), &sheet)?;
        let columns = match frames {
            1 => (scenes as f64).sqrt().ceil() as usize,
            _ if is_matrix => results.num_views,
            _ => frames,
        };
        write_png(&grid(&results.samples, columns), &out.join("samples.png"))?;

        let files = SceneFiles { formats, fps, ffmpeg: self.ffmpeg.clone() };
        for (scene, of_scene) in pictures(&results.samples).chunks(frames).enumerate() {
            files.write(of_scene, results.num_views, out, &format!("sample-{scene}"))?;
        }
        if let Some(inputs) = results.beside.as_ref().filter(|_| frames > 1 && !is_matrix) {
            let both =
                [Row { label: "inputs", pictures: inputs }, Row { label: "samples", pictures: &results.samples }];
            let path = out.join("beside-inputs").with_extension(logging.clip_format.extension());
            write_clip(&clip_frames(&both, scenes), fps, logging.clip_format, &path)?;
        }
        Ok(sheet)
    }
}

impl Results {
    /// The lines of a sheet: what was given, and the samples, with views over times a line a view.
    fn labelled(&self, is_matrix: bool) -> Vec<(String, Tensor)> {
        let mut rows: Vec<(String, Tensor)> =
            self.rows.iter().map(|(label, pictures)| (label.clone(), pictures.shallow_clone())).collect();
        if !is_matrix {
            rows.push(("samples".to_owned(), self.samples.shallow_clone()));
            return rows;
        }
        let views = self.num_views as i64;
        let by_view = self.samples.unflatten(0, [-1, views].as_slice()); // [b*t*v, ..] -> [b*t, v, ..]
        rows.extend((0..views).map(|view| (format!("view {view}"), by_view.select(1, view))));
        rows
    }
}
