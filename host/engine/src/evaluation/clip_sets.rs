//! Fréchet distances between sets of clips, and the protocol that they were taken by.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use tch::{Device, Kind, Tensor};
use thiserror::Error;

use super::encoder::{EncoderError, FeatureEncoder};
use super::frechet::{FrechetError, frechet_distance};
use crate::config::{ClipsOver, EncoderInput};

/// Digits of a file's hash that tell it apart from others, in words.
const SHORT_HASH: usize = 12;

/// The images of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SceneForm {
    /// Times of a scene.
    pub num_times: i64,
    /// Views of each time.
    pub num_views: i64,
    /// Channels, rows and columns of an image.
    pub image: [i64; 3],
}

/// Why sets of clips cannot be compared.
#[derive(Debug, Error)]
pub enum ClipSetError {
    /// The encoder cannot be used.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Scenes have no clips of the kind that is asked for.
    #[error("a scene of {num_times} times and {num_views} views has no clips for {name}")]
    NoSuchClips {
        /// Name of the distance.
        name: &'static str,
        /// Times of a scene.
        num_times: i64,
        /// Views of a scene.
        num_views: i64,
    },
    /// A scene is of another form than the first.
    #[error("a scene has {rows} images, the first has {expected}")]
    OtherForm {
        /// Its images.
        rows: i64,
        /// Those of the first.
        expected: i64,
    },
    /// There are too few for a covariance, or their features do not fit each other.
    #[error("{name}: {source}")]
    Distance {
        /// Name of the distance.
        name: &'static str,
        /// Why there is none.
        source: FrechetError,
    },
}

impl ClipSetError {
    /// The setting to blame, of those of the Fréchet distances; none for the number of scenes.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Encoder(_) => Some("encoder"),
            Self::NoSuchClips { .. } => Some("over"),
            Self::OtherForm { .. } | Self::Distance { .. } => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Encoder(error) => error.help(),
            Self::NoSuchClips { .. } => "take it out of `over`; without `over` all clips that scenes have are compared",
            Self::OtherForm { .. } => "score scenes that are alike",
            Self::Distance { .. } => "score more scenes",
        }
    }
}

/// How distances were taken: what has to be the same for two of them to be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Protocol {
    /// Name of the encoder's file.
    pub encoder: String,
    /// SHA-256 of that file.
    pub sha256: String,
    /// Width of its features.
    pub features: i64,
    /// What it is given.
    pub input: EncoderInput,
    /// And after that.
    pub flags: Vec<bool>,
    /// Rows and columns of frames as they are.
    pub frame_size: [i64; 2],
    /// Rows and columns that they are scaled to, bilinearly and without antialiasing, if those are others.
    pub encoder_size: [i64; 2],
    /// The values of black and white.
    pub range: [f64; 2],
    /// The sets of clips, each on both sides.
    pub sets: Vec<ClipSet>,
}

/// The clips of one distance, as many of what is made as of what it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClipSet {
    /// Name of the distance.
    pub name: &'static str,
    /// How clips are cut out of a scene.
    pub clips_are: &'static str,
    /// Clips on each side.
    pub clips: usize,
    /// Frames of a clip.
    pub frames: usize,
    /// Whether there are too few clips for a covariance of full rank: the distance is then too large on the average, and can
    /// only be compared with those of as many clips.
    pub is_biased: bool,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([h, w], [rows, columns], [black, white]) = (self.frame_size, self.encoder_size, self.range);
        let hash = &self.sha256[..SHORT_HASH.min(self.sha256.len())];
        let input = match self.input {
            EncoderInput::Clip => format!("clips [3, t, {rows}, {columns}]"),
            EncoderInput::Frame => format!("frames [3, {rows}, {columns}], averaged over a clip"),
        };
        write!(
            f,
            "Fréchet distances to the true clips: {} features of {} (sha256 {hash}) ",
            self.features, self.encoder
        )?;
        write!(f, "of {input}, values {black} to {white}")?;
        if !self.flags.is_empty() {
            write!(f, ", flags {:?}", self.flags)?;
        }
        match [h, w] == [rows, columns] {
            true => write!(f, ", frames as they are")?,
            false => write!(f, ", frames scaled bilinearly from {h}x{w}")?,
        }
        for ClipSet { name, clips_are, clips, frames, .. } in &self.sets {
            write!(f, "\n{name}: {clips} clips of {frames} frames on each side, {clips_are}")?;
        }
        Ok(())
    }
}

impl Protocol {
    /// A warning about the distances of few clips.
    pub fn warning(&self) -> Option<String> {
        let few: Vec<&str> = self.sets.iter().filter(|set| set.is_biased).map(|set| set.name).collect();
        (!few.is_empty()).then(|| {
            format!(
                "{}: no more clips than features ({}), so covariances have no full rank and distances are too large; compare \
                 them only with those of as many clips, or score more scenes",
                few.join(", "),
                self.features
            )
        })
    }
}

/// The Fréchet distances of scenes of one form.
#[derive(Debug)]
pub struct Frechet {
    encoder: FeatureEncoder,
    form: SceneForm,
    over: Vec<ClipsOver>,
    protocol: Protocol,
}

impl Frechet {
    /// The distances that `encoder`'s settings ask for, of `num_scenes` scenes. The encoder is tried on a clip of each kind.
    ///
    /// # Errors
    /// When scenes have no such clips, too few of them, or the encoder does not take them.
    pub fn new(encoder: FeatureEncoder, form: SceneForm, num_scenes: usize) -> Result<Self, ClipSetError> {
        let SceneForm { num_times, num_views, image: [_, h, w] } = form;
        let settings = encoder.settings().clone();
        let is_wanted = |over: &ClipsOver| settings.over.contains(over);
        if let Some(over) = settings.over.iter().find(|over| !over.is_of(num_times, num_views)) {
            return Err(ClipSetError::NoSuchClips { name: over.distance_name(), num_times, num_views });
        }
        let over = ClipsOver::ALL.into_iter().filter(|over| over.is_of(num_times, num_views));
        let over: Vec<ClipsOver> = over.filter(|over| settings.over.is_empty() || is_wanted(over)).collect();
        let mut protocol = Protocol {
            encoder: encoder.name(),
            sha256: encoder.sha256().to_owned(),
            features: 0,
            input: settings.input,
            flags: settings.flags,
            frame_size: [h, w],
            encoder_size: encoder.size_of(h, w),
            range: settings.range,
            sets: Vec::new(),
        };
        for &over in &over {
            let (name, rows) = (over.distance_name(), over.rows(num_times, num_views));
            let (clips, frames) = (rows.len() * num_scenes, rows[0].len());
            if clips < 2 {
                return Err(ClipSetError::Distance { name, source: FrechetError::TooFew { rows: clips as i64 } });
            }
            let shape: Vec<i64> = std::iter::once(frames as i64).chain(form.image).collect();
            let features = encoder.features(&Tensor::zeros(shape, (Kind::Float, Device::Cpu)))?.size()[0];
            protocol.features = features;
            let is_biased = clips as i64 <= features;
            protocol.sets.push(ClipSet { name, clips_are: over.in_words(), clips, frames, is_biased });
        }
        Ok(Self { encoder, form, over, protocol })
    }

    /// How distances are taken.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }
}

/// The features of clips of scenes: the true ones, and by a suffix those that are compared with them.
#[derive(Debug, Default)]
pub struct ClipSets {
    truth: BTreeMap<ClipsOver, Vec<Tensor>>,
    made: BTreeMap<(String, ClipsOver), Vec<Tensor>>,
}

impl ClipSets {
    /// Adds the true images of a scene.
    ///
    /// # Shapes
    /// - `images`: `[t*v, c, h, w]` in `[-1, 1]`
    ///
    /// # Errors
    /// When the encoder fails on them, or they are of another form.
    pub fn add_truth(&mut self, frechet: &Frechet, images: &Tensor) -> Result<(), ClipSetError> {
        each_clip(frechet, images, |over, features| self.truth.entry(over).or_default().push(features))
    }

    /// Adds images that are compared with a true scene, under names that end in `suffix`.
    ///
    /// # Shapes
    /// - `images`: `[t*v, c, h, w]` in `[-1, 1]`
    ///
    /// # Errors
    /// When the encoder fails on them, or they are of another form.
    pub fn add(&mut self, frechet: &Frechet, suffix: &str, images: &Tensor) -> Result<(), ClipSetError> {
        each_clip(frechet, images, |over, features| {
            self.made.entry((suffix.to_owned(), over)).or_default().push(features);
        })
    }

    /// The distances by name.
    ///
    /// # Errors
    /// When a set has fewer than two clips.
    pub fn distances(&self) -> Result<BTreeMap<String, f64>, ClipSetError> {
        let of = |((suffix, over), made): (&(String, ClipsOver), &Vec<Tensor>)| {
            let truth = self.truth.get(over).map_or(&[][..], Vec::as_slice);
            let name = over.distance_name();
            if let Some(&rows) = [truth.len(), made.len()].iter().find(|rows| **rows < 2) {
                return Err(ClipSetError::Distance { name, source: FrechetError::TooFew { rows: rows as i64 } });
            }
            let distance = frechet_distance(&Tensor::stack(made, 0), &Tensor::stack(truth, 0));
            Ok((format!("{name}{suffix}"), distance.map_err(|source| ClipSetError::Distance { name, source })?))
        };
        self.made.iter().map(of).collect()
    }
}

/// Hands the features of each clip of a scene on.
fn each_clip(frechet: &Frechet, images: &Tensor, mut with: impl FnMut(ClipsOver, Tensor)) -> Result<(), ClipSetError> {
    let SceneForm { num_times, num_views, .. } = frechet.form;
    let (rows, expected) = (images.size()[0], num_times * num_views);
    if rows != expected {
        return Err(ClipSetError::OtherForm { rows, expected });
    }
    for &over in &frechet.over {
        for rows in over.rows(num_times, num_views) {
            let rows = Tensor::from_slice(&rows).to_device(images.device());
            with(over, frechet.encoder.features(&images.index_select(0, &rows))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FrechetConfig;
    use tch::CModule;

    /// An encoder of clips of two frames: the mean of the first and of the second. Of other clips it takes none.
    fn encoder(dir: &std::path::Path, over: &str) -> FeatureEncoder {
        let path = dir.join("means.pt");
        let example = Tensor::zeros([1, 3, 2, 4, 4], (Kind::Float, Device::Cpu));
        let mut means = |inputs: &[Tensor]| {
            vec![inputs[0].view([1, 3, 2, 4, 4]).mean_dim([1, 3, 4].as_slice(), false, Kind::Float)]
        };
        CModule::create_by_tracing("Means", "forward", &[example], &mut means).unwrap().save(&path).unwrap();
        let settings: FrechetConfig = toml::from_str(&format!("encoder = {path:?}\nover = {over}")).unwrap();
        FeatureEncoder::load(&settings, Device::Cpu).unwrap()
    }

    fn form(num_times: i64, num_views: i64) -> SceneForm {
        SceneForm { num_times, num_views, image: [3, 4, 4] }
    }

    /// Two times of two views, one grey each.
    fn scene(greys: [f64; 4]) -> Tensor {
        Tensor::from_slice(&greys).view([4, 1, 1, 1]).expand([4, 3, 4, 4], false)
    }

    #[test]
    fn scenes_are_compared_along_each_of_their_axes() {
        let dir = tempfile::tempdir().unwrap();
        let frechet = Frechet::new(encoder(dir.path(), "[\"frames\", \"views\"]"), form(2, 2), 2).unwrap();
        let scenes = [[0.1, -0.3, 0.5, 0.2], [0.0, 0.4, -0.2, 0.6]];
        let mut sets = ClipSets::default();
        for greys in scenes {
            sets.add_truth(&frechet, &scene(greys)).unwrap();
            sets.add(&frechet, "_same", &scene(greys)).unwrap();
            // Times in reverse: views are the same pairs, frames are not.
            let [a, b, c, d] = greys;
            sets.add(&frechet, "_reversed", &scene([c, d, a, b])).unwrap();
            sets.add(&frechet, "_lighter", &scene(greys.map(|grey| grey + 0.1))).unwrap();
        }
        let got = sets.distances().unwrap();
        let error = sets.add_truth(&frechet, &scene(scenes[0]).narrow(0, 0, 3)).unwrap_err();
        assert!(matches!(error, ClipSetError::OtherForm { rows: 3, expected: 4 }), "{error}");
        let names: Vec<&str> = got.keys().map(String::as_str).collect();
        let all = ["frames_lighter", "frames_reversed", "frames_same", "views_lighter", "views_reversed", "views_same"];
        assert_eq!(names, all.map(|name| format!("frechet_{name}")));
        for name in ["frechet_frames_same", "frechet_views_same", "frechet_views_reversed"] {
            assert!(got[name] < 1e-9, "{name}: {}", got[name]);
        }
        assert!(got["frechet_frames_reversed"] > 1e-3);
        // Two features that are 0.1 further.
        for name in ["frechet_frames_lighter", "frechet_views_lighter"] {
            assert!((got[name] - 0.02).abs() < 1e-6, "{name}: {}", got[name]);
        }
    }

    #[test]
    fn the_protocol_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let frechet = Frechet::new(encoder(dir.path(), "[\"diagonals\", \"views\"]"), form(2, 2), 1).unwrap();
        let protocol = frechet.protocol();
        let sets: Vec<(&str, usize, usize, bool)> =
            protocol.sets.iter().map(|set| (set.name, set.clips, set.frames, set.is_biased)).collect();
        assert_eq!(sets, [("frechet_views", 2, 2, true), ("frechet_diagonals", 2, 2, true)]);
        assert_eq!((protocol.features, protocol.encoder.as_str()), (2, "means.pt"));
        let text = protocol.to_string();
        for part in [
            "2 features of means.pt (sha256 ",
            "of clips [3, t, 4, 4], values -1 to 1, frames as they are",
            "\nfrechet_views: 2 clips of 2 frames on each side, each time along the views",
            "\nfrechet_diagonals: ",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(protocol.warning().unwrap().starts_with("frechet_views, frechet_diagonals: no more clips than"));
        let many = Frechet::new(encoder(dir.path(), "[\"views\"]"), form(2, 2), 2).unwrap();
        assert_eq!(many.protocol().warning(), None);
    }

    #[test]
    fn what_cannot_be_compared_is_told_before() {
        let dir = tempfile::tempdir().unwrap();
        let fails = |over: &str, form: SceneForm, num_scenes: usize| {
            Frechet::new(encoder(dir.path(), over), form, num_scenes).unwrap_err()
        };
        let error = fails("[\"views\"]", form(14, 1), 9);
        assert_eq!((error.key(), error.to_string().contains("14 times and 1 views")), (Some("over"), true));
        let error = fails("[\"frames\"]", form(2, 1), 1);
        assert_eq!((error.key(), error.to_string().contains("a set of 1 features")), (None, true));
        // Clips of three frames are nothing for this encoder.
        let error = fails("[]", form(3, 1), 4);
        assert_eq!((error.key(), error.to_string().contains("[1, 3, 3, 4, 4]")), (Some("encoder"), true), "{error}");
    }
}
