//! H.264 in mp4 files, decoded here.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use image::RgbImage;
use mp4::{MediaType, Mp4Reader, TrackType};
use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::footage::{Fit, Footage};
use super::{SampleError, pixels};

/// Starts a unit of the stream (H.264, annex B).
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The H.264 track of an mp4 file.
pub(super) struct Film {
    path: PathBuf,
    fit: Fit,
    track: u32,
    num_frames: usize,
    fps: f64,
    size: [u32; 2],
    /// Frames before which the decoder needs nothing, from 0; they grow.
    starts: Vec<usize>,
    /// Parameter sets, as they stand before the first frame.
    header: Vec<u8>,
    /// Bytes of the number before each unit that says how long it is.
    length_bytes: usize,
}

impl Film {
    /// Reads what a file says of its frames; `None` when it is no mp4 file with a whole H.264 track, which ffmpeg may
    /// still read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn open(path: &Path, fit: Fit) -> Result<Option<Self>, SampleError> {
        let (reader, length) = open(path)?;
        // The demuxer panics on some damaged files.
        let film = catch_unwind(AssertUnwindSafe(|| describe(path, fit, reader, length)));
        Ok(film.unwrap_or(None))
    }

    /// Rows and columns of the frames as they are.
    pub(super) fn own_size(&self) -> [u32; 2] {
        self.size
    }

    /// The same film with frames of another size.
    pub(super) fn fitted(self, fit: Fit) -> Self {
        Self { fit, ..self }
    }

    fn wrong(&self, reason: String) -> SampleError {
        SampleError::Unusable { place: self.path.display().to_string(), reason }
    }

    /// The frames `first..=last` that are wanted, in order.
    fn decode(&self, numbers: &[usize], first: usize, last: usize) -> Result<Vec<RgbImage>, SampleError> {
        let (reader, length) = open(&self.path)?;
        let damaged = |error: mp4::Error| self.wrong(format!("damaged mp4 file: {error}"));
        let undecodable = |error: openh264::Error| self.wrong(format!("H.264 that cannot be decoded: {error}"));
        let mut file = Mp4Reader::read_header(reader, length).map_err(damaged)?;
        // Without this the decoder gives up on frames that are shown in another order than they are stored in.
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let mut decoder = Decoder::with_api_config(OpenH264API::from_source(), config).map_err(undecodable)?;
        let start = self.starts[self.starts.partition_point(|&start| start <= first).saturating_sub(1)];
        let (mut number, mut frames) = (start, Vec::with_capacity(numbers.len()));
        let mut show = |yuv: &DecodedYUV| -> Result<(), SampleError> {
            if numbers.binary_search(&number).is_ok() {
                let (columns, rows) = yuv.dimensions();
                let mut image = RgbImage::new(columns as u32, rows as u32);
                yuv.write_rgb8(&mut image);
                frames.push(pixels::fit(image, self.fit.size, self.fit.resize, &self.path)?);
            }
            number += 1;
            Ok(())
        };
        let mut shown = start;
        decoder.decode(&self.header).map_err(undecodable)?;
        for sample in start..self.num_frames {
            if shown > last {
                break;
            }
            let Some(sample) = file.read_sample(self.track, sample as u32 + 1).map_err(damaged)? else { break };
            let packet = self.packet(&sample.bytes).ok_or_else(|| self.wrong("a frame is cut off".to_owned()))?;
            if let Some(yuv) = decoder.decode(&packet).map_err(undecodable)? {
                show(&yuv)?;
                shown += 1;
            }
        }
        for yuv in decoder.flush_remaining().map_err(undecodable)? {
            show(&yuv)?;
        }
        Ok(frames)
    }

    /// A stored frame as the decoder takes it: units behind start codes instead of lengths.
    fn packet(&self, stored: &[u8]) -> Option<Vec<u8>> {
        let mut packet = Vec::with_capacity(stored.len() + 16);
        let mut rest = stored;
        while !rest.is_empty() {
            let (length, after) = rest.split_at_checked(self.length_bytes)?;
            let length = length.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
            let (unit, after) = after.split_at_checked(length)?;
            packet.extend(START_CODE);
            packet.extend(unit);
            rest = after;
        }
        Some(packet)
    }
}

/// A file that ends after as many steps as one of its length is worth: in some damaged files the demuxer goes round in circles.
struct Steps<R> {
    inner: R,
    left: u64,
}

impl<R> Steps<R> {
    fn new(inner: R, length: u64) -> Self {
        Self { inner, left: length.saturating_mul(4).saturating_add(1 << 16) }
    }

    fn step(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("its boxes do not end"))?;
        Ok(())
    }
}

impl<R: Read> Read for Steps<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.step()?;
        self.inner.read(buffer)
    }
}

impl<R: Seek> Seek for Steps<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.step()?;
        self.inner.seek(to)
    }
}

fn open(path: &Path) -> Result<(Steps<BufReader<File>>, u64), SampleError> {
    let failed = |source| SampleError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((Steps::new(BufReader::new(file), length), length))
}

fn describe(path: &Path, fit: Fit, reader: Steps<BufReader<File>>, length: u64) -> Option<Film> {
    let file = Mp4Reader::read_header(reader, length).ok()?;
    let is_h264 = |track: &&mp4::Mp4Track| {
        track.track_type().is_ok_and(|kind| kind == TrackType::Video)
            && track.media_type().is_ok_and(|kind| kind == MediaType::H264)
    };
    let track = file.tracks().values().filter(is_h264).min_by_key(|track| track.track_id())?;
    let table = &track.trak.mdia.minf.stbl;
    let avcc = &table.stsd.avc1.as_ref()?.avcc;
    let num_frames = track.sample_count() as usize;
    let longest = table.stsz.sample_sizes.iter().copied().max().unwrap_or(0).max(table.stsz.sample_size);
    let seconds = track.trak.mdia.mdhd.duration as f64 / f64::from(track.timescale());
    if file.is_fragmented() || num_frames == 0 || u64::from(longest) > length || !(seconds.is_finite() && seconds > 0.0)
    {
        return None;
    }
    let mut header = Vec::new();
    for set in avcc.sequence_parameter_sets.iter().chain(&avcc.picture_parameter_sets) {
        header.extend(START_CODE);
        header.extend(&set.bytes);
    }
    // Without a table of its own every frame is a start.
    let mut starts: Vec<usize> = match &table.stss {
        Some(stss) => stss.entries.iter().filter_map(|&entry| (entry as usize).checked_sub(1)).collect(),
        None => (0..num_frames).collect(),
    };
    starts.push(0);
    starts.sort_unstable();
    Some(Film {
        path: path.to_owned(),
        fit,
        track: track.track_id(),
        num_frames,
        fps: num_frames as f64 / seconds,
        size: [track.height().into(), track.width().into()],
        starts,
        header,
        length_bytes: usize::from(avcc.length_size_minus_one & 3) + 1,
    })
}

impl Footage for Film {
    fn num_frames(&self) -> usize {
        self.num_frames
    }

    fn fps(&self) -> f64 {
        self.fps
    }

    fn frames(&self, numbers: &[usize]) -> Result<Vec<RgbImage>, SampleError> {
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return Ok(Vec::new()) };
        let frames = catch_unwind(AssertUnwindSafe(|| self.decode(numbers, first, last)));
        let frames = frames.unwrap_or_else(|_| Err(self.wrong("a damaged mp4 file".to_owned())))?;
        if frames.len() < numbers.len() {
            let reason = format!("only {} of {} frames could be decoded", frames.len(), numbers.len());
            return Err(self.wrong(reason));
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_boxes_go_round_in_circles_ends() {
        let mut file = Steps::new(io::Cursor::new([0; 8]), 8);
        let steps = (0..).take_while(|_| file.seek(SeekFrom::Start(0)).is_ok()).count();
        assert_eq!(steps, (1 << 16) + 32);
        assert!(file.read(&mut [0; 8]).is_err());
    }
}
