//! The pictures of a sampled scene as files: frames, clips, and the grid of views by times.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::LogError;
use super::clip::write_clip;
use super::mp4::write_mp4;
use super::picture::{below, beside, overview, write_png};
use crate::config::ClipFormat;

/// A form in which the frames of a clip are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFormat {
    /// A folder of numbered PNG files.
    Png,
    /// One animated file.
    Clip(ClipFormat),
    /// One mp4 file, through ffmpeg.
    Mp4,
}

/// How scenes are written.
#[derive(Debug, Clone)]
pub struct SceneFiles {
    /// The forms, each of which is written.
    pub formats: Vec<FrameFormat>,
    /// Frames a second of clips.
    pub fps: f64,
    /// The ffmpeg program.
    pub ffmpeg: PathBuf,
}

impl SceneFiles {
    /// Writes a scene of `num_views` views as files in `folder` that begin with `name`, pictures in their own size. Returns
    /// what was written.
    ///
    /// One picture is a PNG file. Frames of one view, or views of one time, are one clip. Views over times are a clip a view,
    /// and a grid: a PNG with a line a view, and clips of all views beside each other.
    ///
    /// # Panics
    /// When the pictures `(t v)` are no whole number of times.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(
        &self,
        pictures: &[RgbImage],
        num_views: usize,
        folder: &Path,
        name: &str,
    ) -> Result<Vec<PathBuf>, LogError> {
        let num_times = pictures.len() / num_views.max(1);
        assert_eq!(pictures.len(), num_times * num_views, "pictures of {num_views} views");
        let mut written = Vec::new();
        if let [picture] = pictures {
            let path = folder.join(format!("{name}.png"));
            write_png(picture, &path)?;
            return Ok(vec![path]);
        }
        if num_times == 1 || num_views == 1 {
            self.write_frames(pictures, folder, name, &mut written)?;
            return Ok(written);
        }
        let of_view = |view: usize| pictures.iter().skip(view).step_by(num_views);
        for view in 0..num_views {
            let frames: Vec<RgbImage> = of_view(view).cloned().collect();
            self.write_frames(&frames, folder, &format!("{name}-view-{view:02}"), &mut written)?;
        }
        let line = |view: usize| beside(&of_view(view).map(overview).collect::<Vec<_>>());
        let grid = folder.join(format!("{name}-grid.png"));
        write_png(&below(&(0..num_views).map(line).collect::<Vec<_>>()), &grid)?;
        written.push(grid);
        let together: Vec<RgbImage> = pictures.chunks(num_views).map(beside).collect();
        let clips = Self { formats: self.clip_formats(), ..self.clone() };
        clips.write_frames(&together, folder, &format!("{name}-grid"), &mut written)?;
        Ok(written)
    }

    /// The formats that are one file.
    fn clip_formats(&self) -> Vec<FrameFormat> {
        self.formats.iter().copied().filter(|format| *format != FrameFormat::Png).collect()
    }

    fn write_frames(
        &self,
        frames: &[RgbImage],
        folder: &Path,
        name: &str,
        written: &mut Vec<PathBuf>,
    ) -> Result<(), LogError> {
        for format in &self.formats {
            let with_ending = |ending: &str| folder.join(format!("{name}.{ending}"));
            let path = match format {
                FrameFormat::Png => {
                    let folder = folder.join(name);
                    for (number, frame) in frames.iter().enumerate() {
                        write_png(frame, &folder.join(format!("{number:04}.png")))?;
                    }
                    folder
                }
                FrameFormat::Clip(format) => {
                    let path = with_ending(format.extension());
                    write_clip(frames, self.fps, *format, &path)?;
                    path
                }
                FrameFormat::Mp4 => {
                    let path = with_ending("mp4");
                    write_mp4(frames, self.fps, &self.ffmpeg, &path)?;
                    path
                }
            };
            written.push(path);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use image::{AnimationDecoder, Rgb};

    use super::*;

    fn grey(value: u8) -> RgbImage {
        RgbImage::from_pixel(8, 6, Rgb([value; 3]))
    }

    fn files(formats: &[FrameFormat]) -> SceneFiles {
        SceneFiles { formats: formats.to_vec(), fps: 5.0, ffmpeg: "no-such-program".into() }
    }

    fn written(files: &SceneFiles, pictures: &[RgbImage], num_views: usize, folder: &Path) -> Vec<String> {
        let written = files.write(pictures, num_views, folder, "sample-0").unwrap();
        written.iter().map(|path| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_format_is_read_again_in_its_own_size() {
        let folder = tempfile::tempdir().unwrap();
        let formats = [FrameFormat::Png, FrameFormat::Clip(ClipFormat::Gif), FrameFormat::Clip(ClipFormat::Webp)];
        let pictures: Vec<RgbImage> = (0..3).map(|i| grey(50 * i)).collect();
        let names = written(&files(&formats), &pictures, 1, folder.path());
        assert_eq!(names, ["sample-0", "sample-0.gif", "sample-0.webp"]);
        for (i, picture) in pictures.iter().enumerate() {
            let path = folder.path().join(format!("sample-0/000{i}.png"));
            assert_eq!(&image::open(path).unwrap().into_rgb8(), picture);
        }
        let open = |name: &str| std::io::BufReader::new(std::fs::File::open(folder.path().join(name)).unwrap());
        let gif = image::codecs::gif::GifDecoder::new(open("sample-0.gif")).unwrap().into_frames();
        let webp = image::codecs::webp::WebPDecoder::new(open("sample-0.webp")).unwrap().into_frames();
        for frames in [gif.collect_frames().unwrap(), webp.collect_frames().unwrap()] {
            let greys: Vec<u8> = frames.iter().map(|frame| frame.buffer().get_pixel(7, 5).0[0]).collect();
            assert_eq!((greys, frames[0].buffer().dimensions()), (vec![0, 50, 100], (8, 6)));
        }
        assert_eq!(written(&files(&[FrameFormat::Png]), &pictures[..1], 1, folder.path()), ["sample-0.png"]);
        let error = files(&[FrameFormat::Mp4]).write(&pictures, 1, folder.path(), "a").unwrap_err().to_string();
        assert!(error.contains("a.mp4") && error.contains("install ffmpeg"), "{error}");
    }

    #[test]
    fn views_over_times_have_a_clip_each_and_a_grid() {
        let folder = tempfile::tempdir().unwrap();
        // Three times of two views; view 1 is brighter by 100.
        let pictures: Vec<RgbImage> = (0..6).map(|i| grey(i / 2 * 20 + i % 2 * 100)).collect();
        let names =
            written(&files(&[FrameFormat::Png, FrameFormat::Clip(ClipFormat::Gif)]), &pictures, 2, folder.path());
        let views = ["sample-0-view-00", "sample-0-view-00.gif", "sample-0-view-01", "sample-0-view-01.gif"];
        assert_eq!(names, [&views[..], &["sample-0-grid.png", "sample-0-grid.gif"]].concat());
        let at = |time: u32| image::open(folder.path().join(format!("sample-0-view-01/000{time}.png"))).unwrap();
        assert_eq!([0, 1, 2].map(|time| at(time).into_rgb8().get_pixel(0, 0).0[0]), [100, 120, 140]);
        let grid = image::open(folder.path().join("sample-0-grid.png")).unwrap().into_rgb8();
        let (line, column) = ((grid.height() + 2) / 2, (grid.width() + 2).div_euclid(3));
        assert_eq!(grid.get_pixel(2 * column + 1, line + 1).0, [140; 3], "a line a view, a column a time");
        assert_eq!(image::open(folder.path().join("sample-0-grid.gif")).unwrap().into_rgb8().dimensions(), (18, 6));
    }
}
