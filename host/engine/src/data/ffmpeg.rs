//! Videos through an ffmpeg program: probed without decoding, decoded through a pipe, stopped when they hang.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use image::RgbImage;

use super::SampleError;
use super::footage::{Fit, Footage};
use crate::config::FfmpegConfig;

/// Packets that a video may have; a day at 60 frames a second has half as many.
const PACKETS_MAX: usize = 10_000_000;
/// Characters of ffmpeg's own words that an error repeats.
const WORDS_MAX: u64 = 2000;

/// What a file says of its first video stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Probe {
    pub(super) num_frames: usize,
    pub(super) fps: f64,
    /// When the first frame is shown, seconds after the file's start.
    start_s: f64,
    /// Rows and columns as stored, before any rotation.
    pub(super) size: [u32; 2],
}

/// A video file and what is known of it.
#[derive(Debug)]
pub(super) struct Film<'a> {
    pub(super) ffmpeg: &'a FfmpegConfig,
    pub(super) path: &'a Path,
    pub(super) probe: Probe,
    pub(super) fit: Fit,
}

impl Probe {
    /// Reads the packets' times, without decoding.
    ///
    /// # Errors
    /// When there is no ffmpeg, or the file has no video that it knows.
    pub(super) fn new(ffmpeg: &FfmpegConfig, path: &Path) -> Result<Self, SampleError> {
        let mut command = command(ffmpeg, path, None);
        command.args(["-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"]);
        let (table, words) = run(ffmpeg, path, command, |stdout| PacketTable::read(BufReader::new(stdout)))?;
        table.probe().map_err(|reason| unusable(path, &reason, &words))
    }
}

impl Footage for Film<'_> {
    fn num_frames(&self) -> usize {
        self.probe.num_frames
    }

    fn fps(&self) -> f64 {
        self.probe.fps
    }

    fn frames(&self, numbers: &[usize]) -> Result<Vec<RgbImage>, SampleError> {
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return Ok(Vec::new()) };
        let [rows, columns] = self.fit.size;
        if !self.fit.resize && self.probe.size != self.fit.size {
            let (path, expected, got) = (self.path.to_owned(), self.fit.size, self.probe.size);
            return Err(SampleError::Size { path, expected, got });
        }
        // A quarter of a frame early: late enough to leave out the frame before, early enough for rounded times.
        let seek = self.probe.start_s + (first as f64 - 0.25) / self.probe.fps;
        let mut command = command(self.ffmpeg, self.path, Some(seek.max(0.0)));
        let filters = format!(
            "fps={}:round=near,scale={columns}:{rows}:force_original_aspect_ratio=increase:flags=bicubic,crop={columns}:{rows}",
            self.probe.fps
        );
        let count = last - first + 1;
        command.args(["-map", "0:v:0", "-an", "-sn", "-vf", &filters, "-frames:v", &count.to_string()]);
        command.args(["-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]);
        let length = (3 * rows * columns) as usize;
        let (frames, words) = run(self.ffmpeg, self.path, command, |stdout| {
            let mut frames = Vec::with_capacity(numbers.len());
            let mut bytes = vec![0; length];
            for number in first..=last {
                if stdout.read_exact(&mut bytes).is_err() {
                    return frames;
                }
                if numbers.binary_search(&number).is_ok() {
                    frames.extend(RgbImage::from_raw(columns, rows, bytes.clone()));
                }
            }
            frames
        })?;
        if frames.len() < numbers.len() {
            let reason = format!("only {} of {} frames could be decoded", frames.len(), numbers.len());
            return Err(unusable(self.path, &reason, &words));
        }
        Ok(frames)
    }
}

fn unusable(path: &Path, reason: &str, words: &str) -> SampleError {
    let said = if words.is_empty() { String::new() } else { format!("; ffmpeg says: {words}") };
    SampleError::Unusable { place: path.display().to_string(), reason: format!("{reason}{said}") }
}

/// ffmpeg on one input file, from `seek` seconds on. It opens no other file and no address that the file may name.
fn command(ffmpeg: &FfmpegConfig, path: &Path, seek: Option<f64>) -> Command {
    let mut command = Command::new(&ffmpeg.program);
    command.args(["-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe"]);
    if let Some(seek) = seek {
        command.args(["-ss", &format!("{seek:.6}")]);
    }
    let mut input = std::ffi::OsString::from("file:");
    input.push(path);
    command.arg("-i").arg(input);
    command
}

/// Runs ffmpeg, hands its output to `read`, and gives what that gives, with the last words ffmpeg said.
fn run<T>(
    ffmpeg: &FfmpegConfig,
    path: &Path,
    mut command: Command,
    read: impl FnOnce(&mut ChildStdout) -> T,
) -> Result<(T, String), SampleError> {
    let failed = |reason: String| SampleError::Unusable { place: path.display().to_string(), reason };
    let said = tempfile::tempfile().and_then(|file| Ok((file.try_clone()?, file)));
    let (stderr, mut words) = said.map_err(|error| failed(format!("no temporary file for ffmpeg: {error}")))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let mut child = command.spawn().map_err(|error| {
        let program = ffmpeg.program.display();
        failed(match error.kind() {
            io::ErrorKind::NotFound => format!(
                "decoding it needs the program {program}, which is not there; install ffmpeg, or set \
                 data.source.ffmpeg.program (in sampling --ffmpeg) to its path"
            ),
            _ => format!("{program} cannot be started: {error}"),
        })
    })?;
    let Some(mut stdout) = child.stdout.take() else { return Err(failed("ffmpeg has no output".to_owned())) };
    let (done, wait) = channel::<()>();
    let timeout = Duration::from_secs(ffmpeg.timeout_s);
    let (outcome, timed_out) = std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let timed_out = wait.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            // Also when all is read: what is left of the video is not wanted. That it has ended already is no error.
            if timed_out || child.try_wait().is_ok_and(|status| status.is_none()) {
                let _ = child.kill();
            }
            let _ = child.wait();
            timed_out
        });
        let outcome = read(&mut stdout);
        drop(stdout);
        drop(done);
        (outcome, watch.join().unwrap_or(false))
    });
    if timed_out {
        return Err(failed(format!("ffmpeg was stopped after data.source.ffmpeg.timeout_s = {} s", ffmpeg.timeout_s)));
    }
    Ok((outcome, last_words(&mut words)))
}

/// The end of what a program wrote, on one line.
fn last_words(file: &mut File) -> String {
    let length = file.seek(SeekFrom::End(0)).unwrap_or(0);
    let mut bytes = Vec::new();
    let from = SeekFrom::Start(length.saturating_sub(WORDS_MAX));
    // Nothing to say is no error of its own.
    if file.seek(from).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// What ffmpeg's `framecrc` format says of the packets of a stream.
#[derive(Debug, Default)]
struct PacketTable {
    /// Seconds of a tick.
    tick: Option<f64>,
    /// Columns and rows.
    dimensions: Option<[u32; 2]>,
    /// Times shown and durations, ticks.
    packets: Vec<(i64, i64)>,
}

impl PacketTable {
    fn read(lines: impl BufRead) -> Self {
        let mut table = Self::default();
        // Lines are short; one that is not is cut by the limit and not understood.
        for line in lines.take((PACKETS_MAX as u64) * 100).lines().map_while(Result::ok) {
            if let Some(tick) = line.strip_prefix("#tb 0: ") {
                table.tick = tick.split_once('/').and_then(|(above, below)| {
                    Some(above.trim().parse::<f64>().ok()? / below.trim().parse::<f64>().ok()?)
                });
            } else if let Some(dimensions) = line.strip_prefix("#dimensions 0: ") {
                table.dimensions = dimensions
                    .split_once('x')
                    .and_then(|(columns, rows)| Some([rows.trim().parse().ok()?, columns.trim().parse().ok()?]));
            } else if !line.starts_with('#') {
                let fields: Vec<&str> = line.split(',').map(str::trim).collect();
                if let [_, _, shown, duration, ..] = fields[..]
                    && let (Ok(shown), Ok(duration)) = (shown.parse(), duration.parse())
                    && table.packets.len() < PACKETS_MAX
                {
                    table.packets.push((shown, duration));
                }
            }
        }
        table
    }

    fn probe(&self) -> Result<Probe, String> {
        let (Some(tick), Some(size), false) = (self.tick, self.dimensions, self.packets.is_empty()) else {
            return Err("no video that ffmpeg can read".to_owned());
        };
        let first = self.packets.iter().map(|(shown, _)| *shown).min().unwrap_or(0);
        // Durations may be missing; then the last frame lasts as long as those before it.
        let last = self.packets.iter().map(|(shown, _)| *shown).max().unwrap_or(0);
        let count = self.packets.len();
        let last_duration =
            self.packets.iter().filter(|(shown, _)| *shown == last).map(|(_, duration)| *duration).max();
        let mean = (last - first).checked_div(count as i64 - 1).unwrap_or(0);
        let length = (last - first + last_duration.filter(|duration| *duration > 0).unwrap_or(mean)) as f64 * tick;
        if !(length.is_finite() && length > 0.0) {
            return Err("a video of no length".to_owned());
        }
        Ok(Probe { num_frames: count, fps: count as f64 / length, start_s: first as f64 * tick, size })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TABLE: &str = "#software: Lavf62\n#tb 0: 1/12800\n#media_type 0: video\n#codec_id 0: h264\n\
        #dimensions 0: 640x360\n#sar 0: 1/1\n0, -1024, 512, 512, 4096, 0x5b3a1d28\n\
        0, -512, 2048, 512, 99, 0x1\n0, 0, 1024, 512, 99, 0x1\n0, 512, 1536, 512, 99, 0x1, F=0x0\n";

    #[test]
    fn packets_say_length_and_rate_whatever_their_order() {
        let probe = PacketTable::read(TABLE.as_bytes()).probe().unwrap();
        assert_eq!(probe, Probe { num_frames: 4, fps: 25.0, start_s: 0.04, size: [360, 640] });
        let without = TABLE.replace(", 512, 4096", ", 0, 4096").replace(", 512, 99", ", 0, 99");
        assert_eq!(PacketTable::read(without.as_bytes()).probe().unwrap().fps, 25.0);
        assert!(PacketTable::read(&b"#tb 0: 1/12800\n"[..]).probe().is_err());
        let still = "#tb 0: 1/10\n#dimensions 0: 8x8\n0, 0, 0, 0, 9, 0x1\n";
        assert_eq!(PacketTable::read(still.as_bytes()).probe().unwrap_err(), "a video of no length");
    }

    /// A program that does what the shell script says in place of ffmpeg.
    fn program(folder: &Path, script: &str, timeout_s: u64) -> FfmpegConfig {
        let path = folder.join("ffmpeg");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        FfmpegConfig { program: path, timeout_s }
    }

    #[test]
    fn frames_come_through_the_pipe_and_the_rest_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        // Endless grey, so that a reader who wants it all never ends.
        let ffmpeg = program(folder.path(), "tr '\\0' '\\200' < /dev/zero", 20);
        let probe = Probe { num_frames: 9, fps: 25.0, start_s: 0.0, size: [8, 8] };
        let fit = Fit { size: [8, 8], resize: false };
        let film = Film { ffmpeg: &ffmpeg, path: Path::new("a.mp4"), probe, fit };
        let frames = film.frames(&[2, 4]).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[1].get_pixel(7, 7).0, [128; 3]);
        let other = Film { fit: Fit { size: [16, 8], resize: false }, ..film };
        assert!(other.frames(&[0]).unwrap_err().to_string().contains("8x8 pixels"));
    }

    #[test]
    fn what_ffmpeg_says_or_fails_to_do_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let probe = |ffmpeg: &FfmpegConfig| Probe::new(ffmpeg, Path::new("a.mp4")).unwrap_err().to_string();
        let failing = program(folder.path(), "echo 'moov atom not found' >&2; exit 1", 20);
        assert_eq!(probe(&failing), "a.mp4: no video that ffmpeg can read; ffmpeg says: moov atom not found");
        let hanging = program(folder.path(), "exec sleep 60", 1);
        assert_eq!(probe(&hanging), "a.mp4: ffmpeg was stopped after data.source.ffmpeg.timeout_s = 1 s");
        let absent = FfmpegConfig { program: folder.path().join("none"), timeout_s: 1 };
        assert!(probe(&absent).contains("none, which is not there; install ffmpeg, or set data.source.ffmpeg.program"));
    }
}
