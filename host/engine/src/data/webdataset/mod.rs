//! The `webdataset` source: samples in tar files, each the members of one base name.

mod ending;
mod index;
mod read;
mod shards;

use std::path::PathBuf;

use anneal_torch::random::Stream;

use self::index::Stored;
use super::footage::nearest;
use super::source::of_file;
use super::threads::side_by_side;
use super::visits::{Visit, Visits};
use super::{DataError, Sample, SampleError, Source, clip, footage};
use crate::config::{BadSample, WebdatasetConfig};

/// Samples in tar shards.
///
/// The shards are indexed when the source is opened, so each sample can be read at any time: which sample stands in
/// which batch is the loader's affair, as for every source, and neither workers nor ranks share a reader's place.
///
/// Members make entries by their endings:
/// - `png`, `jpg`, `webp`: pictures of `image`, in `[-1, 1]`, with a number (`0003.png`) one of several; `NAME.png` and
///   `NAME.0003.png` those of another entry
/// - `gif`, animated `webp` and `png`, `mp4` and other videos: the frames of `image`
/// - `npy`: `NAME.npy`, floats as f32 and whole numbers as i64, rows first
/// - `txt`: the text `caption`; `NAME.txt` another
/// - `json`: a number becomes an entry `[1]`, a list of numbers one row each, a string a text
/// - `cls`: `class` `[1]` i64
/// - `integers.json`: integers of the whole batch
///
/// A picture that is scaled comes with `original_size_as_tuple`, `crop_coords_top_left` and `target_size_as_tuple`. Frames
/// of `image` make the sample a clip: `image_only_indicator`, `num_video_frames`, and with `clip` what
/// [`clip::cut`] says. Members with other endings are left alone.
pub struct Webdataset {
    config: WebdatasetConfig,
    shards: Vec<PathBuf>,
    stored: Vec<Stored>,
    /// What is visited, in which size and length.
    visits: Visits,
}

impl Webdataset {
    /// Finds and indexes the shards.
    ///
    /// # Errors
    /// When a pattern matches nothing, a shard cannot be read or is cut off, there is no sample, or (with `fail`) the
    /// first cannot be read.
    pub fn open(config: &WebdatasetConfig, on_bad: BadSample) -> Result<Self, DataError> {
        if let Some(clip) = &config.clip {
            clip::check(clip)?;
        }
        if config.resize && config.size.is_none() {
            let reason = "there is no `size` to scale pictures to; give both or neither".to_owned();
            return Err(DataError::Setting { key: "resize", reason });
        }
        if !(config.sizes.is_empty() || config.resize) {
            let reason = "pictures are scaled to them with `resize` alone; set it".to_owned();
            return Err(DataError::Setting { key: "sizes", reason });
        }
        footage::check(&[config.size.as_slice(), &config.sizes].concat())?;
        let shards = shards::find(&config.shards)?;
        let mut stored = index::index(&shards)?;
        // What holds nothing that is read is no sample: a README, a licence.
        stored.retain(|stored| stored.members.iter().any(|member| ending::Ending::parse(&member.ending).is_some()));
        let mut source = Self { config: config.clone(), shards, stored, visits: Visits::default() };
        if source.stored.is_empty() {
            let path = source.shards.first().cloned().unwrap_or_default();
            return Err(DataError::Empty { path, wanted: "no member with an ending that is read".to_owned() });
        }
        source.visits = source.visits();
        if on_bad == BadSample::Fail {
            source.sample(0, &mut Stream::new(0, "augment", 0, 0))?;
        }
        Ok(source)
    }
}

impl Webdataset {
    /// Each sample in the size of the nearest shape, at every length that its pictures are enough for.
    fn visits(&self) -> Visits {
        let Self { config, shards, stored, .. } = self;
        let sizes = config.size.filter(|_| !config.sizes.is_empty()).map(|size| {
            let sizes = [&[size], &config.sizes[..]].concat();
            let own = side_by_side(stored, |stored| read::picture_size(&shards[stored.shard], stored));
            own.into_iter().map(|own| own.map_or(0, |own| nearest(&sizes, own))).collect()
        });
        let num_lengths = config.clip.as_ref().map_or(1, |clip| clip.all_lengths().len());
        let lengths = config.clip.as_ref().filter(|_| num_lengths > 1).map(|clip| {
            let pictures = side_by_side(stored, |stored| read::pictures(config, &shards[stored.shard], stored));
            let lengths = |(count, fps): (usize, f64)| clip::lengths(count, fps, [0.0, f64::INFINITY], clip);
            pictures.into_iter().map(|pictures| pictures.map_or_else(|| vec![0], lengths)).collect()
        });
        Visits::new(stored.len(), sizes, lengths, num_lengths)
    }
}

impl Source for Webdataset {
    fn kind(&self) -> &'static str {
        "webdataset"
    }

    fn name(&self, index: usize) -> String {
        self.shards[self.stored[self.visits.get(index).item].shard].display().to_string()
    }

    fn contents(&self) -> Vec<(String, u64)> {
        self.shards.iter().map(|shard| of_file(shard)).collect()
    }

    fn num_samples(&self) -> usize {
        self.visits.len()
    }

    fn buckets(&self) -> Option<&[u32]> {
        self.visits.buckets()
    }

    fn sample(&self, index: usize, draw: &mut Stream) -> Result<Sample, SampleError> {
        let Visit { item, size, length } = self.visits.get(index);
        let stored = &self.stored[item];
        let size = if size == 0 { self.config.size } else { Some(self.config.sizes[size - 1]) };
        let clip = self.config.clip.as_ref().map(|clip| clip::of_length(clip, length));
        read::sample(&self.config, size, clip, &self.shards[stored.shard], stored, draw)
    }
}

#[cfg(test)]
mod tests;
