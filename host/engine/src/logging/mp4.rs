//! MP4 files through an ffmpeg program, for players that show nothing else.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use image::RgbImage;

use super::LogError;
use super::file::persist;

/// Whether the program can be started.
///
/// # Errors
/// When it cannot, with what to do about it.
pub fn check_ffmpeg(program: &Path) -> Result<(), LogError> {
    let mut command = Command::new(program);
    command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ran = command.status();
    ran.map(|_| ()).map_err(|error| LogError::Encode { path: "mp4".into(), reason: reason(&error, program) })
}

/// Writes frames of one size as an mp4 file, whole or not at all; missing folders are made. Sides of an odd length get a line
/// of white, because the usual form of H.264 halves its colours.
///
/// # Errors
/// When there are no frames, there is no such program, it fails, or the file cannot be written.
pub fn write_mp4(frames: &[RgbImage], fps: f64, program: &Path, path: &Path) -> Result<(), LogError> {
    let failed = |reason: String| LogError::Encode { path: path.to_owned(), reason };
    let Some(first) = frames.first() else { return Err(failed("a clip of no frames".to_owned())) };
    let unwritable = |source: io::Error| LogError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let file = tempfile::Builder::new().suffix(".mp4").tempfile_in(folder).map_err(unwritable)?;
    let mut words = tempfile::tempfile().map_err(unwritable)?;
    let mut command = Command::new(program);
    command.args(["-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]);
    command.args(["-s", &format!("{}x{}", first.width(), first.height()), "-r", &fps.to_string(), "-i", "pipe:0"]);
    command.args(["-an", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p"]);
    command.args(["-movflags", "+faststart", "-f", "mp4"]).arg(file.path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(words.try_clone().map_err(unwritable)?);
    let mut child = command.spawn().map_err(|error| failed(reason(&error, program)))?;
    // What it does not take is told by its words and its exit.
    let sent = child.stdin.take().map(|mut pipe| frames.iter().try_for_each(|frame| pipe.write_all(frame.as_raw())));
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if !status.success() || sent.is_none_or(|sent| sent.is_err()) {
        let mut said = String::new();
        // That it said nothing is no error of its own.
        let _ = words.seek(SeekFrom::Start(0)).and_then(|_| words.read_to_string(&mut said));
        return Err(failed(format!("{} failed ({status}): {}", program.display(), said.trim())));
    }
    persist(file, path).map_err(unwritable)
}

/// Why a program cannot be started.
fn reason(error: &io::Error, program: &Path) -> String {
    let program = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "mp4 files need the program {program}, which is not there; install ffmpeg, give its path (--ffmpeg), or take \
             gif or webp"
        ),
        _ => format!("{program} cannot be started: {error}"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A program that does what the shell script says in place of ffmpeg; `$LAST` is the file that it should write.
    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("ffmpeg");
        std::fs::write(&path, format!("#!/bin/sh\nfor LAST; do :; done\n[ \"$LAST\" = -version ] && exit\n{script}\n"))
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn frames_go_through_the_pipe_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let ffmpeg = program(folder.path(), "cat > \"$LAST\"");
        let frames: Vec<RgbImage> = (0..3).map(|i| RgbImage::from_pixel(4, 2, image::Rgb([i; 3]))).collect();
        let path = folder.path().join("clips/a.mp4");
        check_ffmpeg(&ffmpeg).unwrap();
        write_mp4(&frames, 7.0, &ffmpeg, &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes, [[0; 24], [1; 24], [2; 24]].concat());
        assert_eq!(std::fs::read_dir(folder.path().join("clips")).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_goes_wrong_is_said_and_no_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let frames = vec![RgbImage::new(4, 2)];
        let path = folder.path().join("out/a.mp4");
        let error = |ffmpeg: &Path| write_mp4(&frames, 7.0, ffmpeg, &path).unwrap_err().to_string();
        let failing = error(&program(folder.path(), "cat > /dev/null; echo 'no encoder' >&2; exit 3"));
        assert!(failing.contains("a.mp4: cannot be encoded") && failing.ends_with("no encoder"), "{failing}");
        let absent = folder.path().join("none");
        assert!(error(&absent).contains("none, which is not there; install ffmpeg, give its path (--ffmpeg), or take"));
        assert!(check_ffmpeg(&absent).unwrap_err().to_string().contains("install ffmpeg"));
        assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 0);
        assert!(write_mp4(&[], 7.0, &absent, &path).unwrap_err().to_string().contains("no frames"));
    }
}
